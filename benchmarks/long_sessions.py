"""Memory and time of fit and evaluation by the length of the longest session, a process for each measurement.

A log of 400 sessions of 4 events, and one long session each in train and in test, as a bot leaves them.

python benchmarks/long_sessions.py [--events 1000,4000,16000,60000] [--models session_aggregation,slist,...]
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from reporting import write_rows

MODELS = "session_aggregation,slist,vsknn,gru4rec,narm"
EVENTS = "1000,4000,16000,60000"
LIMIT_BYTES = 6 << 30  # of a measurement; what needs more fails
LIMIT_SECONDS = 1200
ITEMS = 40
START, DAY = 1_661_724_000_278, 86_400_000  # milliseconds


def write_log(path: str, events: int) -> None:
    """Writes the log: ten days of short sessions, and a session of `events` events on the first and the last day."""
    random, lines = np.random.default_rng(0), ["session,user,item,time"]
    for session in range(400):
        at = START + session * DAY // 40
        for item in random.integers(0, ITEMS, 4):
            lines.append(f"{session},{session % 50},{item},{at}")
            at += int(random.integers(5_000, 60_000))
    for bot, at in (("bot1", START), ("bot2", START + 39 * DAY // 4)):
        lines += [f"{bot},{bot},{k % ITEMS},{at + k * 500}" for k in range(events)]
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")


def measure(folder: str, name: str) -> None:
    """Fits and evaluates a model with its default settings, and prints a JSON object after each of the two."""
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT_BYTES, LIMIT_BYTES))
    import keras

    import tfrecsession as trs

    keras.utils.set_random_seed(0)
    data = trs.load(folder)
    model = trs.training.build(name, data.items, chosen := trs.training.settings_of(name, _epochs(trs, name)), [20])
    start = time.perf_counter()
    trs.training.fit(model, data, chosen, 0)
    fitted = time.perf_counter()
    print(json.dumps({"fit_s": round(fitted - start, 1), "fit_peak_mb": peak_mb()}), flush=True)
    scored = trs.evaluation.evaluate(model, data.test, (20,), beyond_accuracy=True)
    took = round(time.perf_counter() - fitted, 1)
    metrics = {name: round(scored.metrics[name], 6) for name in ("recall@20", "mrr@20")}
    print(json.dumps({"evaluate_s": took, "evaluate_peak_mb": peak_mb(), **metrics}), flush=True)


def _epochs(trs, name: str) -> dict:
    return {"epochs": 1} if "epochs" in trs.training.settings_of(name) else {}


def peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", default=EVENTS, help=f"lengths of the long sessions (default: {EVENTS})")
    parser.add_argument("--models", default=MODELS, help=f"default: {MODELS}")
    parser.add_argument("--out", default="long_sessions", help="name of the file in results/")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure(*options.one)
        return
    import tfrecsession as trs

    rows = []
    with tempfile.TemporaryDirectory() as out:
        for events in map(int, options.events.split(",")):
            write_log(f"{out}/log.csv", events)
            trs.prepare(f"{out}/log.csv", f"{out}/{events}")
            for name in options.models.split(","):
                rows.append({"model": name, "events": events, **in_a_process(f"{out}/{events}", name)})
                print(rows[-1], flush=True)
                write_rows(options.out, rows)


def in_a_process(folder: str, name: str) -> dict:
    command = [sys.executable, __file__, "--one", folder, name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    found = {"fit_s": "", "fit_peak_mb": "", "evaluate_s": "", "evaluate_peak_mb": "", "recall@20": "", "mrr@20": ""}
    try:
        printed, errors = process.communicate(timeout=LIMIT_SECONDS)
        failed = f"failed: {(errors.strip().splitlines() or [''])[-1][:80]}" if process.returncode else ""
    except subprocess.TimeoutExpired:
        process.kill()
        printed, _ = process.communicate()
        failed = f"stopped after {LIMIT_SECONDS} s"
    for line in printed.splitlines():
        found |= json.loads(line)
    return {**found, "result": failed or "ok"}


if __name__ == "__main__":
    main()
