"""Sources of raw logs: paths, data frames, Arrow data, Ibis tables, TensorFlow Datasets, the synthetic shop."""

from __future__ import annotations

import os
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
from ibis.util import gen_name

from tfrecsession.errors import InputError
from tfrecsession.events.formats.formats import open_path
from tfrecsession.events.formats.tensorflow_datasets import PREFIX, open_tfds
from tfrecsession.events.id_texts import text_of
from tfrecsession.events.nested import list_types, nesting
from tfrecsession.events.raw_log import FileOptions, RawLog, number_rows, reading, register
from tfrecsession.events.schema import Columns
from tfrecsession.events.unnamed_times import may_hold_times


def is_synthetic(source: Any) -> bool:
    return isinstance(source, str) and source.startswith("synthetic:")


def is_file(source: Any) -> bool:
    """Returns whether `source` is the path of a file, a folder or a pattern."""
    if isinstance(source, str):
        return not source.startswith((PREFIX, "synthetic:"))
    return isinstance(source, os.PathLike)


def connection_for(source: Any):
    """Returns the DuckDB connection of an Ibis table, else a new one in memory."""
    if isinstance(source, ir.Table) and source.get_backend().name == "duckdb":
        return source.get_backend()
    return ibis.duckdb.connect()


def open_log(source: Any, columns: Columns, connection, options: FileOptions | None = None) -> RawLog:
    """Opens any source that `read_events` accepts; `columns` selects what is copied from a stream."""
    if connection.name == "pyspark":
        from tfrecsession.events.spark.sources import open_on_spark  # Spark is an extra

        return open_on_spark(source, columns, connection, options or FileOptions())
    if options and options.first_given and not is_file(source):
        raise InputError(f"{options.first_given} is for text files, not for {_kind(source)}")
    if is_synthetic(source):
        return _open_shop(source, columns, connection)
    if isinstance(source, str) and source.startswith(PREFIX):
        return _store(open_tfds(source), columns, connection, source)
    if isinstance(source, str | os.PathLike):
        return open_path(source, columns, connection, options)
    if isinstance(source, ir.Table):
        if source.get_backend() is connection:
            return RawLog(number_rows(source), "Ibis table", connection)
        return _store(_stream(source), columns, connection, "Ibis table")
    if isinstance(source, pa.Table):
        return _open_arrow(source, columns, connection, "Arrow table")
    if type(source).__module__.split(".")[0] == "pandas" and hasattr(source, "columns"):
        return _open_arrow(_arrow_from_pandas(source, columns), columns, connection, "DataFrame")
    if type(source).__module__.split(".")[0] in ("pandas", "polars") and type(source).__name__ == "Series":
        raise InputError("a Series holds one column: must be a DataFrame with at least the items and the sessions")
    if hasattr(source, "__arrow_c_stream__"):
        name = type(source).__name__
        with reading(name):
            stream = pa.RecordBatchReader.from_stream(source)
        return _store(stream, columns, connection, name)
    if type(source).__module__.startswith("pyspark."):
        raise InputError("a PySpark DataFrame must be prepared on Spark: engine='spark'")
    raise InputError(
        f"cannot read events from {type(source).__name__}: must be a path, a pandas DataFrame, an Arrow table or "
        "RecordBatchReader, an Ibis table, 'tfds:...' or 'synthetic:...'"
    )


def _kind(source: Any) -> str:
    return repr(source) if isinstance(source, str) else f"a {type(source).__name__}"


def _needed(schema: pa.Schema, columns: Columns, source: str) -> list[str]:
    """Returns the columns to copy: those of the event table, or all where an event is an object in a list."""
    found = nesting({} if len(set(schema.names)) < len(schema) else list_types(schema), columns)
    if found and found.fields:
        return schema.names
    return list(dict.fromkeys([*columns.needed(schema.names, source), *may_hold_times(schema, columns)]))


def _stream(table: ir.Table) -> pa.RecordBatchReader:
    backend = table.get_backend()
    if backend.name != "duckdb":
        return table.to_pyarrow_batches()
    # Ibis 12 calls a method that DuckDB 2 no longer has. Executing the expression registers its memtables.
    backend.to_pyarrow(table.limit(0))
    return pa.RecordBatchReader.from_stream(backend.con.sql(backend.compile(table)))


def _open_shop(spec: str, columns: Columns, connection) -> RawLog:
    from tfrecsession.events.shop.shop import Shop

    shop = Shop.from_spec(spec)
    log = _store(shop.reader(), columns, connection, spec)
    log.content = shop.item_table()
    return log


def _open_arrow(table: pa.Table, columns: Columns, connection, source: str) -> RawLog:
    table = table.select(_needed(table.schema, columns, source))
    with reading(source):
        return RawLog(number_rows(register(table, connection)), source, connection)


def _store(stream: pa.RecordBatchReader, columns: Columns, connection, source: str) -> RawLog:
    """Copies the needed columns of a stream into a table of `connection`, because a log is read several times."""
    names = _needed(stream.schema, columns, source)
    with reading(source):
        log = register(stream, connection)
        stored = connection.create_table(gen_name("events"), number_rows(log.select(names)))
        connection.con.unregister(log.get_name())
    return RawLog(stored, source, connection)


def _arrow_from_pandas(frame, columns: Columns) -> pa.Table:
    if getattr(frame.columns, "nlevels", 1) > 1:
        raise InputError("DataFrame: its columns have several levels: give each one name, a text, before")
    levels = [name for name in frame.index.names if name is not None and name not in frame.columns]
    if levels:  # an index with a name, such as the times, is a column
        frame = frame.reset_index(level=levels)
    frame = frame.rename(columns=str)
    arrays = {}
    try:
        names = _needed(pa.Schema.from_pandas(frame.head(100), preserve_index=False), columns, "DataFrame")
    except (pa.ArrowException, TypeError, OverflowError, ValueError):  # objects of several types
        names = columns.needed(list(frame.columns), "DataFrame")
    for name in names:
        try:
            arrays[name] = pa.Array.from_pandas(frame[name])
        except (pa.ArrowException, TypeError, OverflowError):
            # Objects without a single Arrow type (1 beside "a", UUIDs) are ids, so their text is enough.
            texts = frame[name].map(_text).where(frame[name].notna(), None)
            arrays[name] = pa.array(texts, pa.string(), from_pandas=True)
    return pa.table(arrays)


def _text(value: Any) -> str:
    """Returns the text of a cell; a whole float beside texts loses its ".0", as in a column of floats."""
    try:
        return text_of(value, "id")
    except InputError:
        return str(value)
