"""Training events/s and the time of an exported answer, with eight context columns and without, in turn.

python benchmarks/context_cost.py
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from reporting import write_rows

import tfrecsession as trs

CONTEXT = ["event", "gap", "hour", "weekday", "month", "position"]
REQUEST = ["gap", "hour"]
ANSWERS = 100


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=60_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    data = trs.synthetic_sessions(items=options.items, sessions=options.sessions, seed=1, event="event")
    models = {}
    for name, columns in {"without": {}, "with": {"context": CONTEXT, "request": REQUEST}}.items():
        keras.utils.set_random_seed(0)
        model = trs.models.GRU4Rec(data.items, units=[100], negatives=trs.negatives.Popularity(2048), **columns)
        model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0))
        batches = data.train.batches(rows=64, steps=16, context=model.context)
        models[name] = model, batches
        model.fit(batches.take(5), verbose=0)  # traces the graph
    seconds = {name: [] for name in models}
    for _ in range(options.rounds):
        for name, (model, batches) in models.items():
            start = time.perf_counter()
            model.fit(batches.take(options.batches), verbose=0)
            seconds[name].append(time.perf_counter() - start)
    answers = latencies(models["with"][0], data)
    events = options.batches * 64 * 16
    row = {f"{name}_events_per_s": round(events / min(times)) for name, times in seconds.items()}
    row["ratio"] = round(min(seconds["without"]) / min(seconds["with"]), 3)
    row |= {f"{name}_ms": round(1000 * value, 2) for name, value in answers.items()}
    row["answer_ratio"] = round(answers["recommend_in_context"] / answers["serving_default"], 3)
    print(row)
    write_rows("context_cost", [row])


def latencies(model, data) -> dict[str, float]:
    """Returns the median seconds of an answer to one history of five events, by signature.

    One call of a graph makes ANSWERS answers, one after another: from Python each of the ten inputs of a call would
    cost 25 us, which a server does not pay.
    """
    with tempfile.TemporaryDirectory() as folder:
        loaded = tf.saved_model.load(str(model.export(Path(folder) / "1", k=20)))
        items = np.random.default_rng(0).choice(data.items.ids, (ANSWERS, 1, 5))
        times = 1_700_000_000 + np.arange(ANSWERS * 5).reshape(ANSWERS, 1, 5)
        columns = {
            "items": items,
            "context_event": np.full((ANSWERS, 1, 5), "view"),
            "context_time": times.astype(str),
            "request_time": (times[:, :, -1] + 100).astype(str),
        }
        loops = {}
        for name in ("serving_default", "recommend_in_context"):
            specs = loaded.signatures[name].structured_input_signature[1]
            missing = {1: np.full((ANSWERS, 1), ""), 2: np.full((ANSWERS, 1, 5), "")}
            given = {key: tf.constant(columns.get(key, missing[spec.shape.rank])) for key, spec in specs.items()}
            loops[name] = in_turn(loaded.signatures[name]), given
        found = {name: [] for name in loops}
        for _ in range(20):
            for name, (loop, given) in loops.items():
                start = time.perf_counter()
                loop(given)
                found[name].append((time.perf_counter() - start) / ANSWERS)
        return {name: float(np.median(seconds[2:])) for name, seconds in found.items()}


def in_turn(signature):
    """Returns a graph that asks a signature for each row of its inputs, one after another."""

    @tf.function
    def loop(given):
        total = 0.0
        for row in tf.range(ANSWERS):
            total += tf.reduce_sum(signature(**{key: value[row] for key, value in given.items()})["scores"])
        return total

    return loop


if __name__ == "__main__":
    main()
