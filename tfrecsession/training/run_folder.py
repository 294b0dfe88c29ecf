"""Finished runs, as `training.run` writes them. Needs TensorFlow only to load a model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten, wrap
from typing import TYPE_CHECKING

from tfrecsession.errors import InputError
from tfrecsession.staging import differences

if TYPE_CHECKING:
    from tfrecsession.batches import Data
    from tfrecsession.models import Recommender


@dataclass(repr=False)
class Run:
    """A finished run."""

    path: Path
    info: dict  # the content of run.json

    def __repr__(self) -> str:
        info = self.info
        settings = ", ".join(f"{name}={value!r}" for name, value in info["settings"].items() if value is not None)
        lines = [
            f"<run {shorten(str(self.path), 60, placeholder='...')}: {info['model']}, seed {info['seed']}",
            f"  data {info['data']['fingerprint']}, {info.get('events', 0):,} events in {info.get('seconds', 0):.1f} s",
            *wrap(settings, 88, max_lines=7, initial_indent="  ", subsequent_indent="  "),
        ]
        return "\n".join(lines) + ">"

    def check(self) -> None:
        """Raises InputError if the file of the trained model is missing."""
        if not (self.path / "model.keras").is_file():
            raise InputError(f"{self.path}: is incomplete, it has no model.keras: train it again with overwrite=True")

    def model(self) -> Recommender:
        """Loads the trained model."""
        self.check()
        import keras

        import tfrecsession.models  # registers the classes with Keras  # noqa: F401

        return keras.models.load_model(self.path / "model.keras")

    def data(self, path: str | Path | None = None) -> Data:
        """Loads the data it was trained on, from the recorded path or from `path`.

        Raises:
            InputError: the path has other data.
        """
        from tfrecsession.batches import load

        trained_on = self.info["data"]
        if path is None and trained_on["path"] is None:
            message = f"{self.path} was trained on data held in memory: name its folder with "
            raise InputError(f"{message}data(DIR)", command_line=f"{message}--data DIR")
        data = load(path or trained_on["path"])
        if data.fingerprint != trained_on["fingerprint"]:
            message = (
                f"{self.path} was trained on data {trained_on['fingerprint']}, but {data.path} is {data.fingerprint}: "
                "name the right folder with"
            )
            raise InputError(f"{message} data(DIR), or train again", f"{message} --data DIR, or train again")
        return data


def open_run(path: str | Path) -> Run:
    """Opens a run folder; raises InputError if `path` is none."""
    path = Path(path)
    file = path / "run.json"
    if not file.is_file():
        raise InputError(f"{path} is not a run folder (no run.json): {_how_to_make(path)}")
    try:
        info = json.loads(file.read_text(encoding="utf-8"))
        missing = [name for name in ("model", "settings", "seed", "data") if name not in info]
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read ({error}): train it again with overwrite=True") from None
    if missing:
        raise InputError(f"{file}: has no {missing[0]}: train it again with overwrite=True")
    return Run(path, info)


def opened_runs(data: Data, runs, made: str) -> list[Run]:
    """Opens runs of one data set, for a `made`, such as "blend"; InputError where one is missing or of other data."""
    opened = [open_run(path) for path in runs]
    for run in opened:
        run.check()
        if run.info["data"]["fingerprint"] != data.fingerprint:
            raise InputError(
                f"{run.path}: was made from data {run.info['data']['fingerprint']}, but {data.path or 'this data set'} "
                f"is {data.fingerprint}: a {made} has runs of one data set"
            )
    return opened


def check_other_run(out: str | Path, wanted: dict, overwrite: bool) -> None:
    """Refuses to replace a finished run, by what differs: `wanted` has the same names as run.json.

    Raises:
        InputError: there is a run, and `overwrite` is not set.
    """
    out = Path(out).expanduser()
    if overwrite or not (out / "run.json").is_file():
        return
    differ = differing(open_run(out).info, wanted)
    held = f"holds a run that differs ({differ})" if differ else "exists already, a run of the same settings"
    raise InputError(f"{out}: {held}: choose another name, or replace it with overwrite=True")


def differing(info: dict, wanted: dict) -> str:
    """Describes how a run differs from `wanted`; "" if it does not.

    Args:
        info: the content of run.json.
        wanted: {"model", "settings", "seed", "data": fingerprint}.
    """
    held = {**{name: info[name] for name in wanted}, "data": info["data"]["fingerprint"]}
    if held["model"] != wanted["model"]:  # then the settings have other names
        held, wanted = ({name: side[name] for name in side if name != "settings"} for side in (held, wanted))
    return differences(held, wanted)


def _how_to_make(path: Path) -> str:
    """Says how to get a run, from what there is at `path`."""
    if runs := sorted(str(run.parent) for run in path.glob("runs/*/run.json")):
        return f"it is a comparison, name one of its runs: {', '.join(runs)}"
    if (path / "saved_model.pb").is_file() or any(path.glob("*/saved_model.pb")):
        return "it is an export, name the run that it was made from"
    if (path / "dataset.json").is_file():
        return f"it is a data set, train on it with `tfrecsession train {path} --model NAME --out RUN`"
    if runs := sorted(str(run.parent) for run in path.glob("*/run.json")):
        return f"name one of the runs in it: {', '.join(runs)}"
    return f"make one with `tfrecsession train DATA --out {path}`"
