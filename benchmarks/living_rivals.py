"""RecTools, RecBole and implicit beside this project: one log, one protocol, quality, seconds and peak memory.

    python -m venv rivals && rivals/bin/pip install 'rectools[torch]' recbole implicit
    TFRECSESSION_DATA=... python benchmarks/living_rivals.py --python rivals/bin/python

The log is a part of yoochoose1_64: its newest training sessions, and a sample of its test sessions. Each model is
fitted in a process of its own, on the same two cores, and returns 20 items of the whole catalogue after every event
of a test session; items of the session are not left out. Widths and epochs are the same for all networks (RecTools,
RecBole and ours), all other settings are each library's defaults: no model is tuned. `fit_cpu_s` is the CPU time of
the training, over all threads, so that a busy machine changes it little; `ask_cpu_ms` that of one list where many
are requested at once; `peak_GB` that of the whole process, libraries included.
"""

import argparse
import json
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

K = 20
OURS = ("item_knn", "vsknn", "slist", "als", "gru4rec", "sasrec")
THEIRS = ("implicit ItemItem cosine", "implicit ALS", "RecTools SASRec", "RecBole GRU4Rec", "RecBole SASRec")


def prepared(sessions: int, tested: int, folder: Path) -> None:
    """Writes the log once for all processes: as our data set, and as lists of item numbers, 0 to items - 1."""
    import tfrecsession as trs

    given = Path(os.environ["TFRECSESSION_DATA"]) / "yoochoose1_64"
    trs.prepare(given / "train_sessions.txt", folder / "all", test_input=given / "test_sessions.txt")
    whole = trs.load(folder / "all")
    newest = list(range(max(0, len(whole.train) - sessions), len(whole.train)))
    chosen = np.sort(np.random.default_rng(0).permutation(len(whole.test))[:tested]).tolist()
    for split, numbers, name in ((whole.train, newest, "train"), (whole.test, chosen, "test")):
        lines = (" ".join(split.items.decode(split[number])) for number in numbers)
        (folder / f"{name}_sessions.txt").write_text("\n".join(lines) + "\n")
    files = folder / "train_sessions.txt", folder / "test_sessions.txt"
    trs.prepare(files[0], folder / "data", test_input=files[1], unknown_items="drop", min_item_support=1)
    data = trs.load(folder / "data")
    lists = {split.role: [(split[n] - 2).tolist() for n in range(len(split))] for split in (data.train, data.test)}
    with (folder / "lists.pickle").open("wb") as file:
        pickle.dump({"items": len(data.items), **lists}, file)


def cut(sessions: list) -> tuple[list, np.ndarray, np.ndarray]:
    """Returns the history before every event but the first, its target, and the number of its session."""
    histories, targets, owner = [], [], []
    for number, session in enumerate(sessions):
        for end in range(1, len(session)):
            histories.append(session[:end])
            targets.append(session[end])
            owner.append(number)
    return histories, np.array(targets), np.array(owner)


# Each of these fits a model on sessions, and returns a function from histories to int [n, K], the best items.


def ours(name, folder, log, width, epochs):
    import tfrecsession as trs

    data = trs.load(folder / "data")
    chosen = {"units": [width]} if name == "gru4rec" else {"dim": width} if name == "sasrec" else {}
    chosen |= {"epochs": epochs} if chosen else {}
    settings = trs.training.settings_of(name, chosen, data=data)
    model = trs.training.build(name, data.items, settings)
    began = time.process_time()
    trs.training.fit(model, data, settings, seed=0)
    fit = time.process_time() - began

    def answer(histories):
        asked = [data.items.decode(np.array(history) + 2) for history in histories]
        return data.items.encode(model.recommend(asked, k=K).items.ravel()).reshape(-1, K) - 2

    return fit, answer


def implicit(name, folder, log, width, epochs):
    from implicit.als import AlternatingLeastSquares
    from implicit.nearest_neighbours import CosineRecommender
    from scipy.sparse import csr_matrix

    def matrix(sessions):
        lengths = list(map(len, sessions))
        rows, columns = np.repeat(np.arange(len(sessions)), lengths), np.concatenate(sessions)
        return csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (len(sessions), log["items"]))

    model = AlternatingLeastSquares(width, random_state=0) if name == "implicit ALS" else CosineRecommender(K=100)
    began = time.process_time()
    model.fit(matrix(log["train"]), show_progress=False)
    fit = time.process_time() - began

    def answer(histories):
        more = {"recalculate_user": True} if name == "implicit ALS" else {}
        given = matrix(histories)
        return model.recommend(np.arange(len(histories)), given, N=K, filter_already_liked_items=False, **more)[0]

    return fit, answer


def rectools(name, folder, log, width, epochs):
    import pandas as pd
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    def dataset(sessions):
        lengths = list(map(len, sessions))
        rows = {Columns.User: np.repeat(np.arange(len(sessions)), lengths), Columns.Item: np.concatenate(sessions)}
        step = np.concatenate([np.arange(length) for length in lengths])
        rows |= {Columns.Weight: 1.0, Columns.Datetime: pd.Timestamp("2026-01-01") + pd.to_timedelta(step, unit="s")}
        return Dataset.construct(pd.DataFrame(rows))

    model = SASRecModel(n_factors=width, epochs=epochs, session_max_len=50, verbose=0, deterministic=True)
    given = dataset(log["train"])
    began = time.process_time()
    model.fit(given)
    fit = time.process_time() - began

    def answer(histories):
        found = model.recommend(np.arange(len(histories)), dataset(histories), k=K, filter_viewed=False)
        lists = np.full((len(histories), K), -1)
        lists[found[Columns.User], found[Columns.Rank] - 1] = found[Columns.Item]
        return lists

    return fit, answer


