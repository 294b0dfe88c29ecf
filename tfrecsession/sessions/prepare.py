"""A click log -> a prepared data set on disk."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfrecsession.errors import InputError
from tfrecsession.events.raw_log import reading
from tfrecsession.events.readers import read_events
from tfrecsession.events.schema import EventTable
from tfrecsession.events.spark.spark_context import SparkSettings, check_spark
from tfrecsession.sessions.coded_log import Log, code
from tfrecsession.sessions.encode import encode_split
from tfrecsession.sessions.filters import drop_duplicates, drop_repeats, long_and_frequent
from tfrecsession.sessions.manifest import manifest
from tfrecsession.sessions.options import Options
from tfrecsession.sessions.scratch_db import Workbench
from tfrecsession.sessions.sessionize import gap_for, session_names, sessionize
from tfrecsession.sessions.split import Split, session_table, split_sessions
from tfrecsession.sessions.step_counts import Ledger, Progress
from tfrecsession.sessions.store import MARK, SPLITS
from tfrecsession.sessions.vocabulary import make_vocabulary
from tfrecsession.sessions.write import DatasetWriter
from tfrecsession.staging import staged


def prepare(
    source: Any,
    out: str | os.PathLike,
    *,
    item: str | None = None,
    time: str | None = None,
    session: str | None = None,
    user: str | None = None,
    event: str | None = None,
    context: Sequence[str] = (),
    format: str | None = None,
    time_unit: str | None = None,
    gap: str | None = None,
    drop_repeats: bool = False,
    min_item_support: int | None = None,
    min_session_length: int | None = None,
    one_pass: bool = False,
    test_span: str | None = None,
    validation_span: str | None = None,
    split_by: str = "start",
    test_input: Any = None,
    unknown_items: str | None = None,
    keep_duplicates: bool = False,
    drop_bad_rows: bool = False,
    engine: str = "duckdb",
    memory: str = "4GB",
    spark_master: str | None = None,
    spark_conf: Mapping[str, Any] | None = None,
    spark: Any = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict:
    """Turn the click log `source` into the prepared data set `out`, a folder that `read_prepared` opens.

    Args:
        source: whatever `read_events` takes; item, time, session, user, event, context, format, time_unit and
            drop_bad_rows are explained there.
        gap: cut sessions where a user (in a log with sessions: a session) pauses for longer; 30s, 30m, 1h, 2d. Default:
            30m in a log without sessions, else none.
        drop_repeats: of consecutive events of a session with the same item, keep the first.
        min_item_support, min_session_length: in events; applied until nothing changes, or one_pass. Default: 5 (1 with
            test_input) and 2.
        test_span, validation_span: the latest stretch of the log and the one before it, by each session's start
            (split_by: or end): a duration, a share of the sessions such as 10%, or 0d for none. Default: 1d and 1d;
            validation is none with test_input or without times.
        test_input: the log of the test sessions, where somebody else has split; read and cut into sessions as `source`
            is, and else taken as it is.
        unknown_items: "drop" what training never saw from validation and test, and then the sessions that became too
            short, or "keep" it as id 1. Default: drop; keep with test_input.
        keep_duplicates: keep rows that agree in session, user, item, time and event.
        engine: "duckdb", on this machine, or "spark" (extra `spark`, Java 17), which makes the same data set of logs
            that outgrow one. It reads Parquet, CSV, TSV, PySpark data frames and hdfs://, s3a://, ... addresses of
            Parquet on its executors; what else `read_events` takes DuckDB turns into Parquet for it first. `out` lies
            where driver and executors see it. The driver holds the catalogue and counts, never the log.
        memory: what the engine may use before it moves work to disk; on a Spark cluster what the driver may.
        spark_master, spark_conf: where a new Spark session runs (default: local[*]) and its settings.
        spark: a SparkSession to use and leave running; default: that of a PySpark source, or the active one, or a new
            one.
        overwrite: replace a prepared data set at `out`, at the very end.
        progress: called with the name of each step as it begins, and with the share done where that is known.

    Returns:
        The content of `dataset.json`.

    Raises:
        InputError: what cannot be done; nothing is left behind.
    """
    options = Options(
        item=item,
        time=time,
        session=session,
        user=user,
        event=event,
        context=tuple(context),
        format=format,
        time_unit=time_unit,
        gap=gap,
        drop_repeats=drop_repeats,
        min_item_support=min_item_support,
        min_session_length=min_session_length,
        one_pass=one_pass,
        test_span=test_span,
        validation_span=validation_span,
        split_by=split_by,
        test_input=test_input,
        unknown_items=unknown_items,
        keep_duplicates=keep_duplicates,
        drop_bad_rows=drop_bad_rows,
        engine=engine,
        memory=memory,
    ).checked()
    settings = SparkSettings(spark_master, spark_conf, spark)
    if engine != "spark" and settings.first_given:
        raise InputError(f"{settings.first_given} is for --engine spark, and the engine is {engine}")
    with staged(out, marker=MARK, overwrite=overwrite) as folder:
        if progress and engine == "spark":
            progress("starting Spark", None)
        bench, writer = _engine(source, options, settings, folder / "work")
        with bench:
            info = _Preparation(source, options, bench, writer, folder, progress).run()
        shutil.rmtree(folder / "work")
        (folder / MARK).write_text(json.dumps(info, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return info


def _engine(
    source: Any, options: Options, settings: SparkSettings, folder: Path
) -> tuple[Workbench, type[DatasetWriter]]:
    if options.engine == "duckdb":
        return Workbench(folder, options.memory), DatasetWriter
    check_spark(settings)
    from tfrecsession.sessions.spark import SparkWorkbench, SparkWriter  # PySpark is an extra

    return SparkWorkbench(folder, options.memory, settings, (source, options.test_input)), SparkWriter


class _Preparation:
    """One run of `prepare`, station by station."""

    def __init__(
        self,
        source: Any,
        options: Options,
        bench: Workbench,
        writer: type[DatasetWriter],
        folder: Path,
        progress: Progress | None,
    ):
        self.source, self.options, self.bench, self.writer = source, options, bench, writer
        self.folder, self.progress = folder, progress
        self.notes: list[str] = []

    def run(self) -> dict:
        table, log, ledger = self._sessions(self.source)
        given = None if self.options.test_input is None else self._given_test(log)
        splits = self._split(log, ledger)
        if given:
            splits["test"] = given

        ledger.begin("vocabulary")
        train = splits["train"]
        vocabulary = self.bench.store(
            make_vocabulary(train.events.semi_join(train.sessions, "session"), log.names["item"])
        )
        splits = {
            name: encode_split(
                split, vocabulary, self.options.unknown_items, self.options.min_session_length, self.bench
            )
            for name, split in splits.items()
        }
        ledger.begin("writing items")
        writer = self.writer(self.folder, log, self.bench)
        items = writer.write_items(vocabulary, table.content)
        counts = {name: writer.write_split(split) for name, split in splits.items()}
        for name, split in splits.items():
            counts[name]["items"] = split.ledger.steps[-1]["items"]
        return manifest(
            source=table.source,
            timed=log.timed,
            options=self.options,
            writer=writer,
            items=items,
            splits=counts,
            steps=[*ledger.steps, *(step for split in splits.values() for step in split.ledger.steps)],
            notes=list(dict.fromkeys(self.notes)),
        )

    def _sessions(self, source: Any, split: str | None = None) -> tuple[EventTable, Log, Ledger]:
        """Read a log and give each of its events a session."""
        options, bench = self.options, self.bench
        ledger = Ledger(self.progress, split)
        ledger.begin("reading")
        with bench.in_row_order():
            table = read_events(
                source,
                options.columns,
                connection=bench.reader(source, options.format),
                format=options.format,
                time_unit=options.time_unit,
                drop_bad_rows=options.drop_bad_rows,
            )
            self.options = replace(options.for_log(table.source, table.timed), gap=gap_for(table, options.gap))
            with reading(table.source):
                raw = bench.store(table.table)
        ledger.source = table.source
        self.notes += table.notes
        log = code(table, raw, bench)
        counts = {f"{part}s": bench.count(log.names[part]) for part in ("item", "session") if part in log.names}
        ledger.record("reading", events=bench.count(log.events), **counts)
        if log.timed and not options.keep_duplicates:
            log = drop_duplicates(log, bench, ledger)
        log = sessionize(log, self.options.gap, bench, ledger, self.notes)
        if options.drop_repeats:
            log = drop_repeats(log, bench, ledger)
        return table, log, ledger

    def _given_test(self, main: Log) -> Split:
        """The test split that somebody else made, as it is."""
        notes, self.notes = self.notes, []
        _, log, ledger = self._sessions(self.options.test_input, "test")
        self.notes = notes + [f"test: {note}" for note in self.notes]
        for what, ours, theirs in (
            ("times", main.timed, log.timed),
            ("sessions", "session" in main.names, "session" in log.names),
        ):
            if ours != theirs:
                has, lacks = (main, log) if ours else (log, main)
                raise InputError(f"{has.source} has a column of {what} and {lacks.source} has none: prepare both alike")
        sessions = self.bench.store(session_names(log, session_table(log, log.events)))
        return Split("test", log, log.events, sessions, ledger)

    def _split(self, log: Log, ledger: Ledger) -> dict[str, Split]:
        """Filter the log and cut it by time."""
        options, bench = self.options, self.bench
        kept = long_and_frequent(
            log, options.min_session_length, options.min_item_support, options.one_pass, bench, ledger
        )
        ledger.begin("split by time")
        sessions = bench.store(session_names(log, session_table(log, kept.of(log.events))))
        events = log.events.semi_join(kept.item, "item")
        validation, test = options.spans
        cuts = split_sessions(sessions, validation, test, options.split_by, bench, log.source)
        return {
            name: Split(
                name, log, events, cuts[name], ledger.branch(name, may_be_empty=span is not None and span.empty)
            )
            for name, span in zip(SPLITS, (None, validation, test), strict=True)
        }
