"""Files -> raw tables: the columns of a log under its own names, with a row number, before any of them is understood.

CSV and JSON Lines give every column as text, so that "007" stays "007"; Parquet keeps its types.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import duckdb
import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from tfrecsession.errors import InputError

ROW = "__row__"  # row number in the source, from 1
FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".txt": "txt",
}
EXPECTED = {
    "csv": "a CSV file in UTF-8",
    "tsv": "a tab-separated file in UTF-8",
    "jsonl": "JSON Lines (one object per line) in UTF-8",
    "parquet": "a Parquet file",
    "txt": "a text file in UTF-8 with a session per line",
}


@dataclass
class RawLog:
    """A log as it was found.

    table: its columns and ROW, on `connection`. text: every column was read as text; `declared` then holds the types
    that the format itself gave them (JSON). content: item columns that came with it (pyarrow.Table).
    """

    table: ir.Table
    source: str
    connection: Any  # ibis DuckDB backend
    text: bool = False
    declared: dict[str, dt.DataType] = field(default_factory=dict)
    content: Any = None

    @property
    def columns(self) -> list[str]:
        return [name for name in self.table.columns if name != ROW]

    def fetch(self, **aggregates: ir.Scalar) -> dict[str, Any]:
        """The values of aggregates over `table`, in one scan. InputError where the data cannot be read."""
        with reading(self.source):
            return self.connection.to_pyarrow(self.table.aggregate(**aggregates)).to_pylist()[0]


def open_path(path: str | os.PathLike, connection, format: str | None = None) -> RawLog:
    """The raw log in a file, or in a folder of Parquet files. Raises InputError for one that is not what it says."""
    path = Path(path).expanduser()
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if format is not None and format not in EXPECTED:
        raise InputError(f"--format {format}: choose one of {', '.join(EXPECTED)}")
    if path.is_dir():
        return _open_folder(path, connection, format)
    compressed = path.suffix.lower() == ".gz"
    suffix = Path(path.stem).suffix if compressed else path.suffix
    format = format or FORMATS.get(suffix.lower())
    if format is None:
        raise InputError(
            f"{path}: unknown suffix {suffix!r}; known are {', '.join(FORMATS)} (text also as "
            f".gz) and folders of Parquet, or say --format {'|'.join(EXPECTED)}"
        )
    _check_beginning(path, format, compressed)
    with reading(str(path)):
        return _OPENERS[format](path, connection)


@contextlib.contextmanager
def reading(source: str) -> Iterator[None]:
    """Engine errors about the data of `source` -> InputError in one line."""
    try:
        yield
    except (duckdb.OutOfMemoryException, duckdb.InterruptException):
        raise
    except (duckdb.Error, pa.ArrowException, OSError, EOFError, csv.Error, UnicodeError) as error:
        # DuckDB appends its own advice and settings, which are not the user's here.
        text = str(error)
        for advice in ("Possible ", "Try ", "\n  file =", "\nLINE "):
            text = text.split(advice)[0]
        text = " ".join(text.split()).removeprefix("Invalid Input Error: ")
        raise InputError(f"{source}: cannot be read: {text[:300]}") from error


def number_rows(table: ir.Table) -> ir.Table:
    """ROW in the order of the source. DuckDB's own: elsewhere a table without an order has no row numbers."""
    return table.mutate((ibis.row_number().over() + 1).name(ROW))


def _open_folder(folder: Path, connection, format: str | None) -> RawLog:
    if format not in (None, "parquet"):
        raise InputError(f"{folder}: a folder is read as Parquet files, not as {format}")
    files = sorted(
        file
        for file in folder.rglob("*.parquet")
        if not any(part[0] in "._" for part in file.relative_to(folder).parts)
    )
    if not files:
        raise InputError(f"{folder}: no *.parquet file in this folder; for another format name one file")
    for file in files:
        _check_beginning(file, "parquet", compressed=False)
    return _read_parquet(files, str(folder), connection)


def _open_parquet(path: Path, connection) -> RawLog:
    return _read_parquet([path], str(path), connection)