def recbole(name, folder, log, width, epochs):
    import torch
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.data.interaction import Interaction
    from recbole.utils import get_model, get_trainer, init_seed

    longest, kind = 50, name.split()[1]
    (folder / "log").mkdir(exist_ok=True)
    with (folder / "log/log.train.inter").open("w") as file:
        file.write("session_id:token\titem_id_list:token_seq\titem_id:token\n")
        for history, target, owner in zip(*cut(log["train"]), strict=True):
            file.write(f"{owner}\t{' '.join(map(str, history[-longest:]))}\t{target}\n")
    for part in ("valid", "test"):  # the library wants both; the scores below are not its own
        lines = (folder / "log/log.train.inter").read_text().splitlines(keepends=True)[:3]
        (folder / f"log/log.{part}.inter").write_text("".join(lines))
    widths = {"embedding_size": width, "hidden_size": width, "inner_size": 4 * width}
    settings = {
        **widths, "data_path": str(folder), "benchmark_filename": ["train", "valid", "test"], "epochs": epochs,
        "USER_ID_FIELD": "session_id", "load_col": None, "alias_of_item_id": ["item_id_list"], "show_progress": False,
        "MAX_ITEM_LIST_LENGTH": longest, "train_neg_sample_args": None, "loss_type": "CE", "use_gpu": False,
        "state": "WARNING", "checkpoint_dir": str(folder / "saved"), "seed": 0,
        "eval_args": {"mode": "full", "order": "TO", "split": {"LS": "valid_and_test"}, "group_by": None},
    }  # fmt: skip
    sys.argv = sys.argv[:1]
    config = Config(model=kind, dataset="log", config_dict=settings)
    init_seed(0, True)
    sessions = create_dataset(config)
    train, _, _ = data_preparation(config, sessions)
    model = get_model(kind)(config, train.dataset).to("cpu")
    trainer = get_trainer(config["MODEL_TYPE"], kind)(config, model)
    began = time.process_time()
    trainer.fit(train, None, saved=False, show_progress=False)
    fit = time.process_time() - began
    known = sessions.field2token_id["item_id"]
    number = np.array([known.get(str(item), 0) for item in range(log["items"])])
    theirs = np.array([-1] + [int(token) for token in sessions.field2id_token["item_id"][1:]])
    model.eval()

    def answer(histories):
        lists = []
        for start in range(0, len(histories), 512):
            part = [history[-longest:] for history in histories[start : start + 512]]
            items = np.zeros((len(part), longest), int)
            for row, history in zip(items, part, strict=True):
                row[: len(history)] = number[history]
            batch = {"item_id_list": torch.tensor(items), "item_length": torch.tensor(list(map(len, part)))}
            with torch.no_grad():
                scores = model.full_sort_predict(Interaction(batch))
            scores[:, 0] = -torch.inf
            lists.append(theirs[torch.topk(scores, K).indices.numpy()])
        return np.concatenate(lists)

    return fit, answer


def measured(name: str, folder: Path, width: int, epochs: int) -> dict:
    """Fits one model in this process, and returns its row."""
    warnings.filterwarnings("ignore")
    with (folder / "lists.pickle").open("rb") as file:
        log = pickle.load(file)
    library = {"implicit": implicit, "RecTools": rectools, "RecBole": recbole}.get(name.split()[0], ours)
    fit, answer = library(name, folder, log, width, epochs)
    histories, targets, owner = cut(log["test"])
    began = time.process_time()
    lists = answer(histories)
    asked = time.process_time() - began
    hit = lists == targets[:, None]
    scores = {"recall@20": hit.any(1).astype(float), "mrr@20": (hit / np.arange(1, K + 1)).sum(1)}
    row = {"model": name, "events": len(targets)}
    random, sessions = np.random.default_rng(0), owner.max() + 1
    draws = random.multinomial(sessions, np.full(sessions, 1 / sessions), 1000)
    count = np.bincount(owner, minlength=sessions)
    for metric, values in scores.items():
        resampled = draws @ np.bincount(owner, values, sessions) / (draws @ count)
        low, high = np.quantile(resampled, [0.025, 0.975])
        row |= {metric: round(values.mean(), 4), f"{metric}_low": round(low, 4), f"{metric}_high": round(high, 4)}
    row |= {"fit_cpu_s": round(fit, 1), "ask_cpu_ms": round(1e3 * asked / len(histories), 2)}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return row | {"peak_GB": round(peak, 2)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", help="the Python with RecTools, RecBole and implicit; without it, ours alone")
    parser.add_argument("--sessions", type=int, default=30_000, help="newest training sessions")
    parser.add_argument("--tested", type=int, default=3000, help="test sessions")
    parser.add_argument("--width", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--models", help="names, a,b; default: all")
    parser.add_argument("--name", default="living_rivals", help="name of the file in results/")
    parser.add_argument("--one", nargs=2, metavar=("MODEL", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(options.one[0], Path(options.one[1]), options.width, options.epochs)))
        return
    from reporting import write_rows

    rows, names = [], options.models.split(",") if options.models else [*OURS, *(THEIRS if options.python else ())]
    with tempfile.TemporaryDirectory() as folder:
        prepared(options.sessions, options.tested, Path(folder))
        for name in names:
            python = options.python if name in THEIRS else sys.executable
            words = ["--one", name, folder, "--width", str(options.width), "--epochs", str(options.epochs)]
            done = subprocess.run(
                [python, Path(__file__).absolute(), *words], capture_output=True, text=True, cwd=folder
            )
            if done.returncode:
                print(name, "failed:", *done.stderr.splitlines()[-3:], sep="\n  ", flush=True)
                continue
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(rows[-1], flush=True)
    write_rows(options.name, rows)


if __name__ == "__main__":
    main()
