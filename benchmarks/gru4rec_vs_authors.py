"""Our GRU4Rec beside the authors' own PyTorch code: the same sessions, units, batch and negatives, in one run.

    TFRECSESSION_DATA=... python benchmarks/gru4rec_vs_authors.py --authors DIR --authors-python EXE --json FILE

`--authors` is a checkout of hidasib/GRU4Rec_PyTorch_Official, `--authors-python` an interpreter with what it needs
(torch, joblib, NumPy below 2, pandas below 2.2). Both sides see yoochoose1_64 without the test items that train never
saw, which the authors' evaluation leaves out too; every other event of test is ranked among all items, ties against
the model.
"""

import argparse
import json
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
from reporting import write_rows

import tfrecsession as trs

AUTHORS = {
    "loss": "bpr-max",
    "layers": "100",
    "batch_size": "64",
    "dropout_p_embed": "0.2",
    "learning_rate": "0.05",
    "momentum": "0.2",
    "n_sample": "2048",
    "sample_alpha": "0.2",
    "bpreg": "1.0",
    "elu_param": "0.5",
    "constrained_embedding": "True",
}


def sessions_of(file: Path) -> list[list[str]]:
    return [line.split() for line in file.read_text().splitlines() if line.strip()]


def known_only(test: list[list[str]], train: list[list[str]]) -> list[list[str]]:
    known = {item for session in train for item in session}
    kept = [[item for item in session if item in known] for session in test]
    return [session for session in kept if len(session) > 1]


def write_text(sessions, file: Path) -> Path:
    file.write_text("".join(" ".join(session) + "\n" for session in sessions))
    return file


def write_tsv(sessions, file: Path) -> Path:
    """As the authors' code reads it: time grows over the log, so that sessions keep their order."""
    clock = 0
    with open(file, "w") as out:
        out.write("SessionId\tItemId\tTime\n")
        for number, session in enumerate(sessions):
            for item in session:
                clock += 1
                out.write(f"{number}\t{item}\t{clock}\n")
    return file


def authors(options, train, test, place: Path) -> dict:
    train_file, test_file = write_tsv(train, place / "train.tsv"), write_tsv(test, place / "test.tsv")
    settings = ",".join(f"{name}={value}" for name, value in {**AUTHORS, "n_epochs": options.epochs}.items())
    run = str(Path(options.authors) / "run.py")
    command = [options.authors_python, run, str(train_file), "-t", str(test_file), "-ps", settings, "-d", "cpu"]
    done = subprocess.run([*command, "-e", "conservative", "-m", "20"], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"the authors' code failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")

    def number(pattern: str) -> float:
        return float(re.search(pattern, done.stdout)[1])

    return {
        "recall@20": number(r"Recall@20: ([\d.]+)"),
        "mrr@20": number(r"MRR@20: ([\d.]+)"),
        "train_s": number(r"Total training time: ([\d.]+)s"),
        "eval_s": number(r"Evaluation took ([\d.]+)s"),
    }


def ours(data, settings: dict, seed: int) -> dict:
    keras.utils.set_random_seed(seed)
    model = trs.training.build("gru4rec", data.items, settings)
    start = time.perf_counter()
    trs.training.fit(model, data, settings, seed=seed)
    seconds = time.perf_counter() - start
    scored = trs.evaluation.evaluate(model, data.test, (20,))
    metrics = {name: scored.metrics[name] for name in ("recall@20", "mrr@20")}
    return {**metrics, "train_s": seconds, "eval_s": scored.seconds}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--authors", required=True, help="the folder with the authors' run.py")
    parser.add_argument("--authors-python", required=True)
    parser.add_argument("--epochs", type=int, default=10, help="of both sides")
    parser.add_argument("--preset", default="gru4rec_yoochoose1_64", help="our settings")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE over them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json")
    options = parser.parse_args()
    folder = os.environ.get("TFRECSESSION_DATA")
    if not folder:
        raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs yoochoose1_64")
    given = Path(folder) / "yoochoose1_64"
    train = sessions_of(given / "train_sessions.txt")
    test = known_only(sessions_of(given / "test_sessions.txt"), train)
    from tfrecsession.cli.model_commands import settings as said

    preset = trs.presets.read(options.preset)["settings"]
    settings = trs.training.settings_of("gru4rec", preset, said(options.set), {"epochs": options.epochs})
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        trs.prepare(
            str(write_text(train, place / "train.txt")),
            place / "data",
            test_input=str(write_text(test, place / "test.txt")),
        )
        data = trs.load(place / "data")
        mine = ours(data, settings, options.seed)
        print({"ours": mine}, flush=True)
        theirs = authors(options, train, test, place)
        print({"authors": theirs}, flush=True)
    events = {"train": data.train.scored_events * options.epochs, "eval": data.test.scored_events}
    rows = []
    for side, result in (("ours", mine), ("authors", theirs)):
        rates = {f"{kind}_events_per_s": round(count / result[f"{kind}_s"]) for kind, count in events.items()}
        rows.append({"side": side, **{name: round(value, 4) for name, value in result.items()}, **rates})
    summary = {
        "speedup": theirs["train_s"] / mine["train_s"],
        "eval_speedup": theirs["eval_s"] / mine["eval_s"],
        "ours": rows[0],
        "authors": rows[1],
        "settings": {"ours": settings, "authors": AUTHORS},
    }
    print({name: round(summary[name], 2) for name in ("speedup", "eval_speedup")})
    if options.json:
        Path(options.json).write_text(json.dumps(summary, indent=2) + "\n")
    write_rows("gru4rec_vs_authors", rows)


if __name__ == "__main__":
    main()
