"""`best` on a real log within a budget: one command, every choice on validation, the test split scored once.

    TFRECSESSION_DATA=... python benchmarks/best.py --log globo --budget 40m --out DIR
    TFRECSESSION_DATA=... python benchmarks/best.py --log yoochoose1_64 --budget 60m --out DIR

globo: test is the last day, validation the day before. yoochoose1_64: its own test split; validation is the last tenth
of train. Targets that training never saw are dropped by `prepare` on Globo, and are misses on yoochoose1_64. The same
command resumes, and reads a finished search.
"""

import argparse
import json
import os
import resource
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from reporting import write_rows
from tuned import GLOBO

import tfrecsession as trs

METRICS = ("recall@20", "mrr@20")


def prepared(log: str, folder: Path, out: Path):
    if not out.exists() and log == "globo":
        trs.prepare(folder / "globo" / "clicks.parquet", out, validation_span="1d", **GLOBO)
    elif not out.exists():
        given = folder / log
        trs.prepare(given / "train_sessions.txt", out, test_input=given / "test_sessions.txt", validation_span="10%")
    return trs.load(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", choices=["globo", "yoochoose1_64"], required=True)
    parser.add_argument("--budget", default="40m")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder of the prepared data and of the search")
    options = parser.parse_args()
    if not (folder := os.environ.get("TFRECSESSION_DATA")):
        raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs its logs")
    options.out.mkdir(parents=True, exist_ok=True)
    data = prepared(options.log, Path(folder), options.out / "data")
    searched = not (options.out / "best" / "best.json").exists()
    found = trs.evaluation.best(data, options.budget, options.out / "best", seed=options.seed, progress=print)
    names = {row["key"]: row["model"] for row in found["leaderboard"]}
    row = {"model": found["model"], "members": " + ".join(names[key] for key in found["chosen"])}
    row |= scores(found["metrics"], found["intervals"]) | {"events": found["events"]}
    row |= {"seconds": round(found["seconds"]), "trials": sum(found["trials"].values()), "seed": options.seed}
    if (found["blend"] or {}).get("accepted"):
        row |= {"weights": json.dumps(found["blend"]["weights"]), "gain": round(found["blend"]["difference"], 4)}
    row |= {"answer_ms": round(found["latency_ms"], 1), "continued": " ".join(found["continued"])}
    if searched:  # else another process had the memory
        row["peak_GB"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2)
    rows = [row]
    for number, trial in enumerate(found["leaderboard"]):
        if trial["model"] not in {above["model"] for above in found["leaderboard"][:number]}:
            on_validation = {f"validation_{name}": round(trial["metrics"][name], 4) for name in METRICS}
            rows.append({"model": trial["model"], **on_validation, "seconds": round(trial["seconds"])})
    print(*rows, sep="\n")
    write_rows(f"best_{options.log}", rows)


def scores(metrics: dict, intervals: dict) -> dict:
    found = {}
    for name in METRICS:
        low, high = intervals[name]
        found |= {name: round(metrics[name], 4), f"{name}_low": round(low, 4), f"{name}_high": round(high, 4)}
    return found


if __name__ == "__main__":
    main()
