"""The scratch database and the writer on Spark."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from tfrecsession.errors import InputError
from tfrecsession.events.raw_log import FileOptions
from tfrecsession.events.schema import Columns
from tfrecsession.events.spark.connection import SparkConnection
from tfrecsession.events.spark.sources import reads
from tfrecsession.events.spark.spark_context import SparkSettings, spark_session
from tfrecsession.sessions.scratch_db import ScratchDatabase, connect
from tfrecsession.sessions.split import Split
from tfrecsession.sessions.vocabulary import UNKNOWN
from tfrecsession.sessions.write import DatasetWriter, columns_on_disk, events_of


class SparkScratchDatabase(ScratchDatabase):
    """A scratch database with Parquet tables in `folder`, in a new or an existing Spark session."""

    def __init__(self, folder: Path, memory: str, settings: SparkSettings, sources: Sequence[Any]):
        self._stored, self._folder, self._memory, self._reader = 0, folder, memory, None
        folder.mkdir()
        with ExitStack() as stack:
            session = stack.enter_context(spark_session(settings, sources, folder / "spark", memory))
            self.connection = SparkConnection.over(session, folder / "tables")
            self._ending = stack.pop_all()

    def reader(self, source: Any, options: FileOptions, columns: Columns) -> Any:
        if reads(source, options, columns):
            return self.connection
        self._reader = self._reader or connect(self._folder / "duckdb", self._memory)
        return self._reader

    @contextmanager
    def in_row_order(self) -> Iterator[None]:
        """Does nothing: rows are numbered as they are read."""
        yield

    def drop(self, *tables: ir.Table) -> None:
        for table in tables:
            self.connection.drop(table.get_name())

    def numbered(self, table: ir.Table, keys: list[str], name: str) -> ir.Table:
        """Sorts by ranges of the keys, each on one executor. A window without groups would bring all rows to one."""
        return self.connection.numbered(self.connection.frame(table).orderBy(*keys), name)

    def __exit__(self, kind, error, trace) -> None:
        if self._reader is not None:
            self._reader.disconnect()
        self._ending.__exit__(kind, error, trace)
        reason = " ".join(str(error).split())
        for symptom, advice in (
            ("No space left on device", "no space left on the device where out= or Spark's own files lie"),
            (
                "OutOfMemoryError",
                "Spark ran out of memory: give more with memory=, on a cluster with "
                "spark_conf={'spark.executor.memory': '8g'}",
            ),
        ):
            if error is not None and not isinstance(error, InputError) and symptom in reason:
                raise InputError(advice) from error


@ibis.udf.scalar.builtin
def timestamp_micros(microseconds) -> dt.timestamp: ...


class SparkWriter(DatasetWriter):
    """A writer whose executors write the parts. The driver reads them once, by row group, for the fingerprint."""

    def _write_parts(self, split: Split, sessions: ir.Table, parts: list[tuple[int, int]]) -> int:
        written = self.folder / split.name / "written"
        frame = self.db.connection.frame(self._nested(split, sessions, parts))
        # A folder with one file per part: Spark gives the rows of a part to one task, in this order.
        frame = frame.repartition(len(parts), "part").sortWithinPartitions("part", "number").drop("number")
        frame.write.partitionBy("part").option("compression", "zstd").parquet(str(written))
        for number in range(len(parts)):
            split.step_counts.begin(f"writing {split.name}", number / len(parts))
            part = self.part(split, number)
            if files := list((written / f"part={number}").glob("*.parquet")):
                (file,) = files
                os.replace(file, part)
                self._take_file(part, split.name)
            else:
                self._write(_no_sessions(self.schema), split.name, part)
        shutil.rmtree(written)
        events = split.events.semi_join(split.sessions, "session")
        return self.db.numbers(events, events=events.count(where=events.id == UNKNOWN))["events"]

    def _nested(self, split: Split, sessions: ir.Table, parts: list[tuple[int, int]]) -> ir.Table:
        """Returns a row per session as on disk, with its `number` and `part`.

        Lists are ordered by sorting structs that begin with the columns that order events.
        """
        events, columns = columns_on_disk(events_of(sessions, split.events), split.log)
        event = {"time": events.time, "order": events.order} | {name: events[of] for name, of in columns.items()}
        lists = events.group_by("number").agg(events=ibis.struct(event).collect())
        lists = lists.mutate(events=lists.events.sort())
        lists = lists.select("number", **{name: lists.events.map(ibis._[name]) for name in columns})
        starts = [low for low, _ in parts]
        part = sum((sessions.number >= low).cast("int64") for low in starts) - 1
        rows = sessions.select("number", "user", session="label", start=timestamp_micros(sessions.start), part=part)
        return rows.inner_join(lists, "number").select(*self.schema.names, "number", "part")

    def _take_file(self, part: Path, prefix: str) -> None:
        with pq.ParquetFile(part) as file:
            for group in range(file.num_row_groups):
                self.take(file.read_row_group(group).select(self.schema.names).cast(self.schema), prefix)


def _no_sessions(schema: pa.Schema) -> pa.Table:
    """Returns a table with one empty chunk, where `empty_table` has none: the digest counts lists."""
    return pa.Table.from_arrays([pa.array([], kind) for kind in schema.types], schema=schema)
