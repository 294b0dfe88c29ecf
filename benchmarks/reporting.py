"""Where the benchmarks write: a CSV whose first line is the command that made it; and how sure a score is."""

import csv
import shlex
import sys
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results"


def write_rows(name: str, rows: list[dict]) -> None:
    RESULTS.mkdir(exist_ok=True)
    said = ["PATH" if word.startswith("/") else word for word in sys.argv[1:]]  # a machine's own paths tell nobody more
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *said])
    with open(RESULTS / f"{name}.csv", "w", newline="") as file:
        file.write(f"# {command}\n")
        writer = csv.DictWriter(file, fieldnames=list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)


def intervals(scored, sessions, k=20, draws=1000, seed=0) -> dict[str, float]:
    """95% bootstrap intervals of Recall@k and MRR@k: whole sessions drawn anew, since events of one go together.

    Args:
        scored: an Evaluation of `sessions`.
    """
    session = np.searchsorted(sessions.offsets, scored.event, side="right") - 1
    _, session = np.unique(session, return_inverse=True)
    events = np.bincount(session)
    hit = scored.ranks <= k
    worth = {"recall": hit.astype(float), "mrr": np.where(hit, 1.0 / scored.ranks, 0.0)}
    sums = {name: np.bincount(session, values) for name, values in worth.items()}
    rng = np.random.default_rng(seed)
    found = {name: [] for name in worth}
    for _ in range(draws):
        drawn = rng.integers(0, len(events), len(events))
        for name, of_session in sums.items():
            found[name].append(of_session[drawn].sum() / events[drawn].sum())
    bounds = {name: np.quantile(values, [0.025, 0.975]) for name, values in found.items()}
    return {
        f"{name}@{k}_{side}": float(bound)
        for name, pair in bounds.items()
        for side, bound in zip(("low", "high"), pair, strict=True)
    }
