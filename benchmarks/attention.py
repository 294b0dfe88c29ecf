"""SASRec beside GRU4Rec on three logs: the same loss, negatives, width, epochs, repeat head and number of trials.

    TFRECSESSION_DATA=... python benchmarks/attention.py --out DIR

The logs are cut to their newest part or to some of the users, as in `defaults.py`; the newest tenth, of Globo the last
day, is test, and what comes before it is validation. The rate of learning and dropout are searched on validation by
MRR@20, the defaults first. The winners are fitted to train and validation with each seed and scored once on test.
`train_s` is the time of such a fit. Differences to GRU4Rec are paired by session, over the means of the seeds. The same
command resumes.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from defaults import LOGS, lines
from narm import METRICS, mean_of
from reporting import rounded, write_rows

import tfrecsession as trs
from tfrecsession.training.refit import with_validation

TENTHS = {"test_span": "10%", "validation_span": "10%"}
CUTS = {
    "yoochoose1_64": (LOGS["yoochoose1_64"][0], TENTHS),
    "globo": (LOGS["globo"][0], {"time": "time", "user": "user", "test_span": "1d", "validation_span": "1d"}),
    "kkbox": (lambda folder: lines(folder / "kkbox" / "train_sessions.txt", 15_000), TENTHS),
}
SHARED = {"negatives": 2048, "loss": "cross_entropy", "decay": "linear", "epochs": 10, "trend": None}
MODELS = {
    "gru4rec": ("gru4rec", {"units": [100]}),
    "sasrec": ("sasrec", {"dim": 100}),
    "sasrec, modern": ("sasrec", {"dim": 100, "style": "modern"}),
}
SEARCHED = ("learning_rate", "dropout")


def tuned(data, label: str, trials: int, out: Path) -> dict:
    """Returns the settings that are best on validation."""
    model, own = MODELS[label]
    start = trs.training.settings_of(model)
    given = {key: value for key, value in {**SHARED, **own}.items() if key in start}
    given["repeats"] = trs.training.settings_of("gru4rec", data=data)["repeats"]  # by the log, the same for all
    fixed = {key: start[key] for key in trs.training.space_of(model) if key not in SEARCHED} | given
    folder = out / "trials" / label.replace(", ", "_")
    return trs.evaluation.tune(data, model, folder, trials=trials, metric="mrr@20", settings=fixed).best


def fitted(data, best: dict, seed: int, file: Path) -> dict:
    """Fits the winner to train and validation, scores it on test, and keeps the ranks."""
    keras.utils.set_random_seed(seed)
    model = trs.training.build(best["model"], data.items, best["settings"])
    start = time.perf_counter()
    trs.training.fit(model, data, best["settings"], seed=seed)
    seconds = time.perf_counter() - start
    scored = trs.evaluation.evaluate(model, data.test, (20,), slices=False)
    np.savez_compressed(file, ranks=scored.ranks, event=scored.event)
    return {"train_s": seconds, "evaluate_s": scored.seconds}


def compared(log: str, folder: Path, out: Path, trials: int, seeds: list[int]) -> list[dict]:
    """Returns a row for each model, and one for its difference to GRU4Rec."""
    read, options = CUTS[log]
    if not (out / "data").exists():
        trs.prepare(read(folder), out / "data", item="item", session="session", **options)
    data = trs.load(out / "data")
    print(log, data, flush=True)
    rows, files = [], {}
    for label in MODELS:
        best, runs = tuned(data, label, trials, out), []
        files[label] = [out / f"{label.replace(', ', '_')}-{seed}.npz" for seed in seeds]
        whole = with_validation(data)[0]
        for seed, file in zip(seeds, files[label], strict=True):
            cost = file.with_suffix(".json")
            if not cost.exists():
                cost.write_text(json.dumps(fitted(whole, best, seed, file)))
            runs.append(json.loads(cost.read_text()))
        found = {"log": log, "model": label, **mean_of(whole, runs, files[label])}
        found["validation_mrr@20"] = best["measured"]["mrr@20"]
        found["settings"] = json.dumps({name: best["settings"][name] for name in (*SEARCHED, "repeats")})
        rows.append(found)
        if label != "gru4rec":
            difference = mean_of(whole, [], files[label], files["gru4rec"])
            rows.append({"log": log, "model": f"{label} - gru4rec", **difference})
        print(*rows[-2:], sep="\n", flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="folder of prepared data, trials and ranks")
    parser.add_argument("--logs", default=",".join(CUTS))
    parser.add_argument("--trials", type=int, default=6, help="number of trials of every model")
    parser.add_argument("--seeds", default="0,1,2")
    options = parser.parse_args()
    folder = os.environ.get("TFRECSESSION_DATA")
    if not folder:
        raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs its logs")
    rows = []
    for log in options.logs.split(","):
        out = Path(options.out) / log
        out.mkdir(parents=True, exist_ok=True)
        rows += compared(log, Path(folder), out, options.trials, list(map(int, options.seeds.split(","))))
        write_rows("attention", [rounded(row, (*METRICS, "validation")) for row in rows])


if __name__ == "__main__":
    main()
