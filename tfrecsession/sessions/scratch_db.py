"""The database for the intermediate tables of one `prepare`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import ibis
import ibis.expr.types as ir

from tfrecsession.errors import InputError
from tfrecsession.events.raw_log import FileOptions
from tfrecsession.events.schema import Columns

CHECKPOINT = "1GB"


class ScratchDatabase:
    """Tables of one preparation, stored on disk so that a log may be larger than memory.

    The steps are Ibis expressions, independent of the engine. The code for DuckDB alone is here: `connect`,
    `in_row_order`, `drop` and the errors of `__exit__`. The code for Spark alone is in `spark.py`.
    """

    def __init__(self, folder: Path, memory: str):
        self.connection = connect(folder, memory)
        self._memory = memory
        self._stored = 0

    @contextmanager
    def in_row_order(self) -> Iterator[None]:
        """Keeps the row order while a source is read, because rows are numbered by it. Later this costs memory."""
        self.connection.raw_sql("SET preserve_insertion_order = true")
        try:
            yield
        finally:
            self.connection.raw_sql("SET preserve_insertion_order = false")

    def reader(self, source: Any, options: FileOptions, columns: Columns) -> Any:
        """Returns the connection that reads a source."""
        return self.connection

    def numbered(self, table: ir.Table, keys: list[str], name: str) -> ir.Table:
        """Stores a table with the column `name`: the number from 0 of each row in the order of `keys`."""
        return self.store(table.mutate(ibis.row_number().over(order_by=keys).name(name)))

    def store(self, table: ir.Table) -> ir.Table:
        """Computes a table once and stores it."""
        self._stored += 1
        return self.connection.create_table(f"step_{self._stored}", table)

    def drop(self, *tables: ir.Table) -> None:
        """Frees the space of stored tables that are no longer needed."""
        for table in tables:
            # `drop_table` of Ibis 12 loses the name with sqlglot 30.18 or later.
            self.connection.raw_sql(f"DROP TABLE {table.get_name()}")

    def count(self, table: ir.Table) -> int:
        """Returns the number of rows of a table."""
        return self.numbers(table, rows=table.count())["rows"]

    def numbers(self, table: ir.Table, **aggregates: ir.Scalar) -> dict[str, int | None]:
        """Computes a few aggregates of a table in one pass."""
        return table.aggregate(**aggregates).to_pyarrow().to_pylist()[0]

    def __enter__(self) -> ScratchDatabase:
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.connection.disconnect()
        if isinstance(error, duckdb.OutOfMemoryException | duckdb.IOException):
            reason = str(error).splitlines()[0]
            advice = f"memory={self._memory!r}: not enough for this log, give it more"
            raise InputError(f"{advice} ({reason})" if "Memory" in reason else reason) from error


def connect(folder: Path, memory: str):
    """Opens a DuckDB database in a file, which spills to disk what exceeds `memory`."""
    folder.mkdir()
    return ibis.duckdb.connect(
        folder / "work.duckdb",
        memory_limit=memory,
        temp_directory=str(folder / "spill"),
        checkpoint_threshold=CHECKPOINT,
    )
