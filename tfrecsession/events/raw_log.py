"""A log as read, before its columns are interpreted."""

from __future__ import annotations

import contextlib
import csv
import glob
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import pyarrow as pa
from ibis.util import gen_name

from tfrecsession.errors import InputError
from tfrecsession.events.schema import Columns

ENGINES = duckdb.Error, pa.ArrowException, OSError, EOFError, csv.Error, UnicodeError  # errors that reading may raise
ROW = "__row__"  # row number in the source, from 1


@dataclass
class RawLog:
    """A log as read, before its columns are interpreted.

    table: its columns and ROW, on `connection`. text: whether every column was read as text; `declared` then holds the
    types that the format (JSON) declares. content: item columns that came with the log (pyarrow.Table).
    delimiter: that of a file which may have quoted fields without a declaration of their mark, else None.
    """

    table: ir.Table
    source: str
    connection: Any  # Ibis backend, DuckDB or Spark
    text: bool = False
    declared: dict[str, dt.DataType] = field(default_factory=dict)
    content: Any = None
    delimiter: str | None = None

    @property
    def columns(self) -> list[str]:
        return [name for name in self.table.columns if name != ROW]

    def fetch(self, **aggregates: ir.Scalar) -> dict[str, Any]:
        """Computes aggregates over `table` in one scan. Raises InputError if the data cannot be read."""
        with reading(self.source):
            return self.connection.to_pyarrow(self.table.aggregate(**aggregates)).to_pylist()[0]


@dataclass(frozen=True)
class FileOptions:
    """How files are read; None: format and columns by the name and the header of a file, its encoding is UTF-8.

    names: columns of files that have no header. quote: the mark of quoted fields, or "none"; None: not declared.
    """

    format: str | None = None
    names: tuple[str, ...] | None = None
    encoding: str | None = None
    quote: str | None = None

    @property
    def first_given(self) -> str | None:
        """The argument name of the first one that is given besides the format, or None."""
        given = {"columns=": self.names, "encoding=": self.encoding, "quote=": self.quote}
        return next((name for name, value in given.items() if value not in (None, ())), None)


@dataclass(frozen=True)
class Files:
    """The files of one log, in the order of their rows.

    source: their name in messages. names, quote: see `FileOptions`.
    """

    parts: tuple[Path, ...]
    source: str
    names: tuple[str, ...] | None = None
    quote: str | None = None

    @property
    def patterns(self) -> list[str]:
        """The paths as DuckDB takes them."""
        return [literally(part) for part in self.parts]


@dataclass(frozen=True)
class Format:
    """A file format.

    expected: its description in error messages. open: (files, wanted columns, Ibis DuckDB connection) -> the log; may
    raise any error of the engine. begins: whether a file may begin with these bytes (the first 4096, uncompressed).
    """

    name: str
    suffixes: tuple[str, ...]
    expected: str
    open: Callable[[Files, Columns, Any], RawLog]
    begins: Callable[[bytes], bool]


@contextlib.contextmanager
def reading(source: str) -> Iterator[None]:
    """Turns engine errors about the data of `source` into a one-line InputError."""
    try:
        yield
    except (duckdb.OutOfMemoryException, duckdb.InterruptException):
        raise
    except Exception as error:
        spark = type(error).__module__.partition(".")[0] in ("pyspark", "py4j")  # by name: it may not be installed
        if not spark and not isinstance(error, ENGINES):
            raise
        text = str(error)
        if "OutOfMemoryError" in text or "No space left on device" in text:
            raise
        if spark:  # keep the last cause, without the stack trace of the JVM
            text = re.split(r" SQLSTATE: |\n", re.split(r"\[[A-Z][A-Z_.]{4,}\] ", text)[-1])[0]
        if "not utf-8" in text or "invalid UTF-8" in text:
            text = f"{text.split('Possible ')[0].strip()} Give its encoding, e.g. encoding='latin-1'"
        if "unterminated quote" in text or "quote should be followed" in text:
            text = f"{text.splitlines()[0]} unterminated quote: a field opens with a quotation mark and does not end "
            text += "with one; give quote='none' if the file has no quotes"
        # Remove DuckDB's own advice and settings, which the user cannot apply here.
        for advice in ("Possible ", "Try ", "\n  file =", "\nLINE "):
            text = text.split(advice)[0]
        text = " ".join(text.split()).removeprefix("Invalid Input Error: ")
        raise InputError(f"{source}: cannot be read: {text[:300]}") from error


def literally(path: Path) -> str:
    """Returns the absolute path, escaped for DuckDB, which reads * ? [ in a name as a pattern."""
    return glob.escape(os.path.abspath(path))


def register(data: pa.Table | pa.RecordBatchReader, connection) -> ir.Table:
    """Registers data with DuckDB, which unlike an Ibis memtable knows all Arrow types (UUIDs, zoned nanoseconds)."""
    name = gen_name("arrow")
    connection.con.register(name, data)
    return connection.table(name)


def number_rows(table: ir.Table) -> ir.Table:
    """Adds ROW in the order of the source. DuckDB only: in other engines an unordered table has no row numbers."""
    return table.mutate((ibis.row_number().over() + 1).name(ROW))
