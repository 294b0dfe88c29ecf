"""Latency of an exported VSKNN for one session: 1 million past sessions, 100 thousand items.

    python benchmarks/neighbour_latency.py --sessions 1000000 --items 100000

The SavedModel is called in this process, one session at a time, as TensorFlow Serving would without a network. In
turn with it, so is an export whose graph scores all items, as it did before candidates alone were scored. For
comparison: Serenade (SIGMOD 2022), a Rust server, reports p90 below 1.7 ms, 60 million events and 1.76 million items.
"""

import argparse
import os
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from reporting import write_rows

import tfrecsession as trs
from tfrecsession.batches import Sessions
from tfrecsession.models.neighbours.session_neighbours import NeighbourModel
from tfrecsession.recommender.top_items import TopItems
from tfrecsession.sessions.store import SessionArrays
from tfrecsession.sessions.vocabulary import Items

SECOND = 1_000_000


def log(sessions: int, items: int, rng) -> Sessions:
    """Generates sessions of 2 to 10 events on items of Zipf-like popularity, near each other in the catalogue."""
    lengths = 2 + rng.binomial(8, 0.3, sessions)
    start = np.minimum((items * rng.random(sessions) ** 3).astype(np.int64), items - 1)
    near = rng.integers(-20, 21, lengths.sum())
    values = np.clip(np.repeat(start, lengths) + near, 0, items - 1)
    counts = np.bincount(values, minlength=items)
    order = np.argsort(-counts, kind="stable")  # ids are by descending count
    new_id = np.empty(items, np.int32)
    new_id[order] = np.arange(items) + 2
    vocabulary = Items(np.array([f"item-{n}" for n in range(items)]), counts[order])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    times = np.arange(len(values), dtype=np.int64) * SECOND
    return Sessions(SessionArrays(vocabulary, new_id[values], offsets, {"times": times}), "train")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--asked", type=int, default=2000)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    train = log(options.sessions, options.items, rng)
    model = trs.models.VSKNN(train.items, neighbours=100, recent=1000)
    start = time.perf_counter()
    model.fit(train)
    fit = time.perf_counter() - start
    histories = []
    for session in rng.integers(0, options.sessions, options.asked):
        events = train[session]
        histories.append(train.items.decode(events[: rng.integers(1, len(events) + 1)]).tolist())
    with tempfile.TemporaryDirectory() as folder:
        path = model.export(f"{folder}/1", k=20)
        megabytes = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e6
        find, NeighbourModel.find = NeighbourModel.find, TopItems.find
        dense = model.export(f"{folder}/2", k=20)
        NeighbourModel.find = find
        loaded = {name: tf.saved_model.load(str(folder)) for name, folder in (("voted", path), ("all", dense))}
        waits = {name: [] for name in loaded}
        for number, history in enumerate([*histories[:50], *histories]):
            answers = []
            for name, model in loaded.items():
                start = time.perf_counter()
                answer = model.signatures["serving_default"](items=tf.constant([history]))
                answers.append((answer["items"].numpy().tolist(), answer["scores"].numpy().tolist()))
                if number >= 50:  # the first calls warm up
                    waits[name].append(1000 * (time.perf_counter() - start))
            assert answers[0] == answers[1], "the answers differ"
    p50, p90, p99 = np.quantile(waits["voted"], [0.5, 0.9, 0.99]).tolist()
    row = {
        "sessions": options.sessions,
        "items": options.items,
        "events": len(train.values),
        "fit_s": round(fit, 2),
        "saved_model_mb": round(megabytes),
        "p50_ms": round(p50, 2),
        "p90_ms": round(p90, 2),
        "p99_ms": round(p99, 2),
        "p50_of_all_scored": round(p50 / float(np.median(waits["all"])), 2),
        "p90_of_all_scored": round(p90 / float(np.quantile(waits["all"], 0.9)), 2),
    }
    print(row)
    write_rows("neighbour_latency", [row])


if __name__ == "__main__":
    main()
