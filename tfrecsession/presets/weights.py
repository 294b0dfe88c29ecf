"""Presets with weights: a folder with a trained model, its vocabulary and its card.

DIR/preset.json       model, versions, data, training, scores, and the SHA-256 of each file below
DIR/README.md         the card of the model, made from preset.json; free to be edited
DIR/config.json, metadata.json, model.weights.h5      as Keras saves models: settings, versions, weights (HDF5)
DIR/assets/           the vocabulary, items.parquet, and further tables of some models
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path, PurePosixPath

from tfrecsession.errors import InputError
from tfrecsession.presets import hub
from tfrecsession.presets.card import card, description
from tfrecsession.staging import staged
from tfrecsession.training.run_folder import Run
from tfrecsession.version import __version__

FILE = "preset.json"
FORMAT = 1
"""Raised when an older tfrecsession could not load the folder."""
MODEL = ("config.json", "metadata.json", "model.weights.h5")  # always there


def save(model, path, *, run=None, evaluation=None, data_licence: str | None = None, overwrite: bool = False) -> Path:
    """Writes a trained model as a preset with weights: settings, vocabulary, weights, and a card. No file is a pickle.

    Args:
        model: a Recommender; the state of its optimizer is saved too, so that training can go on.
        path: the folder to create.
        run: the run folder of the model, or `training.open_run(RUN)`: the card tells its data and training. None: the
            card says that nothing is known of them.
        evaluation: scores for the card: what `evaluation.evaluate` returns, or the file of `tfrecsession evaluate RUN
            --json FILE`. None: those of the run's metrics.json, on the validation split.
        data_licence: the licence of the log that the model was trained on, or terms of its use; None: not stated.
        overwrite: replace an earlier preset.

    Returns:
        `path`.

    Raises:
        InputError: the path exists, the run or its scores belong to another model or data, or nothing can be written.

    Warns:
        UserWarning: the model was neither fitted nor loaded from a file.
    """
    import keras

    from tfrecsession.recommender.fitted import UNTRAINED, warn_unfitted

    about = description(model, run, evaluation, data_licence)
    warn_unfitted(model, UNTRAINED)
    with staged(path, marker=FILE, overwrite=overwrite) as folder:
        keras.saving.save_model(model, folder, zipped=False)
        files = {
            name: {"bytes": (folder / name).stat().st_size, "sha256": _digest(folder / name)}
            for name in sorted(_names(folder))
        }
        about = {"format": FORMAT, **about, "files": files}
        (folder / FILE).write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (folder / "README.md").write_text(card(about), encoding="utf-8")
    return Path(path)


def load(source):
    """Loads the model of a preset with weights, after a check of each file against its hash.

    Args:
        source: a folder that `save` wrote, or one of a hub: "hf://user/name", "hf://user/name@revision" (Hugging Face)
            or "kaggle://owner/model/framework/variation". Extra `hub`.

    Raises:
        InputError: there is no such preset, a file is missing or has changed, or it was made by a newer
            version. Hubs: their library or the network is missing.
    """
    import keras

    import tfrecsession.models  # registers the classes with Keras  # noqa: F401

    about = check(folder := hub.folder_of(source), shown=source)
    try:
        model = keras.saving.load_model(folder)
    except Exception as error:  # Keras' own errors say which layer or class
        made = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"{source}: cannot be loaded by tfrecsession {__version__}, keras {keras.__version__}; "
            f"made with {made}: {reason}"
        ) from error
    return model


def is_preset(source) -> bool:
    """Returns whether a path or a name is that of a preset with weights, as far as it tells without the network."""
    return hub.is_of_hub(source) or (Path(source).expanduser() / FILE).is_file()


def open_preset(source) -> PresetRun:
    """Opens a preset with weights as the run that it was written from, for what reads runs, such as `evaluate`."""
    about = check(folder := hub.folder_of(source), shown=source)
    trained = {"model": about["model"], "settings": {}, "seed": None, **about["trained"]}
    return PresetRun(folder, {**trained, "data": {"path": None, "fingerprint": about["data"].get("fingerprint")}})


class PresetRun(Run):
    """A preset with weights in the place of the run that it was written from."""

    def check(self) -> None:
        """Checks each file against its hash."""
        check(self.path)

    def model(self):
        """Loads the trained model."""
        return load(self.path)

    def data(self, path=None):
        """Loads the data set that it was trained on from `path`; InputError if the path has other data."""
        if path is not None and self.info["data"]["fingerprint"] is None:  # then the vocabulary alone is checked
            from tfrecsession.batches import load as load_data

            return load_data(path)
        return super().data(path)


def check(folder: Path, shown=None) -> dict:
    """Checks the version of a preset with weights, and each file against its hash; returns its preset.json.

    Args:
        folder: the folder.
        shown: its name in errors; None: `folder`.

    Raises:
        InputError: it is no preset, was made by a newer version, or a file is missing, has changed or was added.
    """
    shown, about = shown or folder, read_about(folder, shown)
    for name in MODEL:
        if name not in about["files"]:
            raise InputError(f"{shown}: {FILE} does not list {name}: get the folder again, or write it again")
    for name, known in about["files"].items():
        parts = PurePosixPath(name).parts
        if ".." in parts or PurePosixPath(name).is_absolute() or not name:
            raise InputError(f"{shown}: {FILE} lists {name!r}, which is outside the folder: do not use it")
        if not (folder / name).is_file():
            raise InputError(f"{shown}: {name} is missing: get the folder again, or write it again")
        if _digest(folder / name) != known.get("sha256"):
            raise InputError(f"{shown}: {name} has changed since the preset was written: get the folder again")
    for name in sorted(_names(folder) - set(about["files"])):
        if name.startswith("assets/"):  # Keras reads this folder; others, such as those of git, change nothing
            raise InputError(f"{shown}: {name} is not listed in {FILE}: remove it, or get the folder again")
    return about


def read_about(folder: Path, shown=None) -> dict:
    """Reads the preset.json of a preset with weights, without a look at the other files.

    Raises:
        InputError: there is none, it cannot be read, or a newer version made it.
    """
    shown, file = shown or folder, Path(folder) / FILE
    if not file.is_file():
        hint = "write one with model.save_to_preset(DIR), or `tfrecsession export RUN --format preset --out DIR`"
        raise InputError(f"{shown}: is not a preset with weights (no {FILE}): {hint}")
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        version = about["format"]
        if not (isinstance(about["files"], dict) and isinstance(about["versions"], dict)):
            raise TypeError("files and versions must be objects")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{shown}: {FILE} cannot be read ({error!r}): get the folder again") from None
    if version != FORMAT:
        made = about["versions"].get("tfrecsession")
        raise InputError(
            f"{shown}: has format {version!r} (tfrecsession {made}), but tfrecsession {__version__} reads format "
            f"{FORMAT}: install a newer tfrecsession"
        )
    return about


def _names(folder: Path) -> set[str]:
    """Returns the files of a folder but for preset.json and README.md, as paths from it."""
    files = {file.relative_to(folder).as_posix() for file in Path(folder).rglob("*") if file.is_file()}
    return files - {FILE, "README.md"}


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
