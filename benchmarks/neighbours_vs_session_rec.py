"""Our session neighbours compared with rn5l/session-rec: the same files, the same settings, one run.

    TFRECSESSION_DATA=... python benchmarks/neighbours_vs_session_rec.py --session-rec DIR --session-rec-python EXE

`--session-rec` is a checkout of rn5l/session-rec, `--session-rec-python` an interpreter with NumPy, pandas, psutil and
pympler. Both sides use yoochoose1_64 without the test items not seen in train. They predict at every test event but the
last of a session and are ranked by the same rule: all items compete, ties count against the model. session-rec's SKNN
multiplies by the root of the neighbour's length where its paper divides, so SKNN is compared with Jaccard similarity.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from gru4rec_vs_authors import known_only, sessions_of, write_text
from reporting import write_rows

import tfrecsession as trs

# name -> (our model, our settings, their module and class, their settings)
CASES = {
    "vsknn": (
        "vsknn",
        {"similarity": "vec"},
        ("vsknn", "VMContextKNN"),
        {"similarity": "vec", "weighting": "quadratic", "weighting_score": "quadratic"},
    ),
    "vsknn, cosine": (
        "vsknn",
        {"similarity": "cosine"},
        ("vsknn", "VMContextKNN"),
        {"similarity": "cosine", "weighting": "quadratic", "weighting_score": "quadratic"},
    ),
    "sknn, jaccard": (
        "sknn",
        {"similarity": "jaccard"},
        ("sknn", "ContextKNN"),
        {"similarity": "jaccard", "remind": False},
    ),
}
THEIRS = """
import importlib, json, sys, time
import numpy as np, pandas as pd
folder, module, cls, settings, train_file, test_file = sys.argv[1:]
sys.path.insert(0, folder)
time.clock = time.perf_counter  # gone since Python 3.8
if not hasattr(np, "in1d"):
    np.in1d = np.isin
read = lambda name: [[int(item) for item in line.split()] for line in open(name) if line.strip()]
train, test = read(train_file), read(test_file)
items = np.concatenate(train)
log = pd.DataFrame({"SessionId": np.repeat(np.arange(len(train)), [len(s) for s in train]), "ItemId": items,
                    "Time": np.arange(len(items))})
model = getattr(importlib.import_module("algorithms.knn." + module), cls)(**json.loads(settings))
start = time.perf_counter(); model.fit(log); fit = time.perf_counter() - start
catalogue = np.unique(items)
ranks, seconds = [], 0.0
for number, session in enumerate(test, len(train)):
    for item, target in zip(session, session[1:]):
        start = time.perf_counter()
        scores = model.predict_next(number, item, catalogue, timestamp=0)
        seconds += time.perf_counter() - start
        values = scores.values
        ranks.append(int((values >= values[np.searchsorted(catalogue, target)]).sum()))
ranks = np.array(ranks)
print(json.dumps({"recall@20": float((ranks <= 20).mean()), "mrr@20": float(np.where(ranks <= 20, 1 / ranks, 0).mean()),
                  "fit_s": fit, "predictions": len(ranks), "predictions_per_s": len(ranks) / seconds}))
"""


def theirs(options, module: str, cls: str, settings: dict, *files: Path) -> dict:
    command = [options.session_rec_python, "-c", THEIRS, str(Path(options.session_rec).resolve()), module, cls]
    command += [json.dumps({"k": options.k, "sample_size": options.m, **settings}), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"session-rec failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def ours(options, data, name: str, settings: dict) -> dict:
    settings = trs.training.settings_of(name, {"neighbours": options.k, "recent": options.m, **settings})
    model = trs.training.build(name, data.items, settings)
    start = time.perf_counter()
    model.fit(data.train)
    fit = time.perf_counter() - start
    trs.evaluation.evaluate(model, data.test)  # compiles
    scored = trs.evaluation.evaluate(model, data.test)
    return {
        "recall@20": scored.metrics["recall@20"],
        "mrr@20": scored.metrics["mrr@20"],
        "fit_s": fit,
        "predictions": scored.events,
        "predictions_per_s": scored.events / scored.seconds,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--session-rec", required=True, help="the folder with session-rec's algorithms/")
    parser.add_argument("--session-rec-python", required=True)
    parser.add_argument("-k", type=int, default=100, help="neighbours")
    parser.add_argument("-m", type=int, default=1000, help="number of most recent sessions considered")
    parser.add_argument("--every", type=int, default=1, help="use every n-th test session, for both sides")
    options = parser.parse_args()
    folder = os.environ.get("TFRECSESSION_DATA")
    if not folder:
        raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs yoochoose1_64")
    train = sessions_of(Path(folder) / "yoochoose1_64" / "train_sessions.txt")
    test = known_only(sessions_of(Path(folder) / "yoochoose1_64" / "test_sessions.txt"), train)[:: options.every]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        files = write_text(train, Path(folder) / "train.txt"), write_text(test, Path(folder) / "test.txt")
        trs.prepare(str(files[0]), f"{folder}/data", test_input=str(files[1]))
        data = trs.load(f"{folder}/data")
        for case, (name, settings, (module, cls), their_settings) in CASES.items():
            mine = ours(options, data, name, settings)
            other = theirs(options, module, cls, their_settings, *files)
            ratio = mine["predictions_per_s"] / other["predictions_per_s"]
            for side, row in (("ours", mine), ("session-rec", other)):
                rounded = {key: round(value, 4) if value < 100 else round(value) for key, value in row.items()}
                rows.append({"model": case, "side": side, **rounded, "times": round(ratio, 1) if row is mine else ""})
                print(rows[-1], flush=True)
    write_rows("neighbours_vs_session_rec", rows)


if __name__ == "__main__":
    main()
