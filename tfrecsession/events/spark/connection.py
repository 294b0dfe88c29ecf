"""Spark as an engine: the same Ibis expressions, for logs that outgrow one machine.

All code for Spark alone is in this file, in `spark_context.py` (starts and ends Spark), in `sources.py` (reads logs)
and in `sessions/spark.py` (writes sessions). Needs the extra `spark`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
from ibis.backends.pyspark import Backend
from ibis.backends.sql.compilers.pyspark import PySparkCompiler
from ibis.util import gen_name
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tfrecsession.errors import InputError
from tfrecsession.events.schema import RESERVED

SQL = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",  # overflow is an error, as in DuckDB
    "spark.sql.caseSensitive": "true",
    "spark.sql.parquet.binaryAsString": "true",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    "spark.sql.csv.parser.columnPruning.enabled": "false",  # else broken lines pass if their columns are not selected
    "spark.sql.execution.arrow.pyspark.enabled": "true",
}
# DuckDB functions that our expressions call, defined by Spark's.
FUNCTIONS = (
    "epoch_us(moment TIMESTAMP) RETURNS BIGINT RETURN unix_micros(moment)",
    "try_strptime(text STRING, form STRING) RETURNS TIMESTAMP RETURN try_to_timestamp(text, form)",
)
# strptime's directives as Java's letters: between other characters, and beside another directive.
LETTERS = {
    "%Y": ("yyyy", "yyyy"),
    "%y": ("yy", "yy"),
    "%m": ("M", "MM"),
    "%d": ("d", "dd"),
    "%b": ("MMM", "MMM"),
    "%B": ("MMMM", "MMMM"),
    "%H": ("H", "HH"),
    "%I": ("h", "hh"),
    "%M": ("m", "mm"),
    "%S": ("s", "ss"),
    "%p": ("a", "a"),
    "%f": ("SSSSSS", "SSSSSS"),
}
TIMES = {"timestamp": dt.Timestamp(timezone="UTC", scale=6), "timestamp_ntz": dt.Timestamp(scale=6)}
LOCAL_BITS = 33  # bits of `monotonically_increasing_id` that number the rows within a partition


class _Compiler(PySparkCompiler):
    """Ibis' SQL compiler for Spark, corrected where results differ from those of DuckDB."""

    __slots__ = ()

    def visit_CountStar(self, op, *, arg, where):
        """Counts no rows as 0. Ibis sums, which gives null."""
        return super().visit_CountStar(op, arg=arg, where=None) if where is None else self.f.count_if(where)

    def visit_IsInf(self, op, *, arg):
        """Compares with infinity. Ibis' own test is never true."""
        return self.f.abs(arg).eq(self.POS_INF)

    def visit_Strip(self, op, *, arg):
        """Strips white space. In Ibis' own SQL Spark reads \\v and \\f as letters, and strips these."""
        return self.f.anon.btrim(arg, self.f.concat(" \t\n\r", self.f.chr(11), self.f.chr(12)))

    def visit_IsNull(self, op, *, arg):
        """Tests for null alone. Ibis counts NaN as null, only here."""
        return arg.is_(ibis.backends.sql.compilers.base.NULL)

    def visit_NotNull(self, op, *, arg):
        return self.f.isnotnull(arg)


class SparkConnection(Backend):
    """Ibis backend whose tables are Parquet in `folder`, and whose results keep their types.

    folder: on a file system that the driver and all executors see.
    """

    compiler = _Compiler()

    @classmethod
    def over(cls, session: SparkSession, folder: Path) -> SparkConnection:
        """Connects through `session`, whose settings and names are then ours."""
        Backend.register_options()
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
        """Returns the data frame of an expression, not yet computed."""
        return self.session.sql(self.compile(expression))

    def to_pyarrow(self, expr: ir.Expr, /, **_: Any) -> Any:
        """Computes an expression on the driver, so only for counts and catalogues.

        Ibis' own method goes through pandas, where integers with nulls become floats.
        """
        return expr.__pyarrow_result__(self.frame(expr.as_table()).toArrow())

    def get_schema(self, *args: Any, **kwargs: Any) -> ibis.Schema:
        """Returns the schema with the zone and the precision of Spark's times, which Ibis leaves out."""
        fields = zip(super().get_schema(*args, **kwargs).items(), self.session.table(args[0]).schema, strict=True)
        return ibis.schema({name: TIMES.get(field.dataType.typeName(), kind) for (name, kind), field in fields})

    def create_table(self, name: str, /, obj: ir.Table, **_: Any) -> ir.Table:
        """Computes a table of this connection, or of DuckDB, and stores it as Parquet."""
        backend = obj.get_backend()
        if backend.name != "duckdb":
            return self.keep(self.frame(obj), name)
        check_context(obj.schema(), [name for name in obj.columns if name not in RESERVED], "the log")
        path = self.folder / name
        path.mkdir(parents=True)
        backend.to_parquet(obj, path / "part-00000.parquet")
        return self.view(self.session.read.parquet(str(path)), name)

    def keep(self, frame: DataFrame, name: str | None = None) -> ir.Table:
        """Computes a data frame and stores it as Parquet: executors may die, and plans stay short."""
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
        """Numbers the rows of a frame from 0 in its order, and stores them. No row leaves its partition."""
        kept = self.keep(frame.withColumn(column, F.monotonically_increasing_id()))
        rows = self.session.table(kept.get_name())
        partition = F.shiftright(column, LOCAL_BITS)
        counts = dict(rows.groupBy(partition.alias("partition")).count().collect())
        starts = [0, *accumulate(counts.get(index, 0) for index in range(max(counts, default=-1) + 1))]
        start = F.expr(f"array({', '.join(f'{start}L' for start in starts)})")[partition.cast("int")]
        return self.view(rows.withColumn(column, start + F.col(column).bitwiseAND((1 << LOCAL_BITS) - 1)))


def java_form(format: str) -> str:
    """Converts strptime's form of a time to Java's. Raises InputError for a directive that Spark cannot parse."""
    tokens = re.findall(r"%-?.|[^%]", format)
    form = ""
    for index, token in enumerate(tokens):
        if token[0] != "%":
            form += f"'{token}'" if token.isalpha() else "''" if token == "'" else token
            continue
        beside = any(near.startswith("%") for near in (*tokens[max(index - 1, 0) : index], *tokens[index + 1 :][:1]))
        letters = LETTERS.get(token.replace("-", ""))
        if letters is None:
            raise InputError(
                f"time_format={format!r}: Spark does not parse {token}: prepare with engine='duckdb', or leave it out"
            )
        form += letters[beside]
    return form


def check_context(schema: ibis.Schema, names: Iterable[str], source: str) -> None:
    """Raises InputError for a context column whose type Spark would change."""
    for name in names:
        kind = schema[name]
        fits = kind.is_string() or kind.is_signed_integer() or kind.is_boolean() or kind.is_date() or kind.is_decimal()
        fits |= kind in (dt.float32, dt.float64) or (kind.is_timestamp() and kind.scale in (None, 6))
        if not fits:
            raise InputError(
                f"{source}: the context column {name!r} is of type {kind}, which Spark does not have or cannot order: "
                "cast it to a text, a signed integer, a float or microseconds, or prepare with engine='duckdb'"
            )
