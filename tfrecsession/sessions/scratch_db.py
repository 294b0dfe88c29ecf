"""The database in which one `prepare` does its work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import ibis
import ibis.expr.types as ir

from tfrecsession.errors import InputError

CHECKPOINT = "1GB"


class Workbench:
    """Tables of one preparation, kept on disk so that a log may be larger than memory.

    The steps are Ibis expressions and know nothing of the engine. What is DuckDB's own is here: `connect`,
    `in_row_order`, `drop` and the errors of `__exit__`; what is Spark's own is in `spark.py`.
    """

    def __init__(self, folder: Path, memory: str):
        self.connection = connect(folder, memory)
        self._memory = memory
        self._made = 0

    @contextmanager
    def in_row_order(self) -> Iterator[None]:
        """While a source is read its rows keep their order, by which they are numbered; later it costs memory."""
        self.connection.raw_sql("SET preserve_insertion_order = true")
        try:
            yield
        finally:
            self.connection.raw_sql("SET preserve_insertion_order = false")

    def reader(self, source: Any, format: str | None) -> Any:
        """The connection that reads a source."""
        return self.connection

    def numbered(self, table: ir.Table, keys: list[str], name: str) -> ir.Table:
        """A table with the column `name`, the number from 0 of each row in the order of `keys`, stored."""
        return self.store(table.mutate(ibis.row_number().over(order_by=keys).name(name)))

    def store(self, table: ir.Table) -> ir.Table:
        """Compute a table once and keep it."""
        self._made += 1
        return self.connection.create_table(f"step_{self._made}", table)

    def drop(self, *tables: ir.Table) -> None:
        """Give back the room of stored tables that nothing needs any more."""
        for table in tables:
            # Ibis 12 forgets the name in `drop_table` where sqlglot is 30.18 or later.
            self.connection.raw_sql(f"DROP TABLE {table.get_name()}")

    def count(self, table: ir.Table) -> int:
        """The number of its rows."""
        return self.numbers(table, rows=table.count())["rows"]

    def numbers(self, table: ir.Table, **aggregates: ir.Scalar) -> dict[str, int | None]:
        """A few aggregates of a table, in one pass over it."""
        return table.aggregate(**aggregates).to_pyarrow().to_pylist()[0]

    def __enter__(self) -> Workbench:
        return self

    def __exit__(self, kind, error, trace) -> None:
        self.connection.disconnect()
        if isinstance(error, duckdb.OutOfMemoryException | duckdb.IOException):
            reason = str(error).splitlines()[0]
            advice = f"--memory {self._memory}: not enough for this log, give it more"
            raise InputError(f"{advice} ({reason})" if "Memory" in reason else reason) from error


def connect(folder: Path, memory: str):
    """A DuckDB database in a file, which moves to disk what exceeds `memory`."""
    folder.mkdir()
    return ibis.duckdb.connect(
        folder / "work.duckdb",
        memory_limit=memory,
        temp_directory=str(folder / "spill"),
        checkpoint_threshold=CHECKPOINT,
    )
