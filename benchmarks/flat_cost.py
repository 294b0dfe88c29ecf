"""Cost of a training step by catalogue size: same batch size, same number of negatives, in plain `model.fit`.

python benchmarks/flat_cost.py --items 10000,1000000
python benchmarks/flat_cost.py --items 10000,100000,1000000,10000000 --units 64 --optimizers LazyAdagrad --name
flat_cost_10m
python benchmarks/flat_cost.py --models user_gru,hrnn,shan,sdm --optimizers LazyAdagrad --name flat_cost_users
python benchmarks/flat_cost.py --optimizers LazyAdagrad --units 32 --content none,title,price,vector,photo --name
flat_cost_content

Models that know their users have as many users as items. Each measurement is a process of its own. tables_GB is the
size of the weights and of the optimizer's variables, working_GB the peak of the process beyond them and beyond what it
held before the model was built. `fastest_ms` is the step at the tenth percentile, and ratios are those of it: other
programs on the machine slow single steps down.

With --content, the items have these columns, one network for each: `vector` of 64 numbers and `photo` of 64 x 64 pixels
lie in memory-mapped files, which are sparse; `reading` is the share of the time in which they are read. The vectors of
all items, computed when training ends, are no part of it.
"""

import argparse
import itertools
import multiprocessing
import os
import resource
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import pyarrow as pa
from reporting import write_rows

import tfrecsession as trs
from tfrecsession.batches import Sessions
from tfrecsession.sessions.context import Column, Context
from tfrecsession.sessions.item_columns import Tensor
from tfrecsession.sessions.store import SessionArrays
from tfrecsession.sessions.vocabulary import Items

STEPS = 16
TENSORS = {"vector": ("vector", (64,), np.float32), "photo": ("image", (64, 64, 3), np.uint8)}
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


class Reads:
    """An array whose reads are counted, in rows and seconds."""

    def __init__(self, values):
        self.values, self.shape, self.dtype = values, values.shape, values.dtype
        self.seconds = 0.0

    def __getitem__(self, rows):
        start = time.perf_counter()
        found = np.asarray(self.values[rows])
        self.seconds += time.perf_counter() - start
        return found


def give_content(items, column: str, folder: str) -> None:
    """Gives the items a column of content."""
    if column in TENSORS:
        kind, shape, dtype = TENSORS[column]
        file = f"{folder}/{len(items)}.npy"
        values = np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=(len(items), *shape))
        values[:: max(1, len(items) // 500)] = np.random.default_rng(0).integers(0, 200, shape)
        items.tensors = {column: Tensor(kind, Reads(values), np.ones(len(items), bool))}
    elif column == "title":
        words = np.array([f"word{number}" for number in range(3000)])[
            np.random.default_rng(0).integers(0, 3000, (len(items), 5))
        ]
        items.content = pa.table({"title": [" ".join(row) for row in words]})
    elif column == "price":
        items.content = pa.table({"price": np.random.default_rng(0).random(len(items))})
    elif column != "none":
        raise SystemExit(f"--content {column}: must be none, title, price, {', '.join(TENSORS)}")


def step_cost(name: str, catalogue: int, kind: str, steps: int, units: int, column: str) -> dict:
    """Returns the times of a step, and the memory of the training."""
    rng = np.random.default_rng(0)
    items = Items((f"i{number}" for number in range(catalogue)), rng.integers(1, 100, catalogue))
    sessions = 64 * steps
    values = rng.integers(2, catalogue + 2, sessions * (STEPS + 1)).astype(np.int32)
    users = np.array([f"u{number}" for number in rng.integers(0, catalogue, sessions)], object)
    arrays = SessionArrays(items, values, np.arange(0, len(values) + 1, STEPS + 1), {"user": users})
    own = {"negatives": trs.negatives.Popularity(2048)}
    if name == "user_gru":
        known = Column("user", "category", tuple(f"u{number}" for number in range(catalogue)))
        own["context"] = Context([known], request=["user"])
    if column != "none":
        own |= {"content": [column], "id_dropout": 0.1}
    by_user = name not in ("gru4rec", "user_gru")
    optimizer = {
        "LazyAdagrad": lambda: trs.optimizers.LazyAdagrad(0.1),
        "LazyAdam": lambda: trs.optimizers.LazyAdam(1e-3),
        "keras Adagrad": lambda: keras.optimizers.Adagrad(0.1),
    }[kind]()
    with tempfile.TemporaryDirectory() as folder:
        give_content(items, column, folder)
        before = peak()
        keras.utils.set_random_seed(0)
        model = MODELS[name](items, units, **own)
        model.compile(optimizer, trs.losses.CrossEntropy(logq=1.0))
        model.settle = lambda force=False: None
        batches = Sessions(arrays, "train", False).batches(rows=64, steps=STEPS, by_user=by_user, context=model.context)
        times = StepTimes()
        start = time.perf_counter()
        model.fit(batches, epochs=1, verbose=0, callbacks=[times])
        seconds = time.perf_counter() - start
    tables = sum(np.prod(weight.shape) * 4 for weight in (*model.weights, *optimizer.variables)) / 1e9
    cost = {
        "fastest_ms": round(float(np.quantile(times.milliseconds, 0.1)), 1),
        "ms_per_step": round(float(np.median(times.milliseconds)), 1),
        "peak_GB": round(peak(), 2),
        "tables_GB": round(float(tables), 2),
        "working_GB": round(peak() - before - float(tables), 2),
    }
    if column in TENSORS:
        cost["reading"] = round(items.tensors[column].values.seconds / seconds, 3)
    return cost


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", default="10000,1000000")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--units", type=int, default=100)
    parser.add_argument("--name", default="flat_cost", help="name of the file in results/")
    parser.add_argument("--content", default="none", help="columns, one network each: none,title,price,vector,photo")
    parser.add_argument("--optimizers", default="LazyAdagrad,LazyAdam,keras Adagrad")
    parser.add_argument("--models", default="gru4rec", help=",".join(MODELS))
    options = parser.parse_args()
    spawn, rows = multiprocessing.get_context("spawn"), []
    for name, kind, column in itertools.product(
        options.models.split(","), options.optimizers.split(","), options.content.split(",")
    ):
        base = None
        for catalogue in map(int, options.items.split(",")):
            with spawn.Pool(1) as process:
                cost = process.apply(step_cost, (name, catalogue, kind, options.steps, options.units, column))
            base = base or cost["fastest_ms"]
            row = {"model": name, "content": column, "optimizer": kind, "items": catalogue}
            rows.append({**row, "ratio": round(cost["fastest_ms"] / base, 2), **cost})
            print(rows[-1], flush=True)
            write_rows(options.name, rows)


if __name__ == "__main__":
    main()
