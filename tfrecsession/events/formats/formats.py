"""The supported file formats of logs. To add one, write a file beside this one and add it to `FORMATS`."""

from __future__ import annotations

import os
from pathlib import Path

from tfrecsession.errors import InputError
from tfrecsession.events.formats.delimited import CSV, TSV
from tfrecsession.events.formats.first_bytes import check_first_bytes
from tfrecsession.events.formats.grouplens import GROUPLENS
from tfrecsession.events.formats.json_lines import JSON_LINES
from tfrecsession.events.formats.parquet import PARQUET, open_parquet_folder
from tfrecsession.events.formats.text_sessions import TEXT_SESSIONS
from tfrecsession.events.raw_log import Format, RawLog, reading
from tfrecsession.events.schema import Columns

FORMATS = (CSV, TSV, JSON_LINES, PARQUET, TEXT_SESSIONS, GROUPLENS)


def open_path(path: str | os.PathLike, columns: Columns, connection, format: str | None = None) -> RawLog:
    """Opens a log in a file, or in a folder of Parquet files. Raises InputError if the content does not fit."""
    path = Path(os.path.expanduser(path))
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.is_dir():
        if format not in (None, PARQUET.name):
            raise InputError(f"{path}: a folder is read as Parquet files, not as {format}")
        return open_parquet_folder(path, connection)
    chosen = choose_format(path, format)
    check_first_bytes(path, chosen)
    with reading(str(path)):
        return chosen.open(path, columns, connection)


def choose_format(path: Path, format: str | None) -> Format:
    """Returns the format with the given name, else the one for the suffix."""
    return _by_suffix(path) if format is None else _by_name(format)


def _by_name(name: str) -> Format:
    for format in FORMATS:
        if format.name == name:
            return format
    raise InputError(f"--format {name}: choose one of {', '.join(format.name for format in FORMATS)}")


def _by_suffix(path: Path) -> Format:
    suffix = Path(path.stem if path.suffix.lower() == ".gz" else path).suffix
    for format in FORMATS:
        if suffix.lower() in format.suffixes:
            return format
    known = ", ".join(suffix for format in FORMATS for suffix in format.suffixes)
    names = "|".join(format.name for format in FORMATS)
    raise InputError(
        f"{path}: unknown suffix {suffix!r}; known are {known} (texts also as .gz) and folders of Parquet, or give "
        f"--format {names}"
    )
