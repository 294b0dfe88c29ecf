"""The supported file formats of logs. To add one, write a file beside this one and add it to `FORMATS`."""

from __future__ import annotations

import os
from pathlib import Path

from tfrecsession.errors import InputError
from tfrecsession.events.formats.compression import inner_name
from tfrecsession.events.formats.delimited import CSV, TSV
from tfrecsession.events.formats.encodings import check_encoding, in_utf8
from tfrecsession.events.formats.first_bytes import check_first_bytes
from tfrecsession.events.formats.grouplens import GROUPLENS
from tfrecsession.events.formats.json_lines import JSON_LINES
from tfrecsession.events.formats.parquet import PARQUET
from tfrecsession.events.formats.parts import is_pattern, matching, within
from tfrecsession.events.formats.text_sessions import TEXT_SESSIONS
from tfrecsession.events.raw_log import FileOptions, Files, Format, RawLog, reading
from tfrecsession.events.schema import Columns

FORMATS = (CSV, TSV, JSON_LINES, PARQUET, TEXT_SESSIONS, GROUPLENS)
IN_FOLDERS = (PARQUET, CSV, TSV, JSON_LINES)  # looked for in a folder, where a .txt may be a note


def open_path(path: str | os.PathLike, columns: Columns, connection, options: FileOptions | None = None) -> RawLog:
    """Opens a log in a file, a folder of files, or the files that a pattern such as parts/*.csv matches.

    Raises InputError if the content does not fit.
    """
    options = options or FileOptions()
    files, format = find_files(path, options)
    if check_encoding(options.encoding):
        return in_utf8(files, options.encoding, connection, lambda copies: _open(copies, format, columns, connection))
    return _open(files, format, columns, connection)


def find_files(path: str | os.PathLike, options: FileOptions) -> tuple[Files, Format]:
    """Returns the files at `path`, in the order of their names, and their format.

    Raises InputError if there are none, their formats differ, or an option does not fit their format.
    """
    path = Path(os.path.expanduser(path))
    if not path.exists() and is_pattern(path):
        parts = matching(path)
        formats = {choose_format(part, options) for part in parts}
        if len(formats) > 1:
            names = ", ".join(sorted(format.name for format in formats))
            raise InputError(f"{path}: matches files of several formats ({names}): give format= for all")
        format = formats.pop()
    elif not path.exists():
        raise InputError(f"{path}: no such file or folder")
    elif path.is_dir():
        parts, format = _in_folder(path, options)
    else:
        parts, format = [path], choose_format(path, options)
    if options.names is not None and format not in (CSV, TSV):
        raise InputError(f"{path}: columns= is for files without a header, and it is read as {format.name}")
    if options.encoding is not None and format is PARQUET:
        raise InputError(f"{path}: encoding= is for text files, and it is read as {format.name}")
    if options.quote is not None and format not in (CSV, TSV):
        raise InputError(f"{path}: quote= is for csv and tsv, and it is read as {format.name}")
    return Files(tuple(parts), str(path), options.names, options.quote), format


def choose_format(path: Path, options: FileOptions) -> Format:
    """Returns the given format, else the one for the suffix; for tables without a header, CSV."""
    chosen = _by_suffix(path) if options.format is None else _by_name(options.format)
    if options.names is not None and options.format is None and chosen in (GROUPLENS, TEXT_SESSIONS):
        return CSV
    return chosen


def _open(files: Files, format: Format, columns: Columns, connection) -> RawLog:
    for part in files.parts:
        check_first_bytes(part, format)
    with reading(files.source):
        return format.open(files, columns, connection)


def _in_folder(folder: Path, options: FileOptions) -> tuple[list[Path], Format]:
    candidates = IN_FOLDERS if options.format is None else (_by_name(options.format),)
    found = {format: within(folder, lambda path, format=format: _fits(path, format)) for format in candidates}
    found = {format: parts for format, parts in found.items() if parts}
    if len(found) > 1 and all(part.suffix == ".json" for part in found.get(JSON_LINES, ())):
        found.pop(JSON_LINES, None)  # beside tables, a .json describes them
    if not found:
        looked_for = ", ".join(f"*{suffix}" for format in candidates for suffix in format.suffixes)
        advice = "; give the path of a file, or format=" if options.format is None else ""
        raise InputError(f"{folder}: no {looked_for} file in this folder{advice}")
    if len(found) > 1:
        counts = ", ".join(f"{len(parts):,} of {format.name}" for format, parts in found.items())
        raise InputError(f"{folder}: there are files of several formats ({counts}): choose one with format=")
    ((format, parts),) = found.items()
    return parts, format


def _fits(path: Path, format: Format) -> bool:
    name = path if format is PARQUET else inner_name(path)
    return name.suffix.lower() in format.suffixes


def _by_name(name: str) -> Format:
    for format in FORMATS:
        if format.name == name:
            return format
    raise InputError(f"format={name!r}: choose one of {', '.join(format.name for format in FORMATS)}")


def _by_suffix(path: Path) -> Format:
    suffix = inner_name(path).suffix
    for format in FORMATS:
        if suffix.lower() in format.suffixes:
            return format
    known = ", ".join(suffix for format in FORMATS for suffix in format.suffixes)
    names = ", ".join(format.name for format in FORMATS)
    raise InputError(
        f"{path}: unknown suffix {suffix!r}; known are {known} (texts also as .gz and .zst) and folders of them, or "
        f"give format=, one of {names}"
    )
