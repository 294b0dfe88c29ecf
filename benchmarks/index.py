"""Cost and recall of the indexes of an export, for a million items with trained vectors.

    python benchmarks/index.py --folder PATH

The folder is filled once: a synthetic shop of a million items in ten thousand categories (4 million sessions), a
GRU4Rec of width 100 trained on it for an epoch (23 minutes on two busy cores), and an export with every index. The
export measures its recall and, for ScaNN, chooses its settings.

Then the exports are measured in turn, in one process. The time of a single request (strings in, strings out) is
compared with reading the float32 table once from memory, a lower bound for exact answers. Recall is against the exact
answers, on histories not used to choose settings. The open loop (`load.py`, in this process) gives latencies at 100
requests/s and the rate held with 90% of the requests answered within 50 ms. Needs the extra
`scann`, unless `--kinds` leaves it out.
"""

import argparse
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # for TensorFlow Recommenders
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from load import Load, undisturbed
from reporting import write_rows

import tfrecsession as trs
from tfrecsession.export.index import share_of
from tfrecsession.export.make_index import KINDS
from tfrecsession.export.scann_ops import load_scann_ops

UNITS, K = 100, 20
CHOOSING = 1000  # histories for the export; the later ones are for requests
MOST_P90 = 50.0  # ms


def train(folder: Path, items: int, sessions: int) -> None:
    """Creates `model.keras` and `histories.json` in the folder if they are missing."""
    if (folder / "model.keras").exists():
        return
    if not (folder / "shop" / "dataset.json").exists():
        shop = f"synthetic:items={items},sessions={sessions},seed=1,zipf=0.5,late=0"
        trs.prepare(shop, folder / "shop", min_item_support=1, test_span="1%", validation_span="0d", overwrite=True)
    data = trs.load(folder / "shop")
    (folder / "histories.json").write_text(json.dumps(data.test.beginnings(5000)))
    keras.utils.set_random_seed(1)
    model = trs.models.GRU4Rec(data.items, units=[UNITS], negatives=trs.negatives.Popularity(2048, alpha=0.5))
    model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0), [trs.metrics.Recall(20)])
    model.fit(data.train.batches(rows=64, steps=20, seed=1), epochs=1, verbose=0, callbacks=[trs.training.Progress()])
    model.save(folder / "model.keras")


def export(folder: Path, kinds, histories) -> None:
    """Creates a missing export in the folder for every index."""
    model = None
    for kind in kinds:
        path = folder / "exports" / kind / "1"
        if not path.exists():
            model = model or keras.saving.load_model(folder / "model.keras")
            began = time.perf_counter()
            model.export(path, k=K, index=kind, histories=histories)
            (path.parent / "seconds").write_text(f"{time.perf_counter() - began:.0f}")
            print(kind, f"exported in {time.perf_counter() - began:.0f} s", flush=True)


class Export:
    """A loaded export."""

    def __init__(self, path: Path):
        self.loaded = tf.saved_model.load(str(path))  # kept, as its tables live only as long as it does
        self.signature = self.loaded.signatures["serving_default"]
        self.card = json.loads((path / "assets.extra" / "tfrecsession.json").read_text())
        self.megabytes = sum(file.stat().st_size for file in (path / "variables").iterdir()) / 2**20
        self.seconds = int((path.parent / "seconds").read_text())

    def ask(self, histories):
        longest = max(map(len, histories))
        rows = tf.constant([[*history, *[""] * (longest - len(history))] for history in histories])
        answer = self.signature(items=rows)
        return answer["items"].numpy(), answer["scores"].numpy()


def single(exports, histories, size: int, requests: int) -> tuple[dict, list[float]]:
    """Measures milliseconds of single requests by export, and of reading the table, all in turn."""
    table = tf.Variable(tf.random.normal((size, UNITS)))
    read = tf.function(lambda: tf.reduce_max(table))
    times, reading = {kind: [] for kind in exports}, []
    for number in range(-20, requests):
        for kind, call in [("read", read), *((kind, loaded.ask) for kind, loaded in exports.items())]:
            history = [histories[number % len(histories)]]
            began = time.perf_counter()
            call() if kind == "read" else call(history)
            if number >= 0:  # earlier calls warm up
                (reading if kind == "read" else times[kind]).append(1000 * (time.perf_counter() - began))
    return times, reading


