"""Time and peak memory of `tfrecsession prepare`, each log in its own process.

python benchmarks/preparing.py --sessions 100000,1000000,20700000
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from reporting import write_rows

GLOBO = ["--item", "click_article_id", "--time", "click_timestamp", "--session", "session_id", "--user", "user_id"]


def measure(source: str, *arguments: str) -> dict:
    """Runs `prepare` on a source; returns seconds, peak resident memory and events."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "data"
        command = [
            sys.executable,
            "-m",
            "tfrecsession",
            "prepare",
            source,
            "--out",
            str(out),
            "--json",
            str(out) + ".json",
        ]
        start = time.perf_counter()
        child = subprocess.Popen([*command, *arguments], stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(child.pid, 0)
        if status:
            raise SystemExit(f"prepare failed on {source}")
        seconds = time.perf_counter() - start
        info = json.loads(Path(str(out) + ".json").read_text())
    events = info["steps"][0]["events"]
    unit = 1 if sys.platform == "darwin" else 1024
    row = {"source": Path(source).name, "events": events, "seconds": round(seconds, 1)}
    return {**row, "peak_GB": round(used.ru_maxrss * unit / 1e9, 2), "events_per_s": round(events / seconds)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", default="100000,1000000", help="sizes of the synthetic logs")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--memory", default="4GB")
    options = parser.parse_args()
    rows = []
    data = os.environ.get("TFRECSESSION_DATA")
    if data:
        rows.append(measure(f"{data}/globo/clicks.parquet", *GLOBO))
        print(rows[-1], flush=True)
    else:
        print("TFRECSESSION_DATA is not set: no real log is measured")
    for sessions in options.sessions.split(","):
        spec = f"synthetic:items={options.items},sessions={sessions},seed=1,days=30"
        rows.append(measure(spec, "--memory", options.memory))
        print(rows[-1], flush=True)
    write_rows("preparing", rows)


if __name__ == "__main__":
    main()
