"""Logs read by Spark: Parquet and delimited files, PySpark data frames, Ibis tables on Spark.

Rows are numbered as in DuckDB: by file name and position in a Parquet file, by line in a delimited one. A data frame is
numbered in the order of its partitions.

Differences to DuckDB: ids that are points in time, or fractional floats below 0.001 or from 10 million on, have Spark's
spelling. Spark rejects quoted line breaks in delimited files, and times with a zone but no seconds ("...T10:11Z").
"""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from tfrecsession.events.formats.delimited import CSV, TSV, layout
from tfrecsession.events.formats.first_bytes import check_first_bytes
from tfrecsession.events.formats.formats import find_files
from tfrecsession.events.formats.parquet import PARQUET
from tfrecsession.events.nested import list_types, nesting
from tfrecsession.events.quoting import quote_mark
from tfrecsession.events.raw_log import ROW, FileOptions, RawLog, reading
from tfrecsession.events.schema import Columns
from tfrecsession.events.spark.connection import SparkConnection, check_context
from tfrecsession.events.unnamed_times import may_hold_times

ARROW = {T.TimestampType: pa.timestamp("us"), T.TimestampNTZType: pa.timestamp("us"), T.DateType: pa.date32()}
ARROW |= {T.StringType: pa.string(), T.IntegerType: pa.int32(), T.LongType: pa.int64(), T.DoubleType: pa.float64()}
PATTERN = re.compile(r"([\\*?\[\]{},])")  # characters that Hadoop reads as a pattern in a path
REMOTE = re.compile(r"^(?!file:)[a-z][a-z0-9+.-]*://", re.IGNORECASE)  # hdfs://..., s3a://...


def session_of(source: Any) -> SparkSession | None:
    """Returns the Spark session of a PySpark data frame or of an Ibis table on Spark, else None."""
    if isinstance(source, DataFrame):
        return source.sparkSession
    if isinstance(source, ir.Table) and source.get_backend().name == "pyspark":
        return source.get_backend()._session
    return None


def reads(source: Any, options: FileOptions, columns: Columns) -> bool:
    """Returns whether Spark reads a source itself, on all executors. DuckDB converts all other sources to Parquet."""
    if options.encoding is not None:
        return False
    if isinstance(source, str) and REMOTE.match(source):
        return True
    if not isinstance(source, str | os.PathLike):
        return session_of(source) is not None
    if isinstance(source, str) and source.startswith(("synthetic:", "tfds:")):
        return False
    files, format = find_files(source, options)
    # Several delimited files: Spark would not number their rows in the order of their names.
    single = len(files.parts) == 1 and files.parts[0].suffix.lower() != ".zst"
    if format is PARQUET:
        check_first_bytes(files.parts[0], PARQUET)
        with reading(str(files.parts[0])):
            schema = pq.read_schema(files.parts[0])
        return nesting(list_types(schema), columns) is None
    return single and format in (CSV, TSV)


def open_on_spark(source: Any, columns: Columns, connection: SparkConnection, options: FileOptions) -> RawLog:
    """Opens a source that Spark `reads`."""
    if isinstance(source, ir.Table):
        source = session_of(source).sql(source.get_backend().compile(source))
    if isinstance(source, DataFrame):
        with reading("PySpark DataFrame"), _over(source, connection) as frame:
            return _number(frame, "PySpark DataFrame", columns, connection)
    if isinstance(source, str) and REMOTE.match(source):
        with reading(source):
            return _open_parquet(connection.session.read.parquet(source), source, columns, connection)
    files, chosen = find_files(source, options)
    for part in files.parts:
        check_first_bytes(part, chosen)
    with reading(files.source):
        if chosen is PARQUET:
            reader = connection.session.read.option("mergeSchema", len(files.parts) > 1)
            check_context(ibis.Schema.from_pyarrow(pq.read_schema(files.parts[0])), columns.context, files.source)
            return _open_parquet(reader.parquet(*map(_literally, files.parts)), files.source, columns, connection)
        names, delimiter = layout(files, chosen)
        frame = connection.session.read.csv(
            _literally(files.parts[0]),
            schema=", ".join(f"`{name.replace('`', '``')}` STRING" for name in names),
            sep=delimiter,
            quote=quote_mark(files.quote),
            escape=quote_mark(files.quote),
            header=files.names is None,
            mode="FAILFAST",
            maxColumns=len(names) + 1,
        )
        log = _number(frame, files.source, columns, connection)
        log.text = True
        return log


def _open_parquet(frame: DataFrame, source: str, columns: Columns, connection: SparkConnection) -> RawLog:
    """Numbers the rows by file and position, so that Spark may read them on all executors in any order."""
    file, position = F.col("_metadata.file_path"), F.col("_metadata.row_index")
    counts = dict(frame.groupBy(file.alias("file")).count().collect())
    files = sorted(counts, key=lambda uri: PurePosixPath(unquote(urlsplit(uri).path)))
    starts = list(accumulate((counts[file] for file in files), initial=1))[:-1]
    # From Arrow: a list of rows would need this version of Python on the executors.
    starts = connection.session.createDataFrame(
        pa.table({"__file__": pa.array(files, pa.string()), "__start__": pa.array(starts, pa.int64())})
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
    names = columns.needed(frame.columns, source)
    kinds = pa.schema([(field.name, ARROW.get(type(field.dataType), pa.null())) for field in frame.schema])
    names = dict.fromkeys([*names, *may_hold_times(kinds, columns)])
    return [F.col(f"`{name.replace('`', '``')}`") for name in names]


@contextlib.contextmanager
def _over(frame: DataFrame, connection: SparkConnection) -> Iterator[DataFrame]:
    """Yields a data frame of another session as one of our session, which can be read inside the block only."""
    name = f"tfrecsession_{uuid.uuid4().hex}"  # others on the same server may do this at the same time
    frame.createOrReplaceGlobalTempView(name)
    try:
        yield connection.session.table(f"global_temp.{name}")
    finally:
        frame.sparkSession.catalog.dropGlobalTempView(name)


def _literally(path: Path) -> str:
    return PATTERN.sub(r"\\\1", os.path.abspath(path))
