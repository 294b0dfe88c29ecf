"""The folder that a server reads: NAME/VERSION/saved_model.pb. Needs no TensorFlow."""

from __future__ import annotations

import os
from pathlib import Path

from tfrecsession.errors import InputError


def checked_folder(folder: str | os.PathLike) -> Path:
    """Returns the absolute path of a folder of models.

    Raises:
        InputError: the folder does not exist, or is that of a single model.
    """
    path = Path(folder).expanduser().absolute()
    if not path.is_dir():
        raise InputError(
            f"{folder}: no such folder; create one with model.export('{folder}/NAME/1')",
            command_line=f"{folder}: no such folder; create one with `tfrecsession export RUN --out {folder}/NAME`",
        )
    if any((version / "saved_model.pb").is_file() for version in path.iterdir() if number_of(version)):
        raise InputError(f"{folder}: holds the versions of one model; serve the folder above it")
    return path


def number_of(path: Path) -> int | None:
    """Returns the version, from 1, that a folder's name is; None for any other name."""
    text = path.name
    return int(text) if text.isascii() and text.isdecimal() and text[0] != "0" and len(text) < 19 else None
