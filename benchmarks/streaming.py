"""Cost of a click by session length: `advance` from a state, or `serving_default` on the whole history.

    python benchmarks/streaming.py --items 50000 --units 100

Measures an untrained, exported GRU4Rec in this process, one session at a time.
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
from tfrecsession.sessions.vocabulary import Items

LENGTHS = (1, 10, 100, 1000)


def milliseconds(call, repeats: int) -> tuple[float, float]:
    """Returns the median and 90th percentile of the time of a call."""
    waits = []
    for number in range(repeats + 10):
        start = time.perf_counter()
        call()["items"].numpy()
        if number >= 10:  # the first calls warm up
            waits.append(1000 * (time.perf_counter() - start))
    return tuple(np.quantile(waits, [0.5, 0.9]).round(2).tolist())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--units", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=200)
    options = parser.parse_args()
    ids = [f"item-{number}" for number in range(options.items)]
    model = trs.models.GRU4Rec(Items(ids, np.ones(options.items, np.int64)), units=[options.units])
    history = np.random.default_rng(0).choice(ids, max(LENGTHS)).tolist()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        loaded = tf.saved_model.load(str(model.export(f"{folder}/1", k=20)))
        advance, whole = loaded.signatures["advance"], loaded.signatures["serving_default"]
        before, state = 0, tf.constant(model.initial_state())
        for length in LENGTHS:
            for item in history[before : length - 1]:
                state = advance(items=tf.constant([item]), state=state)["state"]
            before = length - 1
            last, session = tf.constant(history[length - 1 : length]), tf.constant([history[:length]])
            streamed, replayed = advance(items=last, state=state), whole(items=session)
            difference = float(tf.reduce_max(tf.abs(streamed["scores"] - replayed["scores"])))
            streamed_ms = milliseconds(lambda last=last, state=state: advance(items=last, state=state), options.repeats)
            replayed_ms = milliseconds(lambda session=session: whole(items=session), options.repeats)
            rows.append(
                {
                    "events": length,
                    "items": options.items,
                    "units": options.units,
                    "advance_p50_ms": streamed_ms[0],
                    "advance_p90_ms": streamed_ms[1],
                    "replay_p50_ms": replayed_ms[0],
                    "replay_p90_ms": replayed_ms[1],
                    "largest_score_difference": f"{difference:.1e}",
                }
            )
            print(rows[-1])
    write_rows("streaming", rows)


if __name__ == "__main__":
    main()