def _read_parquet(files: list[Path], source: str, connection) -> RawLog:
    """Rows are numbered by file and position, which unlike a running count lets DuckDB read on all cores."""
    lengths = []
    for file in files:
        with reading(str(file)):
            lengths.append(pq.read_metadata(file).num_rows)
    with reading(source):
        table = connection.read_parquet(
            [str(file) for file in files],
            file_row_number=True,
            filename="__file__",
            binary_as_string=True,
            union_by_name=len(files) > 1,
        )
    starts = [0, *lengths][:-1]
    if len(files) == 1:
        row = table.file_row_number + 1
    else:
        before = ibis.memtable(pa.table({"__file__": [str(f) for f in files], "before": starts}))
        table = table.join(before, "__file__")
        row = table.before + table.file_row_number + 1
        table = table.drop("before")
    table = table.mutate(row.name(ROW)).drop("file_row_number", "__file__")
    return RawLog(table, source, connection)


def _open_csv(path: Path, connection, delimiter: str | None = None) -> RawLog:
    names, delimiter = _header(path, delimiter)
    # Nothing is left to DuckDB's sniffer: it may take a line of text for the header, or a code for a number.
    table = connection.read_csv(
        str(path),
        auto_detect=False,
        header=True,
        columns=dict.fromkeys(names, "VARCHAR"),
        delim=delimiter,
        quote='"',
        escape='"',
    )
    return RawLog(number_rows(table), str(path), connection, text=True)


def _open_tsv(path: Path, connection) -> RawLog:
    return _open_csv(path, connection, delimiter="\t")


def _header(path: Path, delimiter: str | None) -> tuple[list[str], str]:
    with _open_text(path) as file:
        line = file.readline()
        if delimiter is None:
            delimiter = max(",;\t|", key=line.count)
        names = next(csv.reader([line.rstrip("\r\n")], delimiter=delimiter), [])
    if not names:
        raise InputError(f"{path}: the first line is empty; it must hold the column names")
    names = [name or f"column{number}" for number, name in enumerate(names)]
    for number, name in enumerate(names):
        if name.lower() in (earlier.lower() for earlier in names[:number]):
            raise InputError(f"{path}: two columns are called {name!r} (capitals do not count): rename one")
    return names, delimiter


def _open_jsonl(path: Path, connection) -> RawLog:
    declared = connection.read_json(str(path), format="newline_delimited").schema()
    table = connection.read_json(str(path), format="newline_delimited", columns=dict.fromkeys(declared, "VARCHAR"))
    return RawLog(number_rows(table), str(path), connection, text=True, declared=dict(declared.items()))


def _open_txt(path: Path, connection) -> RawLog:
    from tfrecsession.events.text_sessions import read_text_sessions

    return RawLog(read_text_sessions(path, connection), str(path), connection)


_OPENERS = {
    "csv": _open_csv,
    "tsv": _open_tsv,
    "jsonl": _open_jsonl,
    "parquet": _open_parquet,
    "txt": _open_txt,
}


def _open_text(path: Path) -> IO[str]:
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    return opener(path, "rt", encoding="utf-8-sig", newline="")


def _check_beginning(path: Path, format: str, compressed: bool) -> None:
    """A file whose first bytes belie its name is refused before an engine tries to make sense of it."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
        if compressed and head:
            if not head.startswith(b"\x1f\x8b"):
                raise _belied(path, "a gzip file", head)
            with gzip.open(path) as file:
                head = file.read(4096)
    except (OSError, EOFError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    if not head:
        raise InputError(f"{path}: the file is empty")
    if format == "parquet":
        if not head.startswith(b"PAR1"):
            raise _belied(path, EXPECTED[format], head)
        return
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError:
        raise _belied(path, EXPECTED[format], head) from None
    first = text.lstrip()[:1]
    json_in_table = format in ("csv", "tsv") and first == "{"
    if "\x00" in text or text.startswith("PAR1") or json_in_table:
        raise _belied(path, EXPECTED[format], head)
    if format == "jsonl" and first != "{":
        raise _belied(path, EXPECTED[format], head)


def _belied(path: Path, expected: str, head: bytes) -> InputError:
    looks = {
        b"PAR1": " like Parquet",
        b"\x1f\x8b": " like gzip (name it .gz)",
        b"PK\x03\x04": " like a zip archive or a workbook",
        b"{": " like JSON Lines",
        b"[": " like a JSON array (write one object per line)",
    }
    look = next((say for magic, say in looks.items() if head.startswith(magic)), "")
    return InputError(f"{path}: not {expected}; it begins{look}: {head[:24]!r}")
