"""Two inputs of docs/scaling.md: the speed of reading prepared Parquet, and the cost of updating rows that several
workers have touched, merged first as `LazyOptimizer` does.

python benchmarks/scaling_inputs.py
"""

import argparse
import os
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from reporting import write_rows

import tfrecsession as trs
from tfrecsession.layers import ItemEmbedding


def reading(sessions: int) -> float:
    """Measures events/s of opening a prepared data set and reading its items into memory."""
    with tempfile.TemporaryDirectory() as folder:
        trs.prepare(f"synthetic:items=100000,sessions={sessions},seed=1,days=30", f"{folder}/data")
        start = time.perf_counter()
        events = len(trs.load(f"{folder}/data").train.values)
        return events / (time.perf_counter() - start)


def updating(rows: int, items: int, units: int) -> float:
    """Measures seconds per row of a LazyAdagrad step on `rows` rows of a table."""
    table = ItemEmbedding(items, units)
    optimizer = trs.optimizers.LazyAdagrad(0.1)
    optimizer.build(table.trainable_variables)
    rng = np.random.default_rng(0)
    indices = tf.constant(rng.choice(items, rows), tf.int32)
    values = tf.random.normal((rows, units))

    @tf.function
    def step():
        slices = tf.IndexedSlices(values, indices, tf.constant([items, units]))
        optimizer.apply([slices], table.trainable_variables)

    times = []
    for _ in range(15):
        start = time.perf_counter()
        step()
        tf.gather(table.table.value, [0]).numpy()  # waits for the step to finish
        times.append(time.perf_counter() - start)
    return float(np.median(times[3:])) / rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=200_000)
    options = parser.parse_args()
    keras.utils.set_random_seed(0)
    row = {"parquet_events_per_s": round(reading(options.sessions))}
    row["update_us_per_row"] = round(1e6 * updating(100_000, options.items, 100), 3)
    print(row)
    write_rows("scaling_inputs", [row])


if __name__ == "__main__":
    main()
