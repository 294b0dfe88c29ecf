"""Training speed of the encoders against GRU4Rec's: the same batches, loss, negatives and width, in turn.

    python benchmarks/encoders.py --dim 50 --dim 100

Sessions of the synthetic shop, rows of 20 steps, sampled cross-entropy with 2,048 negatives. `ratio` is the median over
rounds of the model's events/s divided by GRU4Rec's of the same width in the same round, so that a disturbed machine
matters less. Blocks of `min_gru` and `lru` have a feed-forward part, unlike a GRU; `recurrence alone` has none.
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from reporting import write_rows

import tfrecsession as trs

MODELS = {
    "gru4rec": ("gru4rec", {}),
    "sasrec": ("sasrec", {}),
    "sasrec, 1 layer": ("sasrec", {"layers": 1}),
    "sasrec, modern": ("sasrec", {"style": "modern"}),
    "core": ("core", {}),
    "min_gru": ("min_gru", {}),
    "min_gru, recurrence alone": ("min_gru", {"expand": 0}),
    "lru": ("lru", {}),
    "lru, recurrence alone": ("lru", {"expand": 0}),
    "narm": ("narm", {}),
}
SHARED = {"rows": 64, "steps": 20, "negatives": 2048, "loss": "cross_entropy", "optimizer": "adam"}


def measured(data, dim: int, rounds: int, batches: int, names) -> list[dict]:
    cached = data.train.batches(rows=SHARED["rows"], steps=SHARED["steps"]).take(batches).cache()
    events = sum(int((targets.numpy() > 0).sum()) for _, targets in cached)
    models, rates = {}, {name: [] for name in names}
    for name in names:
        keras.utils.set_random_seed(0)
        model, own = MODELS[name]
        width = {"units": [dim]} if model in ("gru4rec", "narm") else {"dim": dim}
        settings = trs.training.settings_of(model, SHARED, {"learning_rate": 0.001}, width, own)
        models[name] = trs.training.build(model, data.items, settings)
        models[name].fit(cached, epochs=1, verbose=0)  # traces the graph
    for _ in range(rounds):
        for name, model in models.items():
            start = time.perf_counter()
            model.fit(cached, epochs=1, verbose=0)
            rates[name].append(events / (time.perf_counter() - start))
    gru = np.array(rates["gru4rec"])
    return [
        {
            "model": name,
            "dim": dim,
            "train_events_per_s": float(np.median(found)),
            "ratio": float(np.median(found / gru)),
        }
        for name, found in ((name, np.array(rates[name])) for name in names)
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dim", type=int, action="append")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--items", type=int, default=5000)
    parser.add_argument("--models", default=",".join(MODELS).replace(", ", "; "), help="separated by commas")
    options = parser.parse_args()
    names = [name.replace(";", ",") for name in options.models.split(",")]
    data = trs.synthetic_sessions(items=options.items, sessions=6 * options.items, seed=1)
    rows = []
    for dim in options.dim or [50, 100]:
        rows += measured(data, dim, options.rounds, options.batches, names)
        write_rows("encoders", rows)
    for row in rows:
        print(row)
