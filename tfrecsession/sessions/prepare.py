"""Preparation of a click log as a data set on disk."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any

from tfrecsession.errors import InputError
from tfrecsession.events.raw_log import reading
from tfrecsession.events.readers import read_events
from tfrecsession.events.schema import EventTable
from tfrecsession.events.sources import is_synthetic
from tfrecsession.events.spark.spark_context import SparkSettings, check_spark
from tfrecsession.sessions import notes
from tfrecsession.sessions.coded_log import Log, code
from tfrecsession.sessions.content_kinds import checked_content
from tfrecsession.sessions.encode import encode_again, encode_split, with_own_events
from tfrecsession.sessions.filters import (
    drop_duplicates,
    drop_repeats,
    keep_newest,
    long_and_frequent,
    set_itemless_apart,
)
from tfrecsession.sessions.hold_out import STEP, hold_out
from tfrecsession.sessions.item_columns import ItemContents, content_notes
from tfrecsession.sessions.item_table import read_item_table
from tfrecsession.sessions.manifest import described_joint, manifest
from tfrecsession.sessions.options import Options
from tfrecsession.sessions.scratch_db import ScratchDatabase
from tfrecsession.sessions.sessionize import gap_for, session_names, sessionize
from tfrecsession.sessions.split import Split, has_dates_alone, session_table, split_sessions
from tfrecsession.sessions.step_counts import PrepareProgress, StepCounts
from tfrecsession.sessions.store import JOINT, MARK, SPLITS
from tfrecsession.sessions.table_words import ITEMS, USERS, TableWords
from tfrecsession.sessions.users import check_features
from tfrecsession.sessions.vocabulary import items_beyond, make_vocabulary, with_unseen
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
    time_format: str | None = None,
    time_zone: str | None = None,
    columns: Sequence[str] | None = None,
    encoding: str | None = None,
    where: str | None = None,
    order: str | None = None,
    gap: str | None = None,
    drop_repeats: bool = False,
    min_item_support: int | None = None,
    min_session_length: int | None = None,
    max_session_length: int | None = None,
    one_pass: bool = False,
    test_span: str | None = None,
    validation_span: str | None = None,
    split_by: str = "start",
    test_input: Any = None,
    hold_out: str | None = None,
    unknown_items: str | None = None,
    itemless: str | None = None,
    keep_duplicates: bool = False,
    drop_bad_rows: bool = False,
    null_values: str | Sequence | None = None,
    quote: str | None = None,
    items: Any = None,
    items_key: str | None = None,
    items_columns: Sequence[str] | None = None,
    items_encoding: str | None = None,
    content: Sequence[str] | Mapping[str, str] | None = None,
    unseen_items: str | None = None,
    users: Any = None,
    users_key: str | None = None,
    users_columns: Sequence[str] | None = None,
    users_encoding: str | None = None,
    user_content: Sequence[str] | Mapping[str, str] | None = None,
    engine: str = "duckdb",
    memory: str = "4GB",
    spark_master: str | None = None,
    spark_conf: Mapping[str, Any] | None = None,
    spark: Any = None,
    overwrite: bool = False,
    progress: PrepareProgress | None = None,
) -> dict:
    """Prepares the click log `source` as the data set `out`, a folder that `read_prepared` opens.

    Args:
        source: any source of `read_events`, which explains item, time, session, user, event, context, format,
            encoding, time_unit, time_format, drop_bad_rows, null_values and quote.
        time_zone: the time zone of the hour, weekday and month that models read as context, such as "Europe/Berlin".
            The times themselves stay as they are. Default: UTC.
        columns: the columns of CSV or TSV files without a header, in order.
        where: a condition in SQL, such as "quantity > 0"; other rows are not read. It is DuckDB's SQL on both engines.
        order: a column that orders events of equal time, such as a step or a position; without times, all events.
        gap: cut sessions where a user (in a log with sessions: a session) pauses for longer; 30s, 30m, 1h, 2d. Default:
            30m in a log without sessions, else none.
        drop_repeats: keep only the first of consecutive events of a session with the same item.
        min_item_support, min_session_length: in events; applied until nothing changes, unless one_pass. Default: 5 (1
            with test_input) and 2.
        max_session_length: keep only the newest events of longer sessions.
        test_span, validation_span: the end of the log and the span before it, by each session's start (or end, see
            split_by): a duration, a share of the sessions such as 10%, or 0d for none. Default: 1d and 1d; validation
            is none with test_input or without times.
        test_input: a log of test sessions from an existing split; cut into sessions like `source`, else unchanged.
        hold_out: split by users instead of by time. "users": test holds all sessions of a share of the users,
            validation those of another share; the spans are shares of the users (default: 10% each). "last-session":
            test holds the last session of each user with two and more, validation the one before it of users with
            three and more, or nothing with validation_span="0d". Sessions without a user are in training.
            `tfrecsession describe` says what each split leaks.
        unknown_items: "drop" items that training does not have from validation and test, and then sessions that became
            too short, or "keep" them as id 1. Default: drop; keep with test_input. Those of validation are kept apart,
            for a refit, see `Data.coded_for`.
        itemless: events without an item, such as searches and filters: "keep" them as steps that only models with
            context read, and that are no targets, or "drop" them, counted in the steps. They count for no filter.
            Default: they are bad rows, see drop_bad_rows.
        keep_duplicates: keep rows that agree in session, user, item, time and event.
        items: a table of what the items are made of: a path (.csv .tsv .dat .txt .jsonl .parquet, texts also as .gz and
            .zst), a pandas or Arrow table, or a dict of columns. An item has one row, or a row per value of a list.
        items_key: its column of item ids; default: the name of the log's, or a usual one.
        items_columns: the columns of a text file without a header, in order.
        items_encoding: of text files; default: UTF-8.
        content: its columns to keep, each NAME or NAME:KIND, or a dict; the kinds are category, list, words, number,
            vector, characters, image and audio. Default: all columns, with the kinds found by their values.
        unseen_items: items of the table without an event in training: "add" them to the catalogue with a count of 0,
            so that a model that reads content can recommend them, or "leave" them out. Default: leave.
        users: a table of features of the users, such as their age and country, in any form that `items` takes. Users
            who are in the table alone are kept: a model that reads `user_content` knows them by their features.
        users_key, users_columns, users_encoding: as those of `items`.
        user_content: its columns to keep, as `content`, of all kinds but image.
        engine: "duckdb", on this machine, or "spark" (extra `spark`, Java 17), with the same result for logs that
            outgrow one machine. Spark's executors read Parquet, CSV, TSV, PySpark data frames, and Parquet at hdfs://,
            s3a://, ... addresses; DuckDB first converts all other sources to Parquet. The driver and the executors
            must see `out`. The driver holds the catalogue and counts, never the log.
        memory: what the engine may use before it spills to disk; on a Spark cluster, what the driver may use.
        spark_master, spark_conf: where a new Spark session runs (default: local[*]) and its settings. "sc://host:15002"
            is a server of Spark Connect, which must see the files of the log and `out` at the same paths.
        spark: a SparkSession to use and leave running, classic or of Spark Connect; default: that of a PySpark source,
            the active one, or a new one.
        overwrite: replace a prepared data set at `out`, at the very end.
        progress: called with the name of each step when it begins, and with the share done if known.

    Returns:
        The content of `dataset.json`.

    Raises:
        InputError: an invalid option or log; nothing is left behind.
    """
    if not isinstance(out, str | os.PathLike):
        raise InputError(f"out: must be the folder to create, prepare(LOG, FOLDER), not {type(out).__name__}")
    options = Options(
        item=item,
        time=time,
        session=session,
        user=user,
        event=event,
        context=_names(context),
        format=format,
        time_unit=time_unit,
        time_format=time_format,
        time_zone=time_zone,
        columns=columns,
        encoding=encoding,
        where=where,
        order=order,
        gap=gap,
        drop_repeats=drop_repeats,
        min_item_support=min_item_support,
        min_session_length=min_session_length,
        max_session_length=max_session_length,
        one_pass=one_pass,
        test_span=test_span,
        validation_span=validation_span,
        split_by=split_by,
        test_input=test_input,
        hold_out=hold_out,
        unknown_items=unknown_items,
        itemless=itemless,
        keep_duplicates=keep_duplicates,
        drop_bad_rows=drop_bad_rows,
        null_values=null_values,
        quote=quote,
        items=items,
        items_key=items_key,
        items_columns=None if items_columns is None else tuple(items_columns),
        items_encoding=items_encoding,
        content=content,
        unseen_items=unseen_items,
        users=users,
        users_key=users_key,
        users_columns=None if users_columns is None else tuple(users_columns),
        users_encoding=users_encoding,
        user_content=user_content,
        engine=engine,
        memory=memory,
    ).checked()
    if unseen_items is not None and items is None and not is_synthetic(source):
        raise InputError(f"unseen_items={unseen_items!r}: needs an item table, given as items=TABLE")
    settings = SparkSettings(spark_master, spark_conf, spark)
    if engine != "spark" and settings.first_given:
        raise InputError(f"{settings.first_given} is for engine='spark', and the engine is {engine}")
    with staged(out, marker=MARK, overwrite=overwrite) as folder:
        if progress and engine == "spark":
            progress("starting Spark", None)
        db, writer = _engine(source, options, settings, folder / "work")
        with db:
            info = _Preparation(source, options, db, writer, folder, progress).run()
        shutil.rmtree(folder / "work")
        (folder / MARK).write_text(json.dumps(info, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return info


def _contents_of_log(table: EventTable) -> ItemContents:
    """Returns the content that came with a log, such as that of the synthetic shop."""
    if table.content is None:
        raise InputError("unseen_items: needs an item table, given as items=TABLE")
    return ItemContents.of(read_item_table(table.content, "item"), {})


def _names(context: Any) -> tuple:
    """Returns the names of context columns; one name alone is one column."""
    if isinstance(context, str | Integral):
        return (context,)
    return tuple(context)


def _engine(
    source: Any, options: Options, settings: SparkSettings, folder: Path
) -> tuple[ScratchDatabase, type[DatasetWriter]]:
    if options.engine == "duckdb":
        return ScratchDatabase(folder, options.memory), DatasetWriter
    check_spark(settings)
    from tfrecsession.sessions.spark import SparkScratchDatabase, SparkWriter  # PySpark is an extra

    return SparkScratchDatabase(folder, options.memory, settings, (source, options.test_input)), SparkWriter


class _Preparation:
    """One run of `prepare`, step by step."""

    def __init__(
        self,
        source: Any,
        options: Options,
        db: ScratchDatabase,
        writer: type[DatasetWriter],
        folder: Path,
        progress: PrepareProgress | None,
    ):
        self.source, self.options, self.db, self.writer = source, options, db, writer
        self.folder, self.progress = folder, progress
        self.notes: list[str] = []

    def run(self) -> dict:
        contents, features = self._contents(ITEMS), self._contents(USERS)
        table, log, step_counts = self._sessions(self.source)
        given = None if self.options.test_input is None else self._given_test(log)
        splits = self._split(log, step_counts)
        if given:
            splits["test"] = given

        step_counts.begin("vocabulary")
        train = splits["train"]
        vocabulary = self.db.store(
            make_vocabulary(train.events.semi_join(train.sessions, "session"), log.names["item"])
        )
        if contents is None and self.options.unseen_items is not None:
            contents = _contents_of_log(table)
        if self.options.unseen_items == "add":
            vocabulary = self.db.store(with_unseen(vocabulary, contents.items))
        cut = {name: split if name == "train" else with_own_events(split, self.db) for name, split in splits.items()}
        encoding = {"unknown": self.options.unknown_items, "length": self.options.min_session_length, "db": self.db}
        splits = {name: encode_split(split, vocabulary, **encoding) for name, split in cut.items()}
        step_counts.begin("writing items")
        writer = self.writer(self.folder, log, self.db)
        items = writer.write_items(vocabulary, table.content, contents)
        if contents is not None:
            self.notes += content_notes(contents, contents.rows(vocabulary.item.to_pyarrow().to_pylist()))
        if features is not None:
            writer.write_users(features, splits["train"])
            self.notes += content_notes(features, [0])
        counts = {name: writer.write_split(split) for name, split in splits.items()}
        for name, split in splits.items():
            counts[name]["items"] = split.step_counts.steps[-1]["items"]
        joint = self._joint(cut, vocabulary, items, encoding, log, table.content, contents)
        self.notes += notes.silent_steps(log, counts)
        steps = [*step_counts.steps, *(step for split in splits.values() for step in split.step_counts.steps)]
        self.notes += notes.lost_events(steps, log.names, self.options)
        self.notes += notes.dropped_events(steps, self.options) + notes.tiny_splits(counts, self.options)
        return manifest(
            source=table.source,
            timed=log.timed,
            options=self.options,
            writer=writer,
            items=items,
            splits=counts,
            steps=steps,
            notes=list(dict.fromkeys(self.notes)),
            joint=joint,
        )

    def _joint(self, cut: dict[str, Split], vocabulary, size: int, encoding: dict, log: Log, content, contents):
        """Writes the items that validation has and train lacks, and the later splits with them, for a refit.

        size: of the vocabulary. content, contents: as in `write_items`.

        Returns the entry of `dataset.json`; None: there is no validation split.
        """
        db, validation = self.db, cut["validation"]
        if not db.count(validation.sessions):
            return None
        further = db.store(items_beyond(vocabulary, size, validation.events, log.names["item"]))
        if not db.count(further):
            return {"items": 0}
        (self.folder / JOINT).mkdir()
        writer = self.writer(self.folder / JOINT, log, db)
        if contents is not None:
            contents = replace(contents, unreadable={})  # what cannot be read is noted for the items of train
        items = writer.write_items(further, content, contents, may_lack=True)
        both = db.store(vocabulary.union(further))
        counts = {}
        for name in SPLITS[1:]:
            split = encode_again(cut[name], both, **encoding)
            counts[name] = writer.write_split(split) | {"items": split.step_counts.steps[-1]["items"]}
        return described_joint(items, counts, writer, log.timed)

    def _contents(self, words: TableWords) -> ItemContents | None:
        """Reads the table of items or of users, before the log: a mistake in it is found in seconds."""
        options = self.options
        if (source := getattr(options, words.table)) is None:
            return None
        kinds = checked_content(getattr(options, words.content), words.content)
        table = read_item_table(
            source,
            getattr(options, words.key),
            kinds,
            names=getattr(options, words.columns),
            encoding=getattr(options, words.encoding),
            log_item=getattr(options, words.noun),
            drop_bad_rows=options.drop_bad_rows,
            words=words,
        )
        contents = ItemContents.of(table, kinds or {})
        if words is USERS:
            check_features(contents)
        return contents

    def _sessions(self, source: Any, split: str | None = None) -> tuple[EventTable, Log, StepCounts]:
        """Reads a log and assigns each of its events to a session."""
        options, db = self.options, self.db
        step_counts = StepCounts(self.progress, split)
        step_counts.begin("reading")
        with db.in_row_order():
            table = read_events(
                source,
                options.log_columns,
                connection=db.reader(source, options.files, options.log_columns),
                format=options.format,
                names=options.columns,
                encoding=options.encoding,
                time_format=options.time_format,
                time_unit=options.time_unit,
                drop_bad_rows=options.drop_bad_rows,
                null_values=options.null_values,
                quote=options.quote,
                itemless=options.itemless,
            )
            self.options = replace(options.for_log(table.source, table.timed), gap=gap_for(table, options.gap))
            with reading(table.source):
                raw = db.store(table.table)
        step_counts.source = table.source
        self.notes += table.notes
        log = code(table, raw, db)
        counts = {f"{part}s": db.count(log.names[part]) for part in ("item", "session") if part in log.names}
        step = "reading"
        if table.rows_read is not None:
            step_counts.record(step, events=table.rows_read)
            step = f"where {options.where}"
        step_counts.record(step, events=db.count(log.events), **counts)
        if table.missing:
            step_counts.record_nulls(table.missing)
        if log.timed and not options.keep_duplicates:
            log = drop_duplicates(log, db, step_counts, options.itemless == "keep")
        log = sessionize(log, self.options.gap, db, step_counts, self.notes)
        if options.drop_repeats:
            log = drop_repeats(log, db, step_counts)
        if options.max_session_length is not None:
            log = keep_newest(log, options.max_session_length, db, step_counts)
        if options.itemless == "keep" and "item" in table.missing:
            log = set_itemless_apart(log, db, step_counts)
        return table, log, step_counts

    def _given_test(self, main: Log) -> Split:
        """Reads the given test split, unchanged."""
        so_far, self.notes = self.notes, []
        _, log, step_counts = self._sessions(self.options.test_input, "test")
        self.notes = so_far + [f"test: {note}" for note in self.notes]
        for kind, in_main, in_test in (
            ("times", main.timed, log.timed),
            ("sessions", "session" in main.names, "session" in log.names),
        ):
            if in_main != in_test:
                has, lacks = (main, log) if in_main else (log, main)
                raise InputError(
                    f"{has.source} has a column of {kind} and {lacks.source} has none: must be in both or neither"
                )
        sessions = self.db.store(session_names(log, session_table(log, log.events)))
        return Split("test", log, log.events, sessions, step_counts)

    def _split(self, log: Log, step_counts: StepCounts) -> dict[str, Split]:
        """Filters the log and splits it by time, by the order of its rows, or by users."""
        options, db = self.options, self.db
        kept = long_and_frequent(
            log, options.min_session_length, options.min_item_support, options.one_pass, db, step_counts
        )
        step = STEP.get(options.hold_out) or ("split by time" if log.timed else "split by order")
        step_counts.begin(step)
        sessions = db.store(session_names(log, session_table(log, kept.of(log.events))))
        if log.timed:
            self.notes += notes.equal_times(sessions, options.order, db)
        self.notes += notes.single_sessions(sessions, log, db)
        events = log.events.semi_join(kept.item, "item")
        if options.hold_out is not None:
            cuts, found = hold_out(log, sessions, options, db)
            self.notes += found
            branches = {name: step_counts.branch(name, may_be_empty=not db.count(cuts[name])) for name in SPLITS}
            return {name: Split(name, log, events, cuts[name], branches[name], step=step) for name in SPLITS}
        validation, test = options.spans
        dates = has_dates_alone(log, db)
        if dates and (validation.microseconds or test.microseconds):
            self.notes.append("the times are dates without a time of day: a span of 1d is one date")
        cuts = split_sessions(sessions, validation, test, options.split_by, db, log.source, dates)
        splits = {}
        for name, span in zip(SPLITS, (None, validation, test), strict=True):
            advice = ""
            if (span is None or not span.empty) and not db.count(cuts[name]):
                advice = notes.ways_to_split(log, sessions, options, dates, name, db)
            branch = step_counts.branch(name, may_be_empty=span is not None and span.empty)
            splits[name] = Split(name, log, events, cuts[name], branch, advice)
        self.notes += notes.unseen_users(splits, log, db)
        return splits
