"""Logs in several files: the files of a folder, or those that a pattern matches, in the order of their names."""

from __future__ import annotations

import glob
from collections.abc import Callable
from pathlib import Path

from tfrecsession.errors import InputError


def is_pattern(path: Path) -> bool:
    return glob.has_magic(str(path))


def within(folder: Path, fits: Callable[[Path], bool]) -> list[Path]:
    """Returns the files that fit, including those of subfolders; names that begin with . or _ are not data."""
    return sorted(
        file
        for file in folder.rglob("*")
        if not any(part[0] in "._" for part in file.relative_to(folder).parts) and fits(file) and file.is_file()
    )


def matching(pattern: Path) -> list[Path]:
    """Returns the files that match. Raises InputError if there are none."""
    paths = (Path(path) for path in glob.glob(str(pattern), recursive=True))
    files = sorted(path for path in paths if path.name[0] not in "._" and path.is_file())
    if not files:
        raise InputError(f"{pattern}: no file matches")
    return files
