"""Where the benchmarks write: a CSV whose first line is the command that made it."""

import csv
import shlex
import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def write_rows(name: str, rows: list[dict]) -> None:
    RESULTS.mkdir(exist_ok=True)
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    with open(RESULTS / f"{name}.csv", "w", newline="") as file:
        file.write(f"# {command}\n")
        writer = csv.DictWriter(file, fieldnames=list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)
