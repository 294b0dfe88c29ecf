"""Reader of CSV and TSV with a header. Every column is read as text, so that "007" stays "007"."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import IO

from tfrecsession.errors import InputError
from tfrecsession.events.formats.first_bytes import is_json_lines, is_text
from tfrecsession.events.raw_log import Format, RawLog, literally, number_rows
from tfrecsession.events.schema import Columns


def open_csv(path: Path, columns: Columns, connection) -> RawLog:
    return _open(path, *layout(path, CSV), connection)


def open_tsv(path: Path, columns: Columns, connection) -> RawLog:
    return _open(path, *layout(path, TSV), connection)


def layout(path: Path, format: Format) -> tuple[list[str], str]:
    """Returns the column names and the delimiter: for CSV, the most frequent of , ; tab | in the header."""
    with open_text(path) as file:
        header = file.readline()
    delimiter = "\t" if format is TSV else max(",;\t|", key=header.count)
    return _names(path, header, delimiter), delimiter


def _open(path: Path, names: list[str], delimiter: str, connection) -> RawLog:
    # DuckDB's sniffer is off: it may mistake a line of text for the header, or a code for a number.
    table = connection.read_csv(
        literally(path),
        auto_detect=False,
        header=True,
        columns=dict.fromkeys(names, "VARCHAR"),
        delim=delimiter,
        quote='"',
        escape='"',
    )
    return RawLog(number_rows(table), str(path), connection, text=True)


def _names(path: Path, header: str, delimiter: str) -> list[str]:
    names = next(csv.reader([header.rstrip("\r\n")], delimiter=delimiter), [])
    if not names:
        raise InputError(f"{path}: the first line is empty; it must hold the column names")
    names = [name or f"column{index}" for index, name in enumerate(names)]
    for index, name in enumerate(names):
        if name.lower() in (earlier.lower() for earlier in names[:index]):
            raise InputError(f"{path}: two columns are called {name!r} (case is ignored): rename one")
    return names


def open_text(path: Path) -> IO[str]:
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    return opener(path, "rt", encoding="utf-8-sig", newline="")


def _is_table(head: bytes) -> bool:
    return is_text(head) and not is_json_lines(head)


CSV = Format("csv", (".csv",), "a CSV file in UTF-8", open_csv, _is_table)
TSV = Format("tsv", (".tsv",), "a tab-separated file in UTF-8", open_tsv, _is_table)
