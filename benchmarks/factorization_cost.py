"""Cost of a training step of MatrixFactorization by the number of users and items, for each kind of loss.

python benchmarks/factorization_cost.py
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from reporting import write_rows

import tfrecsession as trs
from tfrecsession.batches import Interactions
from tfrecsession.batches.triples import triples
from tfrecsession.sessions.vocabulary import Items

LOSSES = {
    "cross_entropy": (trs.losses.CrossEntropy, None),
    "all_pairs": (trs.losses.AllPairs, None),
    "mean_squared_error": (lambda: "mean_squared_error", "rating"),
}


def random_interactions(size, pairs):
    """Returns random interactions of `size` users with `size` items."""
    rng = np.random.default_rng(0)
    key = np.unique(rng.integers(0, size, pairs) * size + rng.integers(0, size, pairs))
    user, item = np.divmod(key, size)
    names = np.arange(size).astype(str).astype(object)
    return Interactions(
        items=Items(names, np.sort(np.bincount(item, minlength=size))[::-1]),
        users=names,
        named=np.ones(size, bool),
        offsets=np.concatenate([[0], np.cumsum(np.bincount(user, minlength=size))]),
        values=(item + 2).astype(np.int32),
        weights=np.ones(len(user), np.float32),
        of_session=np.arange(size),
    )


def milliseconds(interactions, name, dim, rows, steps):
    loss, rating = LOSSES[name]
    model = trs.models.MatrixFactorization(
        interactions.items, dim=dim, rating=rating, negatives=trs.negatives.Popularity(512)
    )
    model.compile(trs.optimizers.LazyAdagrad(0.1), loss())
    model.take(interactions)
    model.sum_grams()
    step, batches, times = tf.function(model.train_step), iter(triples(interactions, rows)), []
    for number in range(steps + 10):
        batch = next(batches)
        start = time.perf_counter()
        float(step(batch)["loss"])  # waits for the step to finish
        if number >= 10:
            times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="10000,1000000")
    parser.add_argument("--pairs", type=int, default=1_500_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=150)
    options = parser.parse_args()
    rows = []
    for size in map(int, options.sizes.split(",")):
        interactions = random_interactions(size, options.pairs)
        for name in LOSSES:
            step_ms = milliseconds(interactions, name, options.dim, options.rows, options.steps)
            first = next((row["step_ms"] for row in rows if row["loss"] == name), step_ms)
            rows.append({"loss": name, "size": size, "step_ms": round(step_ms, 2), "times": round(step_ms / first, 2)})
            print(rows[-1], flush=True)
    write_rows("factorization_cost", rows)


if __name__ == "__main__":
    main()
