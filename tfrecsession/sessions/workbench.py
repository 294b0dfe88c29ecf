"""The database in which one `prepare` does its work."""

from __future__ import annotations

from pathlib import Path

import ibis
import ibis.expr.types as ir

CHECKPOINT = "1GB"


class Workbench:
    """Tables of one preparation, kept on disk so that a log may be larger than memory. Close it when done.

    The steps are Ibis expressions and know nothing of the engine; what is DuckDB's own is in `_connect`.
    """

    def __init__(self, folder: Path, memory: str):
        self.connection = _connect(folder, memory)
        self._made = 0

    def store(self, table: ir.Table) -> ir.Table:
        """Compute a table once and keep it."""
        self._made += 1
        return self.connection.create_table(f"step_{self._made}", table)

    def drop(self, *tables: ir.Table) -> None:
        """Give back the room of stored tables that nothing needs any more."""
        for table in tables:
            self.connection.drop_table(table.get_name())

    def numbers(self, table: ir.Table, **aggregates: ir.Scalar) -> dict[str, int | None]:
        """A few aggregates of a table, in one pass over it."""
        return table.aggregate(**aggregates).to_pyarrow().to_pylist()[0]

    def close(self) -> None:
        self.connection.disconnect()

    def __enter__(self) -> Workbench:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def _connect(folder: Path, memory: str):
    """A DuckDB database in a file, which moves to disk what exceeds `memory`."""
    folder.mkdir()
    return ibis.duckdb.connect(
        folder / "work.duckdb", memory_limit=memory, temp_directory=str(folder / "spill"), checkpoint_threshold=CHECKPOINT
    )
