"""Compressed item tables: size, training step and answer beside the full table's, and quality on logs.

    python benchmarks/item_tables.py --items 1000000 --dim 128           # size and time
    python benchmarks/item_tables.py --items 10000000 --dim 64 --kinds jpq --steps 1000 --export
    TFRECSESSION_DATA=... python benchmarks/item_tables.py --log yoochoose1_64 --epochs 5
    TFRECSESSION_DATA=... python benchmarks/item_tables.py --log globo --kinds full,jpq
    python benchmarks/item_tables.py --shop 20000 --sessions 200000 --epochs 5
    python benchmarks/item_tables.py --log PATH/shop --kinds full,jpq --epochs 1 --events 20000  # a million items

The last one takes the shop of `index.py`.

A kind may have its `code_values`: `--kinds full,jpq,jpq/256`. Every step has 64 x 16 events and 2,048 negatives.
Quality is Recall@20 and MRR@20 of a GRU4Rec, on a synthetic shop, on yoochoose1_64, or on the last day of an eighth of
Globo's users. Differences are to the first kind, paired by session. `--export` also writes a SavedModel and asks it.
"""

import argparse
import os
import resource
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from defaults import globo
from flat_cost import StepTimes
from reporting import write_rows

import tfrecsession as trs
from tfrecsession.batches import Sessions
from tfrecsession.sessions.item_codes import make_codes, shape_of
from tfrecsession.sessions.store import SessionArrays
from tfrecsession.sessions.vocabulary import Items

KINDS = "full,jpq,hashed,qr,bloom"
MB = 1e6


def size_and_time(kind: str, sessions: Sessions, dim: int, steps: int, base: dict, export: bool) -> dict:
    """Returns megabytes of a model's tables, and milliseconds of a step and of answers, beside those of `base`."""
    items, row = sessions.items, {"items": len(sessions.items), "dim": dim, "items_as": kind}
    start = time.perf_counter()
    name, values = parsed(kind)
    chosen = name if name == "full" else make_codes(name, items, *shape_of(name, items, dim, None, values), sessions)
    row["codes_s"] = round(time.perf_counter() - start, 1)
    keras.utils.set_random_seed(0)
    model = trs.models.GRU4Rec(items, units=[dim], items_as=chosen, negatives=trs.negatives.Popularity(2048))
    model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0))
    times = StepTimes()
    model.fit(sessions.batches(rows=64, steps=16).take(steps), epochs=1, verbose=0, callbacks=[times])
    layer = model.output_items
    vectors, codes = layer.table, model.code_state
    row |= {
        name: round(sum(map(nbytes, group)) / MB, 2) for name, group in (("vectors_MB", [vectors]), ("codes_MB", codes))
    }
    row["biases_MB"] = round(nbytes(layer.biases) / MB, 2)
    table = nbytes(vectors) + sum(map(nbytes, codes)) + nbytes(layer.biases)
    row["optimizer_MB"] = round((nbytes(vectors) + nbytes(layer.biases)) / MB, 2)
    row |= {"table_MB": round(table / MB, 2), "times_smaller": round(base.get("table_MB", table / MB) * MB / table, 1)}
    row["step_ms"] = round(float(np.median(times.milliseconds)), 2)
    row["step_ratio"] = round(row["step_ms"] / base.get("step_ms", row["step_ms"]), 2)
    if export:
        row |= exported(model, items)
    answer = tf.function(model.answer, autograph=False)
    answer = answer.get_concrete_function(tf.TensorSpec((None, 5), tf.int32), k=20)
    for count in (1, 32):
        histories = tf.constant(sessions.values[: 5 * count].reshape(count, 5))
        row[f"answer_{count}_ms"] = round(1e3 * min(seconds(answer, histories) for _ in range(8)), 1)
    row["peak_GB"] = peak()
    return row


def exported(model, items: Items) -> dict:
    """Exports a model and asks the SavedModel in this process; returns the cost, and the memory at its peak so far."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        path = model.export(f"{folder}/model/1", k=20)
        row = {"export_s": round(time.perf_counter() - start, 1)}
        files = [file for file in Path(path).rglob("*") if file.is_file()]
        row["export_MB"] = round(sum(file.stat().st_size for file in files) / MB, 1)
        answer = tf.saved_model.load(str(path)).signatures["serving_default"]
        histories = tf.constant([items.ids[:5].tolist()])
        times = [seconds(lambda rows: [answer(items=rows)["items"]], histories) for _ in range(8)]
        row["export_answer_ms"] = round(1e3 * min(times), 1)
        return row | {"export_peak_GB": peak()}


def peak() -> float:
    """Returns the gigabytes that this process had at most."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2)


