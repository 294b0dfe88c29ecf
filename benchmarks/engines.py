"""DuckDB and Spark prepare the same data set from Globo's clicks: seconds and peak memory of each.

TFRECSESSION_DATA=... python benchmarks/engines.py

Each engine runs in its own process. Memory is the resident memory of the process and its children (Spark's JVM)
together, sampled four times a second. `load` is the load per core when the run began: if it is much above 0, other work
ran on the machine and the seconds are too high.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from preparing import GLOBO
from reporting import write_rows


def measure(engine: str, memory: str, source: str, *arguments: str) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        facts = Path(folder) / "facts.json"
        out = ["--out", f"{folder}/data", "--json", str(facts), "--engine", engine, "--memory", memory]
        load = os.getloadavg()[0] / os.cpu_count()
        start = time.perf_counter()
        command = [sys.executable, "-m", "tfrecsession", "prepare", source, *out, *arguments]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        peak = 0
        while process.poll() is None:
            peak = max(peak, resident(process.pid))
            time.sleep(0.25)
        seconds = time.perf_counter() - start
        if process.returncode:
            raise SystemExit(f"prepare --engine {engine} failed")
        info = json.loads(facts.read_text())
    events = info["steps"][0]["events"]
    return {
        "engine": engine,
        "source": Path(source).name,
        "events": events,
        "fingerprint": info["fingerprint"],
        "seconds": round(seconds, 1),
        "events_per_s": round(events / seconds),
        "peak_GB": round(peak / 1e9, 2),
        "memory_option": memory,
        "cores": os.cpu_count(),
        "load": round(load, 1),
    }


def resident(process: int) -> int:
    """Returns the resident bytes of a process and all its descendants (Linux)."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        children = " ".join(task.read_text() for task in Path(f"/proc/{process}/task").glob("*/children")).split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(resident(int(child)) for child in children)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory", default="2GB", help="memory limit of each engine")
    options = parser.parse_args()
    data = os.environ.get("TFRECSESSION_DATA")
    if not data:
        raise SystemExit("TFRECSESSION_DATA is not set: must be the folder of the real data sets")
    rows = []
    for engine in ("duckdb", "spark"):
        rows.append(measure(engine, options.memory, f"{data}/globo/clicks.parquet", *GLOBO))
        print(rows[-1], flush=True)
    if len({row["fingerprint"] for row in rows}) > 1:
        raise SystemExit("the engines made different data sets")
    write_rows("engines", rows)


if __name__ == "__main__":
    main()
