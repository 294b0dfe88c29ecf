"""Reader of CSV and TSV, with a header or given names. Every column is read as text, so that "007" stays "007"."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from tfrecsession.errors import InputError
from tfrecsession.events.formats.compression import open_text
from tfrecsession.events.formats.first_bytes import is_json_lines, is_text
from tfrecsession.events.quoting import quote_mark
from tfrecsession.events.raw_log import Files, Format, RawLog, number_rows
from tfrecsession.events.schema import USUAL_NAMES, Columns

DATA = re.compile(r"\s*(-?\d+(\.\d+)?|\d{4}-\d\d-\d\d.*)\s*$")  # numbers and dates, which name no column


def open_csv(files: Files, columns: Columns, connection) -> RawLog:
    return _open(files, *layout(files, CSV), columns, connection)


def open_tsv(files: Files, columns: Columns, connection) -> RawLog:
    return _open(files, *layout(files, TSV), columns, connection)


def layout(files: Files, format: Format) -> tuple[list[str], str]:
    """Returns the column names and the delimiter: for CSV, the most frequent of , ; tab | in the first line.

    Files without a header may also be separated by :: or, where none of these occurs, by spaces.
    """
    delimiter = names = None
    for part in files.parts:
        with open_text(part) as file:
            line = file.readline()
        if delimiter is None:
            delimiter = "\t" if format is TSV else _delimiter(line, headerless=files.names is not None)
        if files.names is not None:
            _check_fields(part, line, delimiter, files)
            continue
        header = _names(part, _fields(line, delimiter, files.quote))
        if names is not None and header != names:
            raise InputError(
                f"{part}: its columns are {', '.join(header)}; those of {files.parts[0]} are {', '.join(names)}: the "
                "files of one log must have the same header (of files without one, give columns=)"
            )
        names = header
    return names or _names(files.source, files.names), delimiter


def _open(files: Files, names: list[str], delimiter: str, columns: Columns, connection) -> RawLog:
    wanted = USUAL_NAMES["item"] if columns.item is None else (columns.item,)
    if not set(wanted) & set(names) and any(DATA.match(name) for name in names):
        raise InputError(
            f"{files.source}: there is no column {' or '.join(wanted)}, and the first line looks like data: "
            f"{delimiter.join(names)[:80]!r}; name the columns of a file without a header, e.g. "
            "columns=['session', 'time', 'item', 'category']"
        )
    # DuckDB's sniffer is off: it may mistake a line of text for the header, or a code for a number.
    table = connection.read_csv(
        files.patterns,
        auto_detect=False,
        header=files.names is None,
        columns=dict.fromkeys(names, "VARCHAR"),
        delim=delimiter,
        quote=quote_mark(files.quote),
        escape=quote_mark(files.quote),
    )
    undeclared = delimiter if files.quote is None else None
    return RawLog(number_rows(table), files.source, connection, text=True, delimiter=undeclared)


def _delimiter(line: str, headerless: bool) -> str:
    if headerless and "::" in line:
        return "::"
    likely = max(",;\t|", key=line.count)
    return " " if headerless and likely not in line and " " in line.strip() else likely


def _fields(line: str, delimiter: str, quote: str | None) -> list[str]:
    line = line.rstrip("\r\n")
    mark = quote_mark(quote)
    if len(delimiter) > 1 or not mark:
        return line.split(delimiter) if line else []
    return next(csv.reader([line], delimiter=delimiter, quotechar=mark), [])


def _check_fields(part: Path, line: str, delimiter: str, files: Files) -> None:
    """Raises InputError if the first line does not fit the given names, or is a header."""
    names, fields = files.names, _fields(line, delimiter, files.quote)
    if len(fields) != len(names):
        raise InputError(
            f"{part}: columns={list(names)!r}: must name each of its {len(fields)} columns (separated by "
            f"{delimiter!r}, some names may be empty); the first line is {line.rstrip()[:80]!r}"
        )
    if [field.strip().lower() for field in fields] == [name.lower() for name in names]:
        raise InputError(f"{part}: columns= is for files without a header, and the first line is {line.rstrip()!r}")


def _names(path: Path | str, names: Sequence[str]) -> list[str]:
    if not names:
        raise InputError(f"{path}: the first line is empty; it must hold the column names")
    names = [name or f"column{index}" for index, name in enumerate(names)]
    for index, name in enumerate(names):
        if name.lower() in (earlier.lower() for earlier in names[:index]):
            raise InputError(f"{path}: two columns are called {name!r} (case is ignored): rename one, or give columns=")
    return names


def _is_table(head: bytes) -> bool:
    return is_text(head) and not is_json_lines(head)


CSV = Format("csv", (".csv",), "a CSV file in UTF-8", open_csv, _is_table)
TSV = Format("tsv", (".tsv",), "a tab-separated file in UTF-8", open_tsv, _is_table)
