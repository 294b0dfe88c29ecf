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
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from tfrecsession import training
from tfrecsession.batches import Data
from tfrecsession.errors import InputError
from tfrecsession.evaluation.best_model_tests import against_the_best
from tfrecsession.evaluation.bounds import ceiling, chance
from tfrecsession.evaluation.compared_model import Entry, finished, row_of, warm_up
from tfrecsession.evaluation.measures import Evaluation
from tfrecsession.evaluation.protocol import dataset, headline, protocol
from tfrecsession.evaluation.report import write_report
from tfrecsession.staging import replace_file
from tfrecsession.version import __version__

MARK = "comparison.json"  # a folder that holds one is a comparison
LABEL = re.compile(r"\w[\w.+-]*")


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
    overwrite: bool = False,
    progress: Callable[..., None] = nothing,
) -> dict:
    """Fits and evaluates models on one data set, and writes `results.json` and `report.html`.

    Results that an earlier call with the same `out` finished are reused. A model is fitted again only if its settings
    or seed have changed.

        trs.evaluation.compare(data, ["popularity", "item_knn", "gru4rec"], "report/", k=(5, 10, 20))

    Args:
        data: a prepared data set; its test split is scored.
        models: names of models; "small=gru4rec" labels a row, so that one model can have several rows.
        out: the folder to create or resume.
        settings: label -> settings that differ from the model's defaults, which follow the log.
        runs: finished run folders to include, or "label=folder".
        k: list lengths to report.
        seed: seed of every fit.
        overwrite: delete earlier results and start again.
        progress: called as `progress(label, stage, done)`, with stage "waiting", "fitting", "evaluating", "timing" or
            "done" and `done` from 0 to 1, or None if unknown.

    Returns:
        The content of `results.json`.

    Raises:
        InputError: an invalid model, label, setting or k; a run or folder made from other data.
    """
    out, k = Path(out).expanduser().absolute(), tuple(dict.fromkeys(k))
    entries = [_to_fit(word, settings or {}, seed, out, data) for word in models]
    entries += [_finished_run(word, data) for word in runs]
    _check(data, entries, settings or {}, k)
    fresh = _open_folder(out, data, overwrite)
    try:
        for entry in entries:
            progress(entry.label, "waiting", 0.0)
        if not all(finished(entry, data, out, k) for entry in entries):
            warm_up(data, k)
        rows = {entry.label: row_of(entry, data, out, k, progress) for entry in entries}
    except BaseException:
        if fresh and not any(out.glob("*/*")):
            shutil.rmtree(out)  # no run was finished, so there is nothing to resume
        raise
    results = _results(data, rows, k, seed)
    replace_file(out / "results.json", json.dumps(results, indent=2, ensure_ascii=False, default=float) + "\n")
    write_report(results, out / "report.html")
    return results


# Requested rows ------------------------------------------------------------------------------------------------------


def labelled(word: str) -> tuple[str, str]:
    """Splits a labelled name: "small=gru4rec" -> ("small", "gru4rec"); "gru4rec" -> ("gru4rec", "gru4rec")."""
    label, separator, name = word.partition("=")
    return label.strip(), name.strip() if separator else label.strip()


def _to_fit(word: str, settings: dict[str, dict], seed: int, out: Path, data: Data) -> Entry:
    label, kind = labelled(word)
    given = settings.get(label, {})
    chosen, defaults = training.settings_of(kind, given, data=data), training.log_defaults(kind, data, given)
    return Entry(label, kind, _plain(chosen), seed, out / "runs" / label, True, defaults)


def _finished_run(word: str | Path, data: Data) -> Entry:
    label, path = labelled(str(word))
    run = training.open_run(path)
    label = run.path.resolve().name if label == path else label
    run_data = run.info["data"]["fingerprint"]
    if run_data != data.fingerprint:
        raise InputError(
            f"run {run.path} was made from data {run_data}, but {data.path or 'this data set'} is {data.fingerprint}: "
            "runs can be compared only on the data they were made from"
        )
    return Entry(label, run.info["model"], run.info["settings"], run.info["seed"], run.path, False)


def _check(data: Data, entries: list[Entry], settings: dict, k) -> None:
    """Refuses invalid input before hours are spent."""
    if not entries:
        raise InputError("nothing to compare: pass models (popularity,item_knn,gru4rec) or runs")
    labels = [entry.label for entry in entries]
    for label in labels:
        if not LABEL.fullmatch(label):
            raise InputError(f"label {label!r}: must consist of letters, digits, _ . + and -, as it names a folder")
        if labels.count(label) > 1:
            raise InputError(f"{label} is listed twice: label one of them, as in small={label}")
    for label in settings:
        if label not in labels:
            raise InputError(f"settings for {label!r}, which is not compared: must be one of {', '.join(labels)}")
    if not k:
        raise InputError("k=(): must hold at least one list length, e.g. k=(5, 10, 20)")
    for length in k:
        if not isinstance(length, int | np.integer) or not 1 <= length <= len(data.items):
            raise InputError(
                f"k={length!r}: must be a whole number from 1 to the size of the catalogue, {len(data.items):,}"
            )
    if not data.test.scored_events:
        raise InputError("the test split has no event to score: prepare the data with a longer test_span=")


def _open_folder(out: Path, data: Data, overwrite: bool) -> bool:
    """Prepares the folder `out`; returns whether it is new."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise InputError(f"{out}: exists and is not a folder: choose another name for out=")
    if out.exists() and any(out.iterdir()):
        known = next((out / name for name in (MARK, "results.json") if (out / name).is_file()), None)
        if known is None:
            raise InputError(f"{out}: is neither empty nor a comparison (no {MARK}): choose another name for out=")
        folder_data = json.loads(known.read_text()).get("data")
        if not overwrite:
            if folder_data != data.fingerprint:
                raise InputError(
                    f"{out} compares models on data {folder_data}, but {data.path or 'this data set'} is "
                    f"{data.fingerprint}: choose another name for out=, or start again with overwrite=True"
                )
            return False
        shutil.rmtree(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot write there: {error.strerror}") from None
    replace_file(out / MARK, json.dumps({"data": data.fingerprint, "tfrecsession": __version__}) + "\n")
    return True


# All rows ------------------------------------------------------------------------------------------------------------


def _results(data: Data, rows: dict[str, tuple[dict, Evaluation]], k, seed: int) -> dict:
    bounds = [{"model": "chance", **_scores(chance(len(data.items), data.test.scored_events, k))}]
    if data.info.get("shop"):
        bounds.append({"model": "ceiling", **_scores(ceiling(data.info["shop"], data.test, k))})
    versions = {"tfrecsession": __version__, "keras": keras.__version__, "numpy": np.__version__}
    return {
        "data": data.fingerprint,
        "seed": seed,
        "models": [row for row, _ in rows.values()],
        "bounds": bounds,
        "pairs": against_the_best({label: scored for label, (_, scored) in rows.items()}, data.test, headline(k)),
        "protocol": protocol(data, k),
        "dataset": dataset(data),
        "versions": versions,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _scores(scored: Evaluation) -> dict:
    kept = {"metrics": scored.metrics, "events": scored.events, "seconds": round(scored.seconds, 3)}
    return {**kept, "intervals": scored.intervals, "slices": scored.slices}


def _plain(settings: dict) -> dict:
    """Returns settings as they are read back from JSON, so that they can be compared with stored ones."""
    return json.loads(json.dumps(settings))
