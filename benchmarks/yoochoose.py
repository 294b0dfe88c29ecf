"""Scores on yoochoose1_64: original split, next event, whole catalogue, ties count against the model.

TFRECSESSION_DATA=... python benchmarks/yoochoose.py --seeds 0,1,2
"""

import argparse
import os
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from reporting import intervals, write_rows

import tfrecsession as trs


def score(data, name: str, settings: dict, seed: int) -> dict:
    keras.utils.set_random_seed(seed)
    model = trs.training.build(name, data.items, settings)
    start = time.perf_counter()
    trs.training.fit(model, data, settings, seed=seed)
    seconds = time.perf_counter() - start
    scored = trs.evaluation.evaluate(model, data.test, (20,))
    metrics = {metric: round(value, 4) for metric, value in scored.metrics.items()}
    row = {"model": name, "seed": seed, **metrics, "events": scored.events, "train_s": round(seconds, 1)}
    row |= {bound: round(value, 4) for bound, value in intervals(scored).items()}
    return {**row, "train_events_per_s": round(data.train.scored_events * settings.get("epochs", 1) / seconds)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--preset", default="gru4rec_yoochoose1_64")
    options = parser.parse_args()
    folder = os.environ.get("TFRECSESSION_DATA")
    if not folder:
        raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs yoochoose1_64")
    with tempfile.TemporaryDirectory() as out:
        given = f"{folder}/yoochoose1_64"
        trs.prepare(f"{given}/train_sessions.txt", f"{out}/data", test_input=f"{given}/test_sessions.txt")
        data = trs.load(f"{out}/data")
        preset = trs.presets.read(options.preset)
        rows = [score(data, name, trs.training.settings_of(name), 0) for name in ("popularity", "item_knn")]
        print(*rows, sep="\n", flush=True)
        settings = trs.training.settings_of(preset["model"], preset["settings"])
        for seed in map(int, options.seeds.split(",")):
            rows.append(score(data, preset["model"], settings, seed))
            print(rows[-1], flush=True)
    learned = [row for row in rows if row["model"] == preset["model"]]
    mean = {metric: round(float(np.mean([row[metric] for row in learned])), 4) for metric in ("recall@20", "mrr@20")}
    print({"model": preset["model"], "seeds": len(learned), **mean})
    write_rows("yoochoose1_64", rows)


if __name__ == "__main__":
    main()
