"""Input pipeline throughput: events/s of the packed batches alone, compared with those of `model.fit`.

python benchmarks/input_pipeline.py
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
from reporting import write_rows

import tfrecsession as trs


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=200_000)
    parser.add_argument("--items", type=int, default=20_000)
    options = parser.parse_args()
    data = trs.synthetic_sessions(items=options.items, sessions=options.sessions, seed=1)
    batches = data.train.batches(rows=64, steps=16)
    events = data.train.scored_events

    for _ in batches.take(5):
        pass
    start = time.perf_counter()
    for _ in batches:
        pass
    alone = events / (time.perf_counter() - start)

    keras.utils.set_random_seed(0)
    model = trs.models.GRU4Rec(data.items, units=[100], negatives=trs.negatives.Popularity(2048))
    model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0))
    model.fit(batches.take(20), verbose=0)  # traces the graph
    start = time.perf_counter()
    model.fit(batches, verbose=0)
    training = events / (time.perf_counter() - start)
    row = {"events": events, "pipeline_events_per_s": round(alone), "training_events_per_s": round(training)}
    row["ratio"] = round(alone / training, 1)
    print(row)
    write_rows("input_pipeline", [row])


if __name__ == "__main__":
    main()
