"""Cost of a training step by catalogue size: same batch size, same number of negatives, in plain `model.fit`.

python benchmarks/flat_cost.py --items 10000,1000000
python benchmarks/flat_cost.py --items 10000,100000,1000000,10000000 --units 64 --optimizers LazyAdagrad --name
flat_cost_10m
python benchmarks/flat_cost.py --models user_gru,hrnn,shan,sdm --optimizers LazyAdagrad --name flat_cost_users

Models that know their users have as many users as items. Each measurement is a process of its own. tables_GB is the
size of the weights and of the optimizer's variables, working_GB the peak of the process beyond them and beyond what it
held before the model was built.
"""

import argparse
import multiprocessing
import os
import resource
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from reporting import write_rows

import tfrecsession as trs
from tfrecsession.batches import Sessions
from tfrecsession.sessions.context import Column, Context
from tfrecsession.sessions.store import SessionArrays
from tfrecsession.sessions.vocabulary import Items

STEPS = 16
MODELS = {
    "gru4rec": lambda items, units, **own: trs.models.GRU4Rec(items, units=[units], **own),
    "user_gru": lambda items, units, **own: trs.models.UserGRU(items, units=[units], **own),
    "hrnn": lambda items, units, **own: trs.models.HRNN(items, units=[units], user_units=[units], **own),
    "shan": lambda items, units, **own: trs.models.LongShortTerm(items, units, encoder="shan", **own),
    "sdm": lambda items, units, **own: trs.models.LongShortTerm(items, units, encoder="gru4rec", **own),
}


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


def peak() -> float:
    """Returns the largest memory of the process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def step_cost(name: str, catalogue: int, kind: str, steps: int, units: int) -> dict:
    """Returns the median time of a step, and the memory of the training."""
    rng = np.random.default_rng(0)
    items = Items((f"i{number}" for number in range(catalogue)), rng.integers(1, 100, catalogue))
    sessions = 64 * steps
    values = rng.integers(2, catalogue + 2, sessions * (STEPS + 1)).astype(np.int32)
    users = np.array([f"u{number}" for number in rng.integers(0, catalogue, sessions)], object)
    arrays = SessionArrays(items, values, np.arange(0, len(values) + 1, STEPS + 1), {"user": users})
    context = {}
    if name == "user_gru":
        column = Column("user", "category", tuple(f"u{number}" for number in range(catalogue)))
        context = {"context": Context([column], request=["user"])}
    by_user = name not in ("gru4rec", "user_gru")
    before = peak()
    keras.utils.set_random_seed(0)
    model = MODELS[name](items, units, negatives=trs.negatives.Popularity(2048), **context)
    optimizer = {
        "LazyAdagrad": lambda: trs.optimizers.LazyAdagrad(0.1),
        "LazyAdam": lambda: trs.optimizers.LazyAdam(1e-3),
        "keras Adagrad": lambda: keras.optimizers.Adagrad(0.1),
    }[kind]()
    model.compile(optimizer, trs.losses.CrossEntropy(logq=1.0))
    batches = Sessions(arrays, "train", False).batches(rows=64, steps=STEPS, by_user=by_user, context=model.context)
    times = StepTimes()
    model.fit(batches, epochs=1, verbose=0, callbacks=[times])
    tables = sum(np.prod(weight.shape) * 4 for weight in (*model.weights, *optimizer.variables)) / 1e9
    return {
        "ms_per_step": round(float(np.median(times.milliseconds)), 1),
        "peak_GB": round(peak(), 2),
        "tables_GB": round(float(tables), 2),
        "working_GB": round(peak() - before - float(tables), 2),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", default="10000,1000000")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--units", type=int, default=100)
    parser.add_argument("--name", default="flat_cost", help="name of the file in results/")
    parser.add_argument("--optimizers", default="LazyAdagrad,LazyAdam,keras Adagrad")
    parser.add_argument("--models", default="gru4rec", help=",".join(MODELS))
    options = parser.parse_args()
    rows = []
    spawn = multiprocessing.get_context("spawn")
    for name, kind in ((name, kind) for name in options.models.split(",") for kind in options.optimizers.split(",")):
        base = None
        for catalogue in map(int, options.items.split(",")):
            with spawn.Pool(1) as process:
                cost = process.apply(step_cost, (name, catalogue, kind, options.steps, options.units))
            base = base or cost["ms_per_step"]
            ratio = round(cost["ms_per_step"] / base, 2)
            rows.append({"model": name, "optimizer": kind, "items": catalogue, "ratio": ratio, **cost})
            print(rows[-1], flush=True)
    write_rows(options.name, rows)


if __name__ == "__main__":
    main()
