"""Cost of a training step by catalogue size: same batch size, same number of negatives, in plain `model.fit`.

python benchmarks/flat_cost.py --items 10000,1000000
python benchmarks/flat_cost.py --items 10000,100000,1000000,10000000 --units 64 --optimizers LazyAdagrad --name
flat_cost_10m
"""

import argparse
import os
import resource
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from reporting import write_rows

import tfrecsession as trs
from tfrecsession.batches import datasets
from tfrecsession.sessions.vocabulary import Items


class StepTimes(keras.callbacks.Callback):
    """Milliseconds of every step, except the first ones, which trace the graph."""

    def __init__(self):
        super().__init__()
        self.milliseconds = []

    def on_train_batch_begin(self, batch, logs=None):
        self.start = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])  # waits for the step to finish
        if batch >= 5:
            self.milliseconds.append(1e3 * (time.perf_counter() - self.start))


def step_time(catalogue: int, kind: str, steps: int, units: int) -> float:
    rng = np.random.default_rng(0)
    items = Items((f"i{number}" for number in range(catalogue)), rng.integers(1, 100, catalogue))
    events = 64 * 17 * steps
    values = rng.integers(2, catalogue + 2, events).astype(np.int32)
    batches = datasets.packed(values, np.arange(0, events + 1, 17), rows=64, steps=16)
    keras.utils.set_random_seed(0)
    model = trs.models.GRU4Rec(items, units=[units], negatives=trs.negatives.Popularity(2048))
    optimizer = {
        "LazyAdagrad": lambda: trs.optimizers.LazyAdagrad(0.1),
        "LazyAdam": lambda: trs.optimizers.LazyAdam(1e-3),
        "keras Adagrad": lambda: keras.optimizers.Adagrad(0.1),
    }[kind]()
    model.compile(optimizer, trs.losses.CrossEntropy(logq=1.0))
    times = StepTimes()
    model.fit(batches, epochs=1, verbose=0, callbacks=[times])
    return float(np.median(times.milliseconds))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", default="10000,1000000")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--units", type=int, default=100)
    parser.add_argument("--name", default="flat_cost", help="name of the file in results/")
    parser.add_argument("--optimizers", default="LazyAdagrad,LazyAdam,keras Adagrad")
    options = parser.parse_args()
    rows = []
    for kind in options.optimizers.split(","):
        base = None
        for catalogue in map(int, options.items.split(",")):
            milliseconds = step_time(catalogue, kind, options.steps, options.units)
            base = base or milliseconds
            row = {"optimizer": kind, "items": catalogue, "ms_per_step": round(milliseconds, 1)}
            rows.append({**row, "ratio": round(milliseconds / base, 2)})
            rows[-1]["peak_GB"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2)
            print(rows[-1], flush=True)
    write_rows(options.name, rows)


if __name__ == "__main__":
    main()
