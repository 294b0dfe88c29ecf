"""Cost of SLIST's matrix B on yoochoose1_64: whole, pruned, with a smaller inverse. Each variant has its own process.

TFRECSESSION_DATA=... python benchmarks/slist_memory.py
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from reporting import write_rows

VARIANTS = [
    {"neighbours": None},
    {"neighbours": 200},
    {"neighbours": 200, "dense_items": 5000},
    {"neighbours": 200, "dense_items": 2000},
    {"neighbours": 200, "dense_items": 500},
    {"neighbours": 200, "dense_items": 1},
    {"neighbours": 100, "dense_items": 2000},
    {"neighbours": 50, "dense_items": 2000},
    {"neighbours": 20, "dense_items": 2000},
]


def measure(folder: str, variant: dict) -> dict:
    """Measures fitting, evaluation, saving, export and recommendation."""
    import tfrecsession as trs

    data = trs.load(folder)
    assert data.train.events and data.test.events  # loads the data before timing
    model = trs.models.SLIST(data.items, alpha=0.4, **variant)
    start = time.perf_counter()
    model.fit(data.train)
    fitted = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    scored = trs.evaluation.evaluate(model, data.test)
    evaluated = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        model.save(f"{out}/model.keras")
        exported = model.export(f"{out}/1")
        sizes = os.path.getsize(f"{out}/model.keras"), sum(f.stat().st_size for f in exported.rglob("*") if f.is_file())
        answer = trs.export.ask(exported, [list(data.items.ids[5:8])])[0]
        assert answer.tolist() == model.recommend([data.items.ids[5:8]]).items.tolist()
    history = [list(data.items.ids[5:8])]
    start_recommending = time.perf_counter()
    for _ in range(20):
        model.recommend(history)
    latency = (time.perf_counter() - start_recommending) / 20
    return {
        "neighbours": variant["neighbours"] or "all",
        "dense_items": variant.get("dense_items", "all"),
        "recall@20": round(scored.metrics["recall@20"], 4),
        "mrr@20": round(scored.metrics["mrr@20"], 4),
        "fit_s": round(fitted - start, 1),
        "fit_peak_mb": peak // 1000,
        "evaluate_s": round(evaluated - fitted, 1),
        "answer_ms": round(1000 * latency, 2),
        "keras_mb": round(sizes[0] / 1e6, 1),
        "export_mb": round(sizes[1] / 1e6, 1),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one[0], json.loads(options.one[1]))))
        return
    given = os.environ.get("TFRECSESSION_DATA")
    if not given:
        raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs yoochoose1_64")
    import tfrecsession as trs

    rows = []
    with tempfile.TemporaryDirectory() as out:
        train, test = (f"{given}/yoochoose1_64/{name}_sessions.txt" for name in ("train", "test"))
        trs.prepare(train, f"{out}/data", test_input=test)
        for variant in VARIANTS:
            command = [sys.executable, Path(__file__), "--one", f"{out}/data", json.dumps(variant)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(rows[-1], flush=True)
    write_rows("slist_memory", rows)


if __name__ == "__main__":
    main()
