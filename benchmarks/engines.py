"""DuckDB and Spark prepare Globo's clicks: the same data set; seconds and peak memory of each.

TFRECSESSION_DATA=... python benchmarks/engines.py

Each engine runs in a process of its own. Memory is what the process and its children (Spark's JVM) held resident
together, looked at four times a second. `load` is the machine's, per core, as the run began: where it is much above 0,
others were at work too and the seconds are too many.
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
        begun = time.perf_counter()
        command = [sys.executable, "-m", "tfrecsession", "prepare", source, *out, *arguments]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        peak = 0
        while process.poll() is None:
            peak = max(peak, resident(process.pid))
            time.sleep(0.25)
        seconds = time.perf_counter() - begun
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
    """Bytes that a process and all below it hold in memory (Linux)."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        children = " ".join(task.read_text() for task in Path(f"/proc/{process}/task").glob("*/children")).split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(resident(int(child)) for child in children)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory", default="2GB", help="of either engine")
    options = parser.parse_args()
    data = os.environ.get("TFRECSESSION_DATA")
    if not data:
        raise SystemExit("TFRECSESSION_DATA is not set: it must name the folder of real data sets")
    rows = []
    for engine in ("duckdb", "spark"):
        rows.append(measure(engine, options.memory, f"{data}/globo/clicks.parquet", *GLOBO))
        print(rows[-1], flush=True)
    if len({row["fingerprint"] for row in rows}) > 1:
        raise SystemExit("the engines made different data sets")
    write_rows("engines", rows)


if __name__ == "__main__":
    main()
