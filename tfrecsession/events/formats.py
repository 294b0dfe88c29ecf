"""Files -> raw tables: the columns of a log under its own names, with a row number, before any of them is understood.

CSV and JSON Lines give every column as text, so that "007" stays "007"; Parquet keeps its types.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import glob
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
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ibis.util import gen_name

from tfrecsession.errors import InputError
from tfrecsession.events.first_bytes import EXPECTED, check_first_bytes

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
    path = Path(os.path.expanduser(path))
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
    check_first_bytes(path, format, compressed)
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


def literally(path: Path) -> str:
    """The path as DuckDB must be told it, which takes * ? [ in a name for a pattern and reads what matches."""
    return glob.escape(os.path.abspath(path))


def register(data: pa.Table | pa.RecordBatchReader, connection) -> ir.Table:
    """DuckDB's own: unlike a memtable of Ibis it knows every Arrow type (UUIDs, nanoseconds with a zone)."""
    name = gen_name("arrow")
    connection.con.register(name, data)
    return connection.table(name)


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
        check_first_bytes(file, "parquet", compressed=False)
    return _read_parquet(files, str(folder), connection)


def _open_parquet(path: Path, connection) -> RawLog:
    return _read_parquet([path], str(path), connection)


def _read_parquet(files: list[Path], source: str, connection) -> RawLog:
    """Rows are numbered by file and position, which unlike a running count lets DuckDB read on all cores."""
    paths = [os.path.abspath(file) for file in files]
    ends = np.cumsum([_parquet_rows(file) for file in files])
    with reading(source):
        table = connection.read_parquet(
            [literally(file) for file in files],
            file_row_number=True,
            filename="__file__",
            binary_as_string=True,
            union_by_name=len(files) > 1,
        )
        starts = register(pa.table({"__file__": paths, "__start__": np.r_[0, ends[:-1]]}), connection)
        table = table.join(starts, "__file__")
        table = table.mutate((table.__start__ + table.file_row_number + 1).name(ROW))
    return RawLog(table.drop("__file__", "__start__", "file_row_number"), source, connection)


def _parquet_rows(file: Path) -> int:
    with reading(str(file)):
        return pq.read_metadata(file).num_rows


def _open_csv(path: Path, connection, delimiter: str | None = None) -> RawLog:
    names, delimiter = _header(path, delimiter)
    # Nothing is left to DuckDB's sniffer: it may take a line of text for the header, or a code for a number.
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
    lines = functools.partial(connection.read_json, literally(path), format="newline_delimited")
    declared = lines().schema()
    if list(declared) == ["json"]:  # DuckDB's name for the lines, where some are no objects
        raise InputError(f"{path}: not {EXPECTED['jsonl']}: some lines hold something else than an object")
    table = lines(columns=dict.fromkeys(declared, "VARCHAR"))
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