def quality(kind: str, data, test: Sessions, dim: int, epochs: int, seed: int, first=None):
    """Returns the scores of a GRU4Rec on `test`, and the evaluation; `first` is that which is compared with."""
    name, values = parsed(kind)
    chosen = {"units": [dim], "items_as": name, "code_values": values, "epochs": epochs}
    settings = trs.training.settings_of("gru4rec", chosen, data=data)
    keras.utils.set_random_seed(seed)
    model = trs.training.build("gru4rec", data.items, settings)
    start = time.perf_counter()
    trs.training.fit(model, data, settings, seed=seed)
    trained = time.perf_counter() - start
    print(f"{kind}: trained in {trained:.0f} s", flush=True)
    scored = trs.evaluation.evaluate(model, test, (20,), slices=False)
    row = {"items": len(data.items), "dim": dim, "items_as": kind, "seed": seed, "train_s": round(trained, 1)}
    row["events"] = scored.events
    for name in ("recall@20", "mrr@20"):
        row[name] = round(scored.metrics[name], 4)
        if first is not None:
            found = trs.evaluation.paired(scored, first, test, name)
            low, high = found.interval
            row |= {f"{name}_difference": round(found.difference, 4)}
            row |= {f"{name}_low": round(low, 4), f"{name}_high": round(high, 4)}
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/model.keras")
        row["file_MB"] = round(Path(f"{folder}/model.keras").stat().st_size / MB, 2)
    return row, scored


def parsed(kind: str) -> tuple[str, int | None]:
    """Returns the kind of a table, and its `code_values` if they are given."""
    name, _, values = kind.partition("/")
    return name, int(values) if values else None


def nbytes(variable) -> int:
    return int(np.prod(variable.shape)) * tf.as_dtype(variable.dtype).size


def seconds(answer, histories) -> float:
    start = time.perf_counter()
    answer(histories)[0].numpy()
    return time.perf_counter() - start


def random_log(items: int, steps: int) -> Sessions:
    """Returns sessions of random items, enough for `steps` batches and at least three events an item."""
    rng = np.random.default_rng(0)
    events = max(64 * 17 * (steps + 2), 3 * items) // 17 * 17
    values = rng.integers(2, items + 2, events).astype(np.int32)
    vocabulary = Items([f"i{number}" for number in range(items)], np.bincount(values, minlength=items + 2)[2:])
    return Sessions(SessionArrays(vocabulary, values, np.arange(0, events + 1, 17)), "train", False)


def log_of(options, folder: str):
    """Returns the data set of the options."""
    if not options.log:
        return trs.synthetic_sessions(items=options.shop, sessions=options.sessions)
    if options.log == "globo":
        clicks = globo(Path(os.environ["TFRECSESSION_DATA"]))
        columns = {"session": "session", "user": "user", "item": "item", "time": "time"}
        trs.prepare(clicks, f"{folder}/data", **columns, test_span="1d", validation_span="0d")
        return trs.load(f"{folder}/data")
    if (Path(options.log) / "dataset.json").exists():
        return trs.load(options.log)
    given = f"{os.environ['TFRECSESSION_DATA']}/{options.log}"
    trs.prepare(f"{given}/train_sessions.txt", f"{folder}/data", test_input=f"{given}/test_sessions.txt")
    return trs.load(f"{folder}/data")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, help="measure size and time with so many items")
    parser.add_argument("--shop", type=int, default=2000, help="items of the synthetic shop")
    parser.add_argument("--sessions", type=int, default=20_000)
    parser.add_argument(
        "--log",
        help="globo, a prepared data set, or a folder of TFRECSESSION_DATA with {train,test}_sessions.txt",
    )
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--events", type=int, help="evaluate a sample of the test sessions with about so many events")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--kinds", default=KINDS)
    parser.add_argument("--export", action="store_true", help="with --items: export the models and ask them")
    parser.add_argument("--name", default="item_tables", help="name of the file in results/")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", ".*collapse")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        data = random_log(options.items, options.steps) if options.items else log_of(options, folder)
        if not options.items:
            test = data.test.sample(options.events) if options.events else data.test
        for seed in map(int, options.seeds.split(",")):
            first = None
            for kind in options.kinds.split(","):
                if options.items:
                    base = rows[0] if rows else {}
                    rows.append(size_and_time(kind, data, options.dim, options.steps, base, options.export))
                else:
                    row, scored = quality(kind, data, test, options.dim, options.epochs, seed, first)
                    first = first or scored
                    rows.append(row)
                print(rows[-1], flush=True)
    write_rows(options.name, rows)


if __name__ == "__main__":
    main()
