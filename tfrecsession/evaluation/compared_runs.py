"""The requested rows of a comparison, and its folder: all that is checked before a model is fitted.

Needs no TensorFlow, so that the command line can check its arguments before TensorFlow is imported.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING

from tfrecsession.batches.data import check_data
from tfrecsession.batches.event_weights import check_types, event_types, is_of_types
from tfrecsession.errors import InputError
from tfrecsession.recommender.arguments import check_names
from tfrecsession.staging import check_parents, differences, replace_file
from tfrecsession.training.run_folder import differing, open_run
from tfrecsession.version import __version__

if TYPE_CHECKING:
    from tfrecsession.batches import Data

MARK = "comparison.json"  # a folder that holds one is a comparison
LABEL = re.compile(r"\w[\w.+-]*")


@dataclass
class Entry:
    """One row of a comparison: a model to fit here, or a run made elsewhere."""

    label: str
    kind: str  # the model's snake-case name
    settings: dict  # all of them
    seed: int
    run: Path
    ours: bool  # whether the comparison makes the run
    defaults: dict = field(default_factory=dict)  # which settings follow the log, see `training.log_defaults`


def labelled(word: str) -> tuple[str, str]:
    """Splits a labelled name: "small=gru4rec" -> ("small", "gru4rec"); "gru4rec" -> ("gru4rec", "gru4rec")."""
    label, separator, name = word.partition("=")
    return label.strip(), name.strip() if separator else label.strip()


def requested(
    data: Data,
    models: Iterable[str],
    out: str | Path,
    chosen_settings: Callable[..., tuple[dict, dict]],
    *,
    settings: dict[str, dict] | None = None,
    runs: Iterable = (),
    k=(20,),
    seed: int = 0,
    events: Iterable[str] | None = None,
) -> list[Entry]:
    """Returns the rows that `compare` is called for, checked; the arguments are those of `compare`.

    chosen_settings: (model, given settings, data) -> all settings, those that follow the log; raises InputError for
        unknown names.

    Raises:
        InputError: an invalid model, label, setting, k or event type, a run made from other data, or no test events.
    """
    check_data(data)
    check_names("models", models)
    settings = settings or {}
    entries = [_to_fit(word, settings, seed, Path(out), chosen_settings, data) for word in models]
    entries += [_finished_run(word, data) for word in runs]
    _check(data, entries, settings, k)
    scored_events(data, events)
    return entries


def scored_events(data: Data, events: Iterable[str] | None) -> int:
    """Returns the number of test events that are scored, of these types; None: all.

    Raises:
        InputError: an event type that the test split does not have, or has only at the beginning of sessions.
    """
    if events is None:
        return data.test.scored_events
    types = event_types("events", events)
    check_types(data.test, {"events": types})
    is_target = is_of_types(data.test, types) & data.test.scored
    if not is_target.any():
        raise InputError(f"events={list(types)!r}: the test split has no such event after the first of its session")
    return int(is_target.sum())


def fits(entry: Entry, data: Data) -> bool:
    """Returns whether the run exists and has this data, settings and seed; runs made elsewhere always fit."""
    return not entry.ours or ((entry.run / "run.json").is_file() and not _differing(entry, data))


def check_kept(
    data: Data, entries: list[Entry], out: str | Path, k, overwrite: bool, events: Iterable[str] | None = None
) -> None:
    """Checks the folder of a comparison: that it can be written, and that nothing in it would be replaced.

    Raises:
        InputError: `out` is another kind of folder or holds other data, a run of another training or scores at another
            k or of other events; the message names what differs. With `overwrite` only another kind of folder is
            refused.
    """
    out = Path(out).expanduser().absolute()
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise InputError(f"{out}: exists and is not a folder: choose another name for out=")
    check_parents(out / MARK)
    if not _holds_files(out):
        return
    known = next((out / name for name in (MARK, "results.json") if (out / name).is_file()), None)
    if known is None:
        raise InputError(f"{out}: is neither empty nor a comparison (no {MARK}): choose another name for out=")
    if overwrite:
        return
    folder_data = _read(known).get("data")
    if folder_data != data.fingerprint:
        raise InputError(
            f"{out} compares models on data {folder_data}, but {data.path or 'this data set'} is "
            f"{data.fingerprint}: choose another name for out=, or start again with overwrite=True"
        )
    for entry in entries:
        if entry.ours and (entry.run / "run.json").is_file() and (differ := _differing(entry, data)):
            raise InputError(
                f"{entry.run}: holds a run that differs ({differ}): choose another name for out=, label the model "
                f"(new={entry.kind}), or start again with overwrite=True"
            )
    protocol = _read(out / "results.json").get("protocol", {})
    kept, asked = (
        "all events" if types is None else f"events {', '.join(types)}"
        for types in (protocol.get("event_types"), None if events is None else event_types("events", events))
    )
    if protocol and kept != asked:
        raise InputError(
            f"{out} reports scores of {kept}, and this comparison is of {asked}: choose another name for out=, or "
            "start again with overwrite=True"
        )
    before = protocol.get("k", [])
    if left_out := [length for length in before if length not in k]:
        raise InputError(
            f"{out} reports {differences({'k': before}, {'k': [int(length) for length in k]})}: name "
            f"{', '.join(map(str, left_out))} too, choose another name for out=, or start again with overwrite=True"
        )


def open_folder(out: Path, data: Data, overwrite: bool) -> bool:
    """Creates the folder `out`, or empties it with `overwrite`; returns whether it is new."""
    if _holds_files(out):
        if not overwrite:
            return False
        shutil.rmtree(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot write there: {error.strerror}") from None
    try:
        replace_file(out / MARK, json.dumps({"data": data.fingerprint, "tfrecsession": __version__}) + "\n")
    except InputError:
        out.rmdir()
        raise
    return True


def _to_fit(word: str, settings: dict[str, dict], seed: int, out: Path, chosen_settings, data) -> Entry:
    label, kind = labelled(word)
    chosen, defaults = chosen_settings(kind, settings.get(label, {}), data)
    chosen = json.loads(json.dumps(chosen))  # as it is read back from run.json
    return Entry(label, kind, chosen, seed, out / "runs" / label, True, defaults)


def _finished_run(word: str | Path, data: Data) -> Entry:
    label, path = labelled(str(word))
    run = open_run(path)
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
        if not isinstance(length, Integral) or not 1 <= length <= len(data.items):
            raise InputError(
                f"k={length!r}: must be a whole number from 1 to the size of the catalogue, {len(data.items):,}"
            )
    if not data.test.scored_events:
        raise InputError("the test split has no event to score: prepare the data with a longer test_span=")


def _differing(entry: Entry, data: Data) -> str:
    wanted = {"model": entry.kind, "settings": entry.settings, "seed": entry.seed, "data": data.fingerprint}
    return differing(open_run(entry.run).info, wanted)


def _holds_files(out: Path) -> bool:
    return out.is_dir() and any(out.iterdir())


def _read(file: Path) -> dict:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
