"""Logs read by Spark: Parquet and delimited files, PySpark data frames, Ibis tables on Spark.

Rows are numbered as in DuckDB: by file name and position in a Parquet file, by line in a delimited one. A data frame is
numbered in the order of its partitions.

Differences to DuckDB: ids that are points in time, or fractional floats below 0.001 or from 10 million on, have Spark's
spelling. Spark rejects quoted line breaks in delimited files, and times with a zone but no seconds ("...T10:11Z").
"""

from __future__ import annotations

import os
import re
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import ibis
import ibis.expr.types as ir
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from tfrecsession.events.formats.delimited import CSV, TSV, layout
from tfrecsession.events.formats.first_bytes import check_first_bytes
from tfrecsession.events.formats.formats import choose_format
from tfrecsession.events.formats.parquet import PARQUET, parquet_files
from tfrecsession.events.raw_log import ROW, RawLog, reading
from tfrecsession.events.schema import Columns
from tfrecsession.events.spark.connection import SparkConnection, check_context

PATTERN = re.compile(r"([\\*?\[\]{},])")  # characters that Hadoop reads as a pattern in a path
REMOTE = re.compile(r"^(?!file:)[a-z][a-z0-9+.-]*://", re.IGNORECASE)  # hdfs://..., s3a://...


def session_of(source: Any) -> SparkSession | None:
    """Returns the Spark session of a PySpark data frame or of an Ibis table on Spark, else None."""
    if isinstance(source, DataFrame):
        return source.sparkSession
    if isinstance(source, ir.Table) and source.get_backend().name == "pyspark":
        return source.get_backend()._session
    return None


def reads(source: Any, format: str | None) -> bool:
    """Returns whether Spark reads a source itself, on all executors. DuckDB converts all other sources to Parquet."""
    if isinstance(source, str) and REMOTE.match(source):
        return True
    if not isinstance(source, str | os.PathLike):
        return session_of(source) is not None
    path = Path(source).expanduser()
    return path.is_dir() or (path.exists() and choose_format(path, format) in (PARQUET, CSV, TSV))


def open_on_spark(source: Any, columns: Columns, connection: SparkConnection, format: str | None) -> RawLog:
    """Opens a source that Spark `reads`."""
    if isinstance(source, ir.Table):
        source = session_of(source).sql(source.get_backend().compile(source))
    if isinstance(source, DataFrame):
        with reading("PySpark DataFrame"):
            return _number(_over(source, connection), "PySpark DataFrame", columns, connection)
    if isinstance(source, str) and REMOTE.match(source):
        with reading(source):
            return _open_parquet(connection.session.read.parquet(source), source, columns, connection)
    path = Path(source).expanduser()
    chosen = PARQUET if path.is_dir() else choose_format(path, format)
    files = parquet_files(path) if path.is_dir() else [path]
    for file in files:
        check_first_bytes(file, chosen)
    with reading(str(path)):
        if chosen is PARQUET:
            reader = connection.session.read.option("mergeSchema", len(files) > 1)
            check_context(ibis.Schema.from_pyarrow(pq.read_schema(files[0])), columns.context, str(path))
            return _open_parquet(reader.parquet(*map(_literally, files)), str(path), columns, connection)
        names, delimiter = layout(path, chosen)
        frame = connection.session.read.csv(
            _literally(path),
            schema=", ".join(f"`{name.replace('`', '``')}` STRING" for name in names),
            sep=delimiter,
            quote='"',
            escape='"',
            header=True,
            mode="FAILFAST",
            maxColumns=len(names) + 1,
        )
        log = _number(frame, str(path), columns, connection)
        log.text = True
        return log


def _open_parquet(frame: DataFrame, source: str, columns: Columns, connection: SparkConnection) -> RawLog:
    """Numbers the rows by file and position, so that Spark may read them on all executors in any order."""
    file, position = F.col("_metadata.file_path"), F.col("_metadata.row_index")
    counts = dict(frame.groupBy(file.alias("file")).count().collect())
    files = sorted(counts, key=lambda uri: PurePosixPath(unquote(urlsplit(uri).path)))
    starts = list(accumulate((counts[file] for file in files), initial=1))[:-1]
    starts = connection.session.createDataFrame(
        list(zip(files, starts, strict=True)), "__file__ string, __start__ bigint"
    )
    frame = frame.select(*_needed(frame, source, columns), file.alias("__file__"), position.alias(ROW))
    frame = frame.join(F.broadcast(starts), "__file__")
    frame = frame.withColumn(ROW, F.col("__start__") + F.col(ROW)).drop("__file__", "__start__")
    return RawLog(connection.view(frame), source, connection)


def _number(frame: DataFrame, source: str, columns: Columns, connection: SparkConnection) -> RawLog:
    """Numbers the rows of a source without positions, and stores them with these numbers."""
    table = connection.numbered(frame.select(_needed(frame, source, columns)), ROW)
    check_context(table.schema(), columns.context, source)
    return RawLog(table.mutate(**{ROW: table[ROW] + 1}), source, connection)


def _needed(frame: DataFrame, source: str, columns: Columns) -> list[Column]:
    return [F.col(f"`{name.replace('`', '``')}`") for name in columns.needed(frame.columns, source)]


def _over(frame: DataFrame, connection: SparkConnection) -> DataFrame:
    """Returns a data frame of another session as one of our session."""
    name = f"tfrecsession_{id(frame)}"
    frame.createOrReplaceGlobalTempView(name)
    try:
        return connection.session.table(f"global_temp.{name}")
    finally:
        frame.sparkSession.catalog.dropGlobalTempView(name)


def _literally(path: Path) -> str:
    return PATTERN.sub(r"\\\1", os.path.abspath(path))
