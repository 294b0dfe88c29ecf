"""Cost of rules at a million items, and the trade between diversity within lists and Recall.

    python benchmarks/rules.py cost                          # quiet machine, one minute, 2 GB
    python benchmarks/rules.py trade RUN ... --out FOLDER [--methods mean mmr]   # runs of `tfrecsession train`

`cost` asks an export of a GRU4Rec of width 100 for 20 of a million items, in turn with and without four rules: a
category, a price range, a quota per brand and diversity. `more_cpu_ms` is the time on all cores together.

`trade` turns the knob of diversity for each run on events of its test split (without one, of validation). It writes
`trade.csv` and `trade.svg`: Recall@20 against the diversity of the lists, the mean of 1 - cosine over the pairs of a
list, each relative to the lists without rules.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pyarrow as pa
import tensorflow as tf
from reporting import write_rows

import tfrecsession as trs
from tfrecsession.rules import rule_texts
from tfrecsession.sessions.vocabulary import Items

K = 20
RULES = {
    "a category": {"filter": {"category": "c3"}},
    "a price range": {"filter": {"price": {"between": [10, 60]}}},
    "a quota": {"at_most": {"brand": 2}},
    "diversity": {"diversity": 0.3},
    "all four": {
        "filter": {"category": "c3", "price": {"between": [10, 60]}},
        "at_most": {"brand": 2},
        "diversity": 0.3,
    },
}
STRENGTHS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7)


def cost(size: int, width: int, repeats: int) -> list[dict]:
    """Measures one request at a time: the graph without rules, and with each set of rules, in turn."""
    random = np.random.default_rng(0)
    content = pa.table(
        {
            "category": pa.array([f"c{code}" for code in range(20)]).take(pa.array(random.integers(0, 20, size))),
            "brand": pa.array([f"b{code}" for code in range(5000)]).take(pa.array(random.integers(0, 5000, size))),
            "price": random.uniform(1, 100, size),
        }
    )
    model = trs.models.GRU4Rec(Items([str(item) for item in range(size)], np.ones(size, int), content), units=[width])
    model.fitted = True
    with tempfile.TemporaryDirectory() as folder:
        loaded = tf.saved_model.load(str(model.export(Path(folder) / "1", k=K, exclude_seen=True)))
        answer, ruled = (loaded.signatures[name] for name in ("serving_default", "recommend_with_rules"))
        items, none = tf.constant([["17", "4", "99"]]), tf.constant([[""]])
        calls = {"no rules": lambda: answer(items=items)}
        for name, rules in RULES.items():
            texts = tf.constant(rule_texts(rules, 1))
            calls[name] = lambda texts=texts: ruled(items=items, rules=texts, exclude=none, only=none)
        seconds = {name: [] for name in calls}
        for call in calls.values():
            call()
        for _ in range(repeats):
            for name, call in calls.items():
                started = time.perf_counter(), time.process_time()
                call()
                seconds[name].append((time.perf_counter() - started[0], time.process_time() - started[1]))
    rows = []
    for name, taken in seconds.items():
        more = np.median(np.subtract(taken, seconds["no rules"]), axis=0)
        milliseconds = {"median_ms": np.median(taken, axis=0)[0], "more_ms": more[0], "more_cpu_ms": more[1]}
        rows.append(
            {"items": size, "rules": name, **{key: round(1e3 * float(s), 2) for key, s in milliseconds.items()}}
        )
        print(rows[-1], flush=True)
    return rows


def trade(path: str, events: int, method: str) -> list[dict]:
    """Returns Recall@20 and the diversity of the lists of one run, by the strength of diversity."""
    run = trs.training.open_run(path)
    model, data = run.model(), run.data()
    random, histories, targets = np.random.default_rng(0), [], []
    split = next(split for split in (data.test, data.validation) if len(split))
    for session in random.permutation(len(split))[:events]:
        ids = split[int(session)]
        if len(ids) > 1:
            cut = random.integers(1, len(ids))
            histories.append(data.items.decode(ids[:cut]).tolist())
            targets.append(data.items.decode(ids[cut : cut + 1])[0])
    vectors = np.array(model.item_vectors(), np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    rows, name = [], Path(path).name
    for strength in STRENGTHS:
        rules = {"diversity": {"strength": strength, "method": method}} if strength else {}
        items = model.recommend(histories, k=K, rules=rules).items
        lists = vectors[model.items.encode(items.ravel()).reshape(items.shape)]  # (events, K, width)
        cosines = np.einsum("nid,njd->nij", lists, lists).sum(axis=(1, 2)) - K
        hits = [target in row for target, row in zip(targets, items.tolist(), strict=True)]
        row = {"run": name, "method": method, "strength": strength, "events": len(targets)}
        row |= {
            "recall": round(float(np.mean(hits)), 4),
            "diversity": round(float(1 - np.mean(cosines) / (K * (K - 1))), 4),
        }
        rows.append(row)
        print(row, flush=True)
    return rows


def chart(rows: list[dict], path: Path) -> None:
    """Draws Recall against diversity, both relative to the lists without rules, a line for each run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for name in dict.fromkeys((row["run"], row["method"]) for row in rows):
        own = [row for row in rows if (row["run"], row["method"]) == name]
        x = [100 * (row["diversity"] / own[0]["diversity"] - 1) for row in own]
        y = [100 * (row["recall"] / max(own[0]["recall"], 1e-9) - 1) for row in own]
        axes.plot(x, y, marker="o", label=" ".join(name))
        for row, *place in zip(own, x, y, strict=True):
            axes.annotate(f"{row['strength']:g}", place, textcoords="offset points", xytext=(4, 4), fontsize=7)
    axes.axhline(-1, linewidth=0.7, linestyle="--", color="grey")
    axes.axvline(20, linewidth=0.7, linestyle="--", color="grey")
    axes.set(xlabel="diversity within lists, change in %", ylabel=f"Recall@{K}, change in %")
    axes.legend()
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("cost")
    command.add_argument("--items", type=int, default=1_000_000)
    command.add_argument("--width", type=int, default=100)
    command.add_argument("--repeats", type=int, default=100)
    command = commands.add_parser("trade")
    command.add_argument("runs", nargs="+", metavar="RUN")
    command.add_argument("--out", type=Path, required=True)
    command.add_argument("--events", type=int, default=5000)
    command.add_argument("--methods", nargs="+", default=["mean"], choices=["mean", "mmr", "dpp"])
    options = parser.parse_args()
    if options.command == "cost":
        write_rows("rules", cost(options.items, options.width, options.repeats))
        return
    rows = [row for run in options.runs for method in options.methods for row in trade(run, options.events, method)]
    options.out.mkdir(parents=True, exist_ok=True)
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    (options.out / "trade.csv").write_text("\n".join(lines) + "\n")
    chart(rows, options.out / "trade.svg")


if __name__ == "__main__":
    main()
