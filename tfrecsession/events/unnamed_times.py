"""Time columns that have no usual name and were not named: they are proposed, so that no log loses its times unseen."""

from __future__ import annotations

import re
import time
from datetime import UTC, date, datetime
from typing import Any

import ibis.expr.datatypes as dt
import pyarrow as pa

from tfrecsession.errors import InputError
from tfrecsession.events import times as clock
from tfrecsession.events.raw_log import RawLog, reading
from tfrecsession.events.schema import USUAL_NAMES, Columns

SAMPLE = 1_000  # rows that are looked at
FIRST_NUMBER = 946_684_800  # seconds: 2000-01-01; smaller numbers are prices, positions, ids
NAMES = re.compile(r"time|date|stamp|created|when|(^|_)(ts|at|dt)($|_)", re.IGNORECASE)  # of numbers that are times
ISO = re.compile(f"{clock.NAIVE}|{clock.ZONED}")
FORMATS = (
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %I:%M %p",
    "%m/%d/%Y %I:%M:%S %p",
    "%m/%d/%Y",
    "%d/%m/%Y %H:%M",
    "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y",
    "%a %b %d %H:%M:%S %z %Y",
)
DAYS = "%Y%m%d"  # 20200131, in columns whose name is that of a time


def may_hold_times(schema: pa.Schema, columns: Columns) -> list[str]:
    """Returns the columns to look at in a log without a time column, by their types."""
    if columns.timeless or columns.resolve(schema.names, "").time is not None:
        return []
    kinds = pa.types
    tests = kinds.is_timestamp, kinds.is_date, kinds.is_integer, kinds.is_floating, kinds.is_string
    fits = (field.name for field in schema if any(test(field.type) for test in (*tests, kinds.is_large_string)))
    return [name for name in fits if schema.names.count(name) == 1]


def check_unnamed_times(log: RawLog, found: Columns) -> None:
    """Raises InputError that proposes the columns that hold times, if the log has any beside those that are named."""
    named = {found.item, found.session, found.user, found.event, found.order, *found.context}
    types = {name: log.table[name].type() for name in log.columns if name not in named}
    types = {name: kind for name, kind in types.items() if _may_be_time(kind)}
    if not types:
        return
    with reading(log.source):
        sample = log.connection.to_pyarrow(log.table.select(*types).limit(SAMPLE))
    proposals = []
    for name, column in zip(sample.column_names, sample.columns, strict=True):
        kind = types[name]
        if kind.is_timestamp() or kind.is_date():
            form = "" if column.null_count < len(column) else None
        else:
            form = _form([value for value in column.to_pylist() if value not in (None, "")], name)
        if form is not None:
            proposals.append(f"time={name!r}" + (f" with time_format={form!r}" if form else ""))
    if proposals:
        names = ", ".join(USUAL_NAMES["time"])
        holds = " or ".join(proposals)
        raise InputError(
            f"{log.source}: no time column found ({names}), but a column holds times: give {holds}; or time='none' "
            "to take the events in the order of the rows"
        )


def _may_be_time(kind: dt.DataType) -> bool:
    number = kind.is_integer() or kind.is_floating()
    return kind.is_timestamp() or kind.is_date() or kind.is_string() or number


def _form(values: list[Any], name: str) -> str | None:
    """Returns the form of times that are no ISO 8601 texts or numbers, "" for these, None if they are no times."""
    if not values:
        return None
    texts = [str(value).strip() for value in values]
    if NAMES.search(name) and _are_numbers(texts):
        return ""
    if all(ISO.match(text) for text in texts):
        return "" if all(map(_is_recent, map(_iso, texts))) else None
    forms = (*FORMATS, DAYS) if NAMES.search(name) else FORMATS
    return next((form for form in forms if all(_is_recent(_parsed(text, form)) for text in texts)), None)


def _are_numbers(texts: list[str]) -> bool:
    """Returns whether all texts are numbers of one unit, from the year 2000 to a year from now."""
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        return False
    units = {clock.unit_like(number) for number in numbers}
    if len(units) > 1:
        return False
    seconds = clock.PER_UNIT[units.pop()] / 1e6
    latest = time.time() + clock.YEAR / 1e6
    return all(FIRST_NUMBER <= number * seconds <= latest for number in numbers)


def _iso(text: str) -> datetime | None:
    try:
        day = re.split(r"[-/T ]", text)[:3]
        return datetime(*map(int, day), tzinfo=UTC)
    except ValueError:
        return None


def _parsed(text: str, form: str) -> datetime | None:
    try:
        moment = datetime.strptime(text, form)
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC)


def _is_recent(moment: datetime | None) -> bool:
    return moment is not None and date(1970, 1, 1) <= moment.date() <= date.fromtimestamp(time.time() + 366 * 86_400)
