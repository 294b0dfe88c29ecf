"""A log as it was found, before any of its columns is understood."""

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

ENGINES = duckdb.Error, pa.ArrowException, OSError, EOFError, csv.Error, UnicodeError  # what reading may raise
ROW = "__row__"  # row number in the source, from 1


@dataclass
class RawLog:
    """A log as it was found.

    table: its columns and ROW, on `connection`. text: every column was read as text; `declared` then holds the types
    that the format itself gave them (JSON). content: item columns that came with it (pyarrow.Table).
    """

    table: ir.Table
    source: str
    connection: Any  # Ibis backend, DuckDB or Spark
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


@dataclass(frozen=True)
class Format:
    """A kind of file.

    expected: how to call it to somebody whose file is something else. open: path, columns that are looked for, Ibis
    DuckDB connection -> the log; may raise whatever the engine does. begins: whether a file may begin with these bytes
    (the first 4096, uncompressed).
    """

    name: str
    suffixes: tuple[str, ...]
    expected: str
    open: Callable[[Path, Columns, Any], RawLog]
    begins: Callable[[bytes], bool]


@contextlib.contextmanager
def reading(source: str) -> Iterator[None]:
    """Engine errors about the data of `source` -> InputError in one line."""
    try:
        yield
    except (duckdb.OutOfMemoryException, duckdb.InterruptException):
        raise
    except Exception as error:
        spark = type(error).__module__.partition(".")[0] in ("pyspark", "py4j")  # named so that Spark may be missing
        if not spark and not isinstance(error, ENGINES):
            raise
        text = str(error)
        if "OutOfMemoryError" in text or "No space left on device" in text:
            raise
        if spark:  # the causes one after the other, and the trace of the JVM below
            text = re.split(r" SQLSTATE: |\n", re.split(r"\[[A-Z][A-Z_.]{4,}\] ", text)[-1])[0]
        # DuckDB appends its own advice and settings, which are not the user's here.
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
