"""The reader that turns any click log into a checked event table, with one-line errors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import ibis.expr.types as ir

from tfrecsession.errors import InputError
from tfrecsession.events import times as clock
from tfrecsession.events.checks import (
    Check,
    absurd_time,
    detect_unit,
    missing_id,
    mixed_formats,
    unread_time,
)
from tfrecsession.events.context import context_columns, context_counts
from tfrecsession.events.ids import id_text, inexact_ids, whole_floats, without_zero
from tfrecsession.events.nested import flatten
from tfrecsession.events.null_values import NULLABLE, describe_nulls, without_nulls
from tfrecsession.events.null_values import null_values as known_nulls
from tfrecsession.events.quoting import broken_lines, check_quote, check_swallowed_rows
from tfrecsession.events.raw_log import ROW, FileOptions, RawLog
from tfrecsession.events.row_filter import filter_rows
from tfrecsession.events.row_order import KEY, check_key, ranked
from tfrecsession.events.schema import Columns, EventTable
from tfrecsession.events.sources import connection_for, is_synthetic, open_log
from tfrecsession.events.unnamed_times import check_unnamed_times

IDS = ("item", "session", "user", "event")


def read_events(
    source: Any,
    columns: Columns | None = None,
    *,
    connection: Any = None,
    format: str | None = None,
    names: Sequence[str] | None = None,
    encoding: str | None = None,
    time_unit: str | None = None,
    time_format: str | None = None,
    drop_bad_rows: bool = False,
    null_values: str | Iterable | None = None,
    quote: str | None = None,
    itemless: str | None = None,
) -> EventTable:
    """Reads the events of `source`, in any supported form, into one `EventTable`.

    Args:
        source: a path of .csv .tsv .jsonl .ndjson .json (an object per line) or .txt (a session per line, items
            separated by white space, in time order), each also .gz or .zst; GroupLens' u.data or ratings.dat, with the
            columns user, item, rating and time; a .parquet file; a folder of such files, or a pattern such as
            parts/*.csv, read in the order of their names; a pandas DataFrame; a pyarrow Table or
            RecordBatchReader or any other Arrow stream; an Ibis table; "synthetic:items=1000,..."
            (`tfrecsession.events.shop.shop.Shop`); or "tfds:movielens/100k-ratings", a data set that TensorFlow
            Datasets has prepared on this machine. A stream is copied into a table of `connection`, once.
        columns: names of the log's columns (time="none": the log has no times), a condition on its rows and a second
            sort key; default: found by their usual names.
        connection: an Ibis DuckDB connection, or a `SparkConnection` for sources that Spark `reads`; default: DuckDB
            in memory.
        format: csv, tsv, jsonl, parquet, txt or grouplens; default: by the suffix.
        names: the columns of a CSV or TSV file without a header, in order; "" for one that is not needed.
        encoding: of text files, e.g. latin-1, cp1252, utf-16; default: UTF-8.
        time_unit: s, ms, us or ns; default: detected from the size of the numbers.
        time_format: the form of times that are texts, as for `strptime`: "%m/%d/%Y %I:%M:%S %p"; default: ISO 8601.
        null_values: ids that stand for no item, session or user; [] for none. Default: NA, NULL, nan, \\N and the like.
            An event without a user is anonymous, one without an item or session is a bad row.
        quote: of CSV and TSV, the mark of quoted fields, or "none" for a file without quotes. Default: the double
            quotation mark, and a field that holds whole rows is an error.
        itemless: events without an item, such as searches: "keep" them, with a null item, or "drop" them, which
            `missing` counts; None: they are bad rows.
        drop_bad_rows: leave out rows without item, session or usable time and report them in `notes`; default: raise.

    Raises:
        InputError: the source is not a usable click log.
    """
    clock.check_unit(time_unit)
    clock.check_format(time_format, time_unit)
    check_quote(quote)
    nulls = known_nulls(null_values)
    columns = columns or Columns()
    connection = connection or connection_for(source)
    if is_synthetic(source):
        time_unit = "us"
    names = None if names is None else tuple(names)
    log = open_log(source, columns, connection, FileOptions(format, names, encoding, quote))
    log = flatten(log, columns)
    found = columns.resolve(log.columns, log.source)
    if found.time is None and not columns.timeless:
        check_unnamed_times(log, found)
    rows_read = None
    if columns.where is not None:
        if log.delimiter is not None and log.fetch(**broken_lines(log))["broken"]:
            check_swallowed_rows(log)
        log = replace(log, delimiter=None)  # checked before rows are filtered
        log, rows_read = filter_rows(log, columns.where)
    form = clock.Reading(time_unit, time_format)
    events = _event_table(log, found, form, drop_bad_rows, nulls, itemless)
    events.rows_read = rows_read
    return events


def _event_table(
    log: RawLog,
    columns: Columns,
    form: clock.Reading,
    drop: bool,
    nulls: tuple[str, ...],
    itemless: str | None = None,
) -> EventTable:
    names = {part: getattr(columns, part) for part in IDS if getattr(columns, part) is not None}
    written = {part: id_text(log.table[name], log.source, log.declared.get(name)) for part, name in names.items()}
    ids = {part: without_nulls(text, nulls) if part in NULLABLE else text for part, text in written.items()}
    undeclared = [part for part, name in names.items() if log.text and name not in log.declared]
    floats = {part: name for part, name in names.items() if log.table[name].type().is_floating()}
    if form.format is not None and columns.time is None:
        raise InputError(f"{log.source}: time_format={form.format!r}: no time column found; name it with time=NAME")
    times = clock.read_times(log.table[columns.time], log.source, _engine_form(log, form)) if columns.time else None
    typed = columns.context if columns.order is None else (*columns.context, columns.order)
    facts = log.fetch(
        rows=log.table.count(),
        **{part: text.count() for part, text in ids.items()},
        **{f"{part} written": written[part].count() for part in ids},
        **{f"{part} zeros": ids[part].count(where=ids[part].endswith(".0")) for part in undeclared},
        **broken_lines(log),
        **{f"{part} inexact": inexact_ids(log.table[name]) for part, name in floats.items()},
        **(clock.summary(times) if times else {}),
        **context_counts(log, typed),
    )
    if not facts["rows"] and columns.where is not None:
        raise InputError(f"{log.source}: no row is left after where={columns.where!r}")
    if not facts["rows"]:
        raise InputError(f"{log.source}: there are no events in it (no row of data)")

    if facts.get("broken"):
        check_swallowed_rows(log)
    for part in undeclared:
        if facts[f"{part} zeros"] and not log.fetch(**whole_floats(ids[part]))["texts"]:
            text = without_zero(written[part])  # a column of floats
            ids[part] = without_nulls(text, nulls) if part in NULLABLE else text
            facts[part] = log.fetch(known=ids[part].count())["known"]

    notes = [_inexact(name, facts[f"{part} inexact"]) for part, name in floats.items() if facts[f"{part} inexact"]]
    failed = [
        missing_id(part, names[part], written[part], ids[part])
        for part in ("item", "session")
        if part in names and facts[part] < facts["rows"] and not (part == "item" and itemless)
    ]
    if itemless and not facts["item"]:
        raise InputError(f"{log.source}: no event has an item in column {names['item']!r}")
    missing = {part: facts["rows"] - facts[part] for part in NULLABLE if part in names and facts[part] < facts["rows"]}
    if "user" in missing and facts["user"] < facts["user written"]:
        notes.append(describe_nulls(log, "user", names["user"], written["user"], ids["user"]))
    if times:
        time, failures = _time(log, columns.time, times, facts, form, notes)
        failed += failures
    else:
        time = log.table[ROW]
        order = "the rows" if columns.order is None else f"column {columns.order!r}"
        notes.append(f"no time column: the events are taken in the order of {order}")

    context = context_columns(log, typed, facts)
    key = {}
    if columns.order is not None:
        key = {KEY: context[columns.order]}
        check_key(key[KEY], columns.order, log.source)
    context = {name: context[name] for name in columns.context}
    table = log.table.select(context | key | {"item": ids["item"], "time": time, "order": log.table[ROW]} | ids)
    if key:
        table = ranked(log, table, timed=times is not None)
    if failed:
        table = _without_bad_rows(log, table, failed, notes, drop)
    if itemless == "drop":
        table = table.filter(table.item.notnull())
    return EventTable(
        table=table,
        connection=log.connection,
        source=log.source,
        timed=times is not None,
        context=columns.context,
        content=log.content,
        notes=notes,
        missing=missing,
    )


def _engine_form(log: RawLog, form: clock.Reading) -> str | None:
    if form.format is None or log.connection.name != "pyspark":
        return form.format
    from tfrecsession.events.spark.connection import java_form  # Spark is an extra

    return java_form(form.format)


def _time(
    log: RawLog, column: str, times: clock.TimeColumn, facts: dict, form: clock.Reading, notes: list[str]
) -> tuple[ir.IntegerValue, list[Check]]:
    """Returns the time in microseconds, null in rows that fail a check, and the failed checks."""
    unit = form.unit
    if facts["numbers"] and facts["stamps"]:
        raise mixed_formats(log, column, times)
    if unit is None and facts["lowest_positive"] is not None:
        unit = detect_unit(log, column, times.number, facts["lowest_positive"], facts["highest_number"])
        notes.append(f"column {column!r} is read as {clock.UNITS[unit]} since 1970 (time_unit={unit!r})")
    elif facts["lowest_positive"] is not None and facts["lowest_positive"] >= clock.SMALLEST:
        likely = {clock.unit_like(facts[end]) for end in ("lowest_positive", "highest_number")}
        if unit not in likely and len(likely) == 1:
            notes.append(
                f"column {column!r} is read as {clock.UNITS[unit]} since 1970, as time_unit={unit!r} says, but its "
                f"numbers look like {clock.UNITS[likely.pop()]}"
            )
    if 0 < facts["zoned"] < facts["stamps"]:
        notes.append(f"column {column!r} has times with and without a zone: those without are read as UTC")
    latest = clock.latest_time()
    failed = []
    if facts["numbers"] + facts["stamps"] < facts["rows"]:
        failed.append(unread_time(column, times, form.format))
    if not clock.all_in_range(facts, unit, latest):
        failed.append(absurd_time(column, times, unit, latest))
    return clock.microseconds(times, unit, latest), failed


def _without_bad_rows(log: RawLog, table: ir.Table, failed: list[Check], notes: list[str], drop: bool) -> ir.Table:
    findings = [check.findings(log) for check in (failed if drop else failed[:1])]
    if not drop:
        form = "give the form of the times with time_format=, " if "ISO 8601" in findings[0] else ""
        wrong = next((note for note in notes if "look like" in note), None) if failed[0].part == "time" else None
        if wrong is not None:
            raise InputError(f"{log.source}: {wrong}: {findings[0]}; leave time_unit= out to have it detected")
        keep = "; if they are searches and the like, keep them with itemless='keep'" if failed[0].part == "item" else ""
        raise InputError(
            f"{log.source}: {findings[0]}; fix them, {form}or leave them out with drop_bad_rows=True{keep}"
        )
    notes += [f"left out: {finding}" for finding in findings]
    good = table.filter([table[part].notnull() for part in {check.part for check in failed}])
    if not log.connection.to_pyarrow(good.count()).as_py():
        raise InputError(f"{log.source}: no event is left without the bad rows: {'; '.join(findings)}")
    return good


def _inexact(name: str, count: int) -> str:
    return (
        f"column {name!r} holds floats, and {count:,} of its ids are too large for exact floats: different ids may "
        "have merged; write ids as whole numbers or texts"
    )
