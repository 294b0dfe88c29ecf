"""Comparison of several models on one data set under one protocol; an interrupted comparison resumes where it stopped.

OUT/comparison.json   the data that the folder belongs to; written first
OUT/runs/LABEL/       the run of each model that was fitted here, as `tfrecsession train` makes it
OUT/scores/LABEL/     result.json: scores and costs; ranks.npz: the rank of every event
OUT/results.json      all results, machine-readable; written at the end
OUT/report.html       all results as a page, made from results.json alone
"""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import keras
import numpy as np

from tfrecsession.batches import Data
from tfrecsession.batches.event_weights import event_types
from tfrecsession.evaluation.best_model_tests import against_the_best
from tfrecsession.evaluation.bounds import ceiling, chance
from tfrecsession.evaluation.compared_model import finished, row_of, warm_up
from tfrecsession.evaluation.compared_runs import check_kept, open_folder, requested, scored_events
from tfrecsession.evaluation.measures import Evaluation
from tfrecsession.evaluation.protocol import dataset, headline, protocol
from tfrecsession.evaluation.report import write_report
from tfrecsession.staging import one_line, replace_file
from tfrecsession.training.recipe import chosen_settings
from tfrecsession.version import __version__


def nothing(label: str, stage: str, done: float | None = None) -> None:
    """Ignores progress."""


def compare(
    data: Data,
    models,
    out: str | Path,
    *,
    settings: dict[str, dict] | None = None,
    runs=(),
    k=(20,),
    seed: int = 0,
    events: Iterable[str] | None = None,
    overwrite: bool = False,
    progress: Callable[..., None] = nothing,
) -> dict:
    """Fits and evaluates models on one data set, and writes `results.json` and `report.html`.

    Results that an earlier call with the same `out` finished are reused, and further models are added to them. A run
    with other settings or another seed is refused, and so is leaving out a k; nothing is replaced without `overwrite`.

        trs.evaluation.compare(data, ["popularity", "item_knn", "gru4rec"], "report/", k=(5, 10, 20))

    Args:
        data: a prepared data set; its test split is scored.
        models: names of models; "small=gru4rec" labels a row, so that one model can have several rows.
        out: the folder to create or resume.
        settings: label -> settings that differ from the model's defaults, which follow the log.
        runs: finished run folders to include, or "label=folder".
        k: list lengths to report.
        seed: seed of every fit.
        events: event types, such as ["purchase"]: only events of these are scored, see `evaluate`. None: all.
        overwrite: delete earlier results and start again.
        progress: called as `progress(label, stage, done)`, with stage "waiting", "fitting", "evaluating", "timing" or
            "done" and `done` from 0 to 1, or None if unknown.

    Returns:
        The content of `results.json`.

    Raises:
        InputError: an invalid model, label, setting or k; a run or folder made from other data; a run that would be
            replaced (the message names what differs); the folder cannot be written, or the disk is full.
    """
    out, k = Path(out).expanduser().absolute(), tuple(dict.fromkeys(k))
    entries = requested(data, models, out, chosen_settings, settings=settings, runs=runs, k=k, seed=seed, events=events)
    check_kept(data, entries, out, k, overwrite, events)
    events = None if events is None else list(event_types("events", events))
    fresh = open_folder(out, data, overwrite)
    try:
        for entry in entries:
            progress(entry.label, "waiting", 0.0)
        with one_line(out):
            if not all(finished(entry, data, out, k, events) for entry in entries):
                warm_up(data, k)
            rows = {entry.label: row_of(entry, data, out, k, progress, events) for entry in entries}
    except BaseException:
        if fresh and not any(out.glob("*/*")):
            shutil.rmtree(out)  # no run was finished, so there is nothing to resume
        raise
    results = _results(data, rows, k, seed, events)
    replace_file(out / "results.json", json.dumps(results, indent=2, ensure_ascii=False, default=float) + "\n")
    write_report(results, out / "report.html")
    return results


# All rows ------------------------------------------------------------------------------------------------------------


def _results(data: Data, rows: dict[str, tuple[dict, Evaluation]], k, seed: int, events: list[str] | None) -> dict:
    bounds = [{"model": "chance", **_scores(chance(len(data.items), scored_events(data, events), k))}]
    if data.info.get("shop") and events is None:  # the ceiling is that of all events
        bounds.append({"model": "ceiling", **_scores(ceiling(data.info["shop"], data.test, k))})
    versions = {"tfrecsession": __version__, "keras": keras.__version__, "numpy": np.__version__}
    return {
        "data": data.fingerprint,
        "seed": seed,
        "models": [row for row, _ in rows.values()],
        "bounds": bounds,
        "pairs": against_the_best({label: scored for label, (_, scored) in rows.items()}, data.test, headline(k)),
        "protocol": protocol(data, k, events=events),
        "dataset": dataset(data),
        "versions": versions,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _scores(scored: Evaluation) -> dict:
    kept = {"metrics": scored.metrics, "events": scored.events, "seconds": round(scored.seconds, 3)}
    return {**kept, "intervals": scored.intervals, "slices": scored.slices}
