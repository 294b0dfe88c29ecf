"""Writing of benchmark results: a CSV file whose first line is the command that made it."""

import csv
import shlex
import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def write_rows(name: str, rows: list[dict]) -> None:
    RESULTS.mkdir(exist_ok=True)
    arguments = ["PATH" if word.startswith("/") else word for word in sys.argv[1:]]  # no local paths in results
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *arguments])
    with open(RESULTS / f"{name}.csv", "w", newline="") as file:
        file.write(f"# {command}\n")
        writer = csv.DictWriter(file, fieldnames=list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)


def rounded(row: dict, precise: tuple[str, ...]) -> dict:
    """Rounds the floats of a row: to 4 digits in columns whose names start with one of `precise`, to 1 in others."""
    return {
        name: round(value, 4 if name.startswith(precise) else 1) if isinstance(value, float) else value
        for name, value in row.items()
    }


def intervals(scored, names=("recall@20", "mrr@20")) -> dict[str, float]:
    """Returns the 95% intervals of an Evaluation, as columns of a row."""
    return {
        f"{name}_{side}": bound
        for name in names
        for side, bound in zip(("low", "high"), scored.intervals[name], strict=True)
    }
