"""Run folders that are made of other runs: scores and files that blends and pipelines share."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tfrecsession import metrics
from tfrecsession.batches import Data
from tfrecsession.training.run import versions


def scored(model, data: Data, k, progress) -> dict[str, float]:
    """Compiles a model with the metrics of the lengths `k`, and returns them on validation; {} without validation."""
    model.compile(metrics=[of(length) for length in k for of in (metrics.Recall, metrics.MRR, metrics.NDCG)])
    if not data.validation.scored_events:
        return {}
    progress("scoring validation")
    found = model.evaluate(data.validation, verbose=0, return_dict=True)
    return {name: float(value) for name, value in found.items() if "@" in name}


def write_files(folder: Path, data: Data, info: dict, measured: dict, history: dict | None = None) -> None:
    """Writes run.json, metrics.json and history.json.

    Args:
        folder: the run folder.
        data: the data set of the runs.
        info: `model`, `settings`, `seed`, `seconds`, `memory`, and the entries of this kind of run.
        measured: the metrics on validation.
        history: the losses by epoch.
    """
    info = {
        **info,
        "defaults": {},
        "data": {"path": data.path and os.path.abspath(data.path), "fingerprint": data.fingerprint},
        "versions": versions(),
        "workers": 1,
        "events": data.train.scored_events,
    }
    scores = {"model": info["model"], "data": data.fingerprint, "split": "validation", "metrics": measured}
    for name, content in (("run.json", info), ("metrics.json", scores), ("history.json", history or {})):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