def recall_of(exports, histories) -> dict[str, float]:
    """Returns recall against the exact answers, after mapping names to numbers."""
    lists = {
        kind: [loaded.ask(histories[i : i + 16])[0] for i in range(0, len(histories), 16)]
        for kind, loaded in exports.items()
    }
    lists = {kind: np.concatenate(parts) for kind, parts in lists.items()}
    _, numbers = np.unique(np.concatenate([*lists.values()]), return_inverse=True)
    numbered = dict(zip(lists, np.split(numbers.reshape(-1, K) + 2, len(lists)), strict=True))
    return {kind: share_of(numbered["exact"], of_kind) for kind, of_kind in numbered.items()}


def under_load(export: Export, histories, rate: float, seconds: float) -> dict:
    """Returns the report of the open loop at a rate, with one request at a time per core."""
    return undisturbed(lambda: under_load_once(export, histories, rate, seconds))


def under_load_once(export: Export, histories, rate: float, seconds: float) -> dict:
    load = Load("rest", "", "", [json.dumps(history) for history in histories], rate, seconds)

    def answer(number, body):
        export.ask([json.loads(body)])
        load.answered(number, b"")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        report = load.run(lambda number, body: pool.submit(answer, number, body))
        pool.shutdown(cancel_futures=True)
    return report


def rate_held(export: Export, histories, seconds: float) -> float:
    """Finds the highest rate at which 90% of the requests are answered within 50 ms, by bisection, to 10%.

    Each rate has two tries, as a hiccup may be the machine's fault.
    """
    low, high, rate = 0.0, np.inf, 20.0
    while high / max(low, 1) > 1.1 and rate >= 1:
        reports = (under_load(export, histories, rate, seconds) for _ in range(2))
        held = any(report["p90_ms"] < MOST_P90 and not report["errors"] for report in reports)
        low, high = (rate, high) if held else (low, rate)
        rate = (low * high) ** 0.5 if low and high < np.inf else 2 * low if low else high / 2
    return low


def main(options) -> None:
    options.folder.mkdir(parents=True, exist_ok=True)
    train(options.folder, options.items, options.sessions)
    histories = json.loads((options.folder / "histories.json").read_text())
    export(options.folder, options.kinds, histories[:CHOOSING])
    histories = histories[CHOOSING:] or histories
    if "scann" in options.kinds:
        load_scann_ops("scann")
    exports = {kind: Export(options.folder / "exports" / kind / "1") for kind in options.kinds}
    size = exports["exact"].card["items"] + 2
    busy = round(os.getloadavg()[0], 1)
    times, reading = single(exports, histories, size, options.requests)
    shares = recall_of(exports, histories[:500])
    rows = []
    for kind, loaded in exports.items():
        p50, limit = float(np.median(times[kind])), float(np.median(reading))
        row = {
            "index": kind,
            "items": size - 2,
            "width": UNITS,
            "read_ms": round(limit, 2),
            "p50_ms": round(p50, 2),
            "p90_ms": round(float(np.quantile(times[kind], 0.9)), 2),
            "p50_of_read": round(p50 / limit, 2),
            f"recall@{K}": round(shares[kind], 4),
            "export_mb": round(loaded.megabytes),
            "export_s": loaded.seconds,
        }
        report = under_load(loaded, histories, 100, options.seconds)
        row |= {f"{name}_at_100_per_s": report[name] for name in ("p50_ms", "p90_ms", "p99_ms", "errors", "stolen_cpu")}
        row["held_per_s_at_p90_50_ms"] = round(rate_held(loaded, histories, options.seconds / 3))
        row |= {"load_average": busy, "settings": json.dumps(loaded.card.get("index_settings", {}))}
        rows.append(row)
        print(row, flush=True)
    write_rows(options.name, rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--sessions", type=int, default=4_000_000)
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=list(KINDS), help="must include exact")
    parser.add_argument("--requests", type=int, default=200, help="number of single requests for every index")
    parser.add_argument("--name", default="index", help="name of the file in results/")
    parser.add_argument("--seconds", type=float, default=30.0, help="duration of the load at 100 requests/s")
    main(parser.parse_args())
