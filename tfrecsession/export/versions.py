"""The versions of an exported model on disk. Needs no TensorFlow."""

from __future__ import annotations

import json
from pathlib import Path

from tfrecsession.errors import InputError

CARD = Path("assets.extra") / "tfrecsession.json"  # what an export of this package says of itself
CONTENT_MODEL = Path("assets.extra") / "model.keras"  # what gives new items their vectors
VOCABULARY = Path("assets") / "vocabulary.txt"  # its items, one a line


def newest_version(path: str | Path) -> Path:
    """Returns `path` if it is a SavedModel, else the highest numbered version in this folder.

    Raises:
        InputError: there is no SavedModel.
    """
    path = Path(path)
    if (path / "saved_model.pb").is_file():
        return path
    versions = [folder for folder in path.glob("*") if folder.name.isdigit() and (folder / "saved_model.pb").is_file()]
    if not versions:
        raise InputError(f"{path}: has no SavedModel; {_how_to_make(path)}")
    return max(versions, key=lambda folder: int(folder.name))


def read_card(version: Path) -> dict:
    """Returns the description in an export of this package; {} for another SavedModel."""
    try:
        return json.loads((version / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def check_adds_items(version: Path) -> None:
    """Raises InputError unless items can be added to this version of an export."""
    if not (version / CONTENT_MODEL).is_file():
        raise InputError(
            f"{version}: its model reads no content, so new items have no vectors; train with content=[...], export, "
            "and add items then; or with items_as=chars, where vectors follow from ids"
        )
    if not version.name.isdigit():
        raise InputError(f"{version}: must be a numbered version, such as {version}/1, to have a next one")


def card_of(path: str | Path) -> dict:
    """Returns the content of an export's `tfrecsession.json`; {} where there is none.

    Raises:
        InputError: there is no SavedModel.
    """
    return read_card(newest_version(path))


def _how_to_make(path: Path) -> str:
    """Says how to get a SavedModel, from what there is at `path`."""
    name = path.resolve().name
    if path.is_file():
        return "it is a file: name the folder of the model, which holds its versions, or that of a version"
    if (path / "run.json").is_file():
        return f"it is a run: export it with `tfrecsession export {path} --out saved_models/{name}`"
    if runs := sorted(run.parent.name for run in path.glob("runs/*/run.json")):
        export = f"tfrecsession export {path}/runs/{runs[0]} --out saved_models/{runs[0]}"
        return f"it is a comparison: export one of its runs, e.g. with `{export}`"
    models = sorted({model.parent.parent.name for model in path.glob("*/*/saved_model.pb")})
    if models:
        return f"name one of the models in it: {', '.join(str(path / model) for model in models)}"
    out = path if not path.exists() else f"saved_models/{name}"
    return f"make one with `tfrecsession export RUN --out {out}`"
