"""Spark as an engine: the same Ibis expressions, for logs that outgrow one machine.

Everything that Ibis cannot say for Spark is in this file, in `spark_session.py` (how a session begins and ends), in
`spark_sources.py` (how logs are read) and in `sessions/spark.py` (how sessions are written). Needs the extra `spark`.
"""

from __future__ import annotations

import shutil
from itertools import accumulate
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
from ibis.backends.pyspark import Backend
from ibis.backends.sql.compilers.pyspark import PySparkCompiler
from ibis.util import gen_name
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

SQL = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",  # what overflows is an error, as in DuckDB
    "spark.sql.caseSensitive": "true",
    "spark.sql.parquet.binaryAsString": "true",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    "spark.sql.csv.parser.columnPruning.enabled": "false",  # or broken lines pass where that part is not asked for
    "spark.sql.execution.arrow.pyspark.enabled": "true",
}
# Functions of DuckDB that our expressions call, in terms of Spark's.
FUNCTIONS = ("epoch_us(moment TIMESTAMP) RETURNS BIGINT RETURN unix_micros(moment)",)
LOCAL_BITS = 33  # of `monotonically_increasing_id`: the number of the row within its partition


class _Compiler(PySparkCompiler):
    """Ibis' SQL for Spark where its answers are not those of its SQL for DuckDB."""

    __slots__ = ()

    def visit_CountStar(self, op, *, arg, where):
        """Ibis sums, which makes nothing of no rows; none of them is 0."""
        return super().visit_CountStar(op, arg=arg, where=None) if where is None else self.f.count_if(where)

    def visit_IsNull(self, op, *, arg):
        """Ibis takes NaN for a null, here alone."""
        return arg.is_(ibis.backends.sql.compilers.base.NULL)

    def visit_NotNull(self, op, *, arg):
        return self.f.isnotnull(arg)


class SparkConnection(Backend):
    """Ibis' backend whose tables are Parquet in `folder`, and whose results keep their types.

    folder: on a file system that the driver and all executors see.
    """

    compiler = _Compiler()

    @classmethod
    def over(cls, session: SparkSession, folder: Path) -> SparkConnection:
        """On a session of its own beside `session`, so that settings and names of neither reach the other."""
        Backend.register_options()
        session = session.newSession()
        for name, value in SQL.items():
            session.conf.set(name, value)
        for function in FUNCTIONS:
            session.sql(f"CREATE OR REPLACE TEMPORARY FUNCTION {function}")
        connection = cls().connect(session)
        connection.folder = folder
        return connection

    @property
    def session(self) -> SparkSession:
        return self._session

    def frame(self, expression: ir.Table) -> DataFrame:
        """What Spark makes of an expression, not yet computed."""
        return self.session.sql(self.compile(expression))

    def to_pyarrow(self, expr: ir.Expr, /, **_: Any) -> Any:
        """On the driver, so for counts and catalogues alone. Ibis' own goes through pandas, where integers with nulls
        become floats."""
        return expr.__pyarrow_result__(self.frame(expr.as_table()).toArrow())

    def create_table(self, name: str, /, obj: ir.Table, **_: Any) -> ir.Table:
        """Compute a table of this connection, or of DuckDB, and keep it as Parquet."""
        backend = obj.get_backend()
        if backend.name != "duckdb":
            return self.keep(self.frame(obj), name)
        path = self.folder / name
        path.mkdir(parents=True)
        backend.to_parquet(obj, path / "part-00000.parquet")
        return self.view(self.session.read.parquet(str(path)), name)

    def keep(self, frame: DataFrame, name: str | None = None) -> ir.Table:
        """Compute a data frame and keep it as Parquet: executors may die, and plans stay short."""
        name = name or gen_name("kept")
        path = str(self.folder / name)
        frame.write.parquet(path)
        return self.view(self.session.read.schema(frame.schema).parquet(path), name)

    def view(self, frame: DataFrame, name: str | None = None) -> ir.Table:
        name = name or gen_name("view")
        frame.createOrReplaceTempView(name)
        return self.table(name)

    def drop(self, name: str) -> None:
        self.session.catalog.dropTempView(name)
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def numbered(self, frame: DataFrame, column: str) -> ir.Table:
        """The rows of a frame with their numbers from 0 in its order, kept. No row leaves its partition for that."""
        kept = self.keep(frame.withColumn(column, F.monotonically_increasing_id()))
        rows = self.session.table(kept.get_name())
        partition = F.shiftright(column, LOCAL_BITS)
        counts = dict(rows.groupBy(partition.alias("partition")).count().collect())
        starts = [0, *accumulate(counts.get(number, 0) for number in range(max(counts, default=-1) + 1))]
        start = F.expr(f"array({', '.join(f'{start}L' for start in starts)})")[partition.cast("int")]
        return self.view(rows.withColumn(column, start + F.col(column).bitwiseAND((1 << LOCAL_BITS) - 1)))
