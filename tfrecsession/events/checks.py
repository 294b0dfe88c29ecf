"""Checks for unusable rows: counted in one scan, looked up only if there are any."""

from __future__ import annotations

from dataclasses import dataclass

import ibis
import ibis.expr.types as ir

from tfrecsession.errors import InputError
from tfrecsession.events.raw_log import ROW, RawLog
from tfrecsession.events.times import SMALLEST, TimeColumn, in_range, unit_like


@dataclass(frozen=True)
class Check:
    """One reason why rows are unusable: they have no usable `part` in `column`, because `why`."""

    part: str
    column: str
    bad: ir.BooleanValue
    why: ir.StringValue

    def findings(self, log: RawLog) -> str:
        """Describes the bad rows: their count, the first one and its value."""
        row = log.table[ROW]
        value = ibis.coalesce(log.table[self.column].cast("string"), "")
        found = log.fetch(
            count=log.table.count(where=self.bad),
            row=row.min(where=self.bad),
            value=value.argmin(row, where=self.bad),
            why=self.why.argmin(row, where=self.bad),
        )
        value = f": {_short(found['value'])}" if found["value"] else ""
        rows = "row has" if found["count"] == 1 else "rows have"
        return (
            f"{found['count']:,} {rows} no usable {self.part} in column {self.column!r}, "
            f"the first is row {found['row']}, which {found['why']}{value}"
        )


def missing_id(part: str, column: str, text: ir.StringValue, known: ir.StringValue) -> Check:
    """Returns the check for rows without an id. known: the ids, null where `text` is a null value such as NA."""
    why = ibis.ifelse(text.isnull() | (text.strip() == ""), "is empty", "is a null value (see null_values=)")
    return Check(part, column, known.isnull(), why)


def unread_time(column: str, times: TimeColumn, format: str | None = None) -> Check:
    empty = ibis.coalesce(times.column.cast("string"), "") == ""
    form = "is neither a number nor an ISO 8601 date" if format is None else f"is not of the form {format}"
    why = ibis.ifelse(empty, "is empty", form)
    return Check("time", column, ~times.readable, why)


def absurd_time(column: str, times: TimeColumn, unit: str | None, latest: int) -> Check:
    why = ibis.ifelse(times.negative, "is before 1970", "is later than a year from now")
    return Check("time", column, times.readable & ~in_range(times, unit, latest), why)


def mixed_formats(log: RawLog, column: str, times: TimeColumn) -> InputError:
    """Returns the error for a column that holds both numbers and dates."""
    value, row = log.table[column].cast("string"), log.table[ROW]
    sides = {"number": times.number.notnull(), "date": times.stamp.notnull()}
    found = log.fetch(
        **{f"{name} row": row.min(where=side) for name, side in sides.items()},
        **{name: value.argmin(row, where=side) for name, side in sides.items()},
    )
    return InputError(
        f"{log.source}: the time column {column!r} mixes numbers (row {found['number row']}: "
        f"{_short(found['number'])}) and dates (row {found['date row']}: {_short(found['date'])}): must be all one form"
    )


def detect_unit(log: RawLog, column: str, number: ir.FloatingValue, lowest: float, highest: float) -> str:
    """Returns the unit that fits both extremes of a column. Raises InputError if they differ or are too small."""
    units = unit_like(lowest), unit_like(highest)
    if lowest >= SMALLEST and units[0] == units[1]:
        return units[0]
    value, row = log.table[column].cast("string"), log.table[ROW]
    low, high = number == lowest, number == highest
    found = log.fetch(
        low=value.argmin(row, where=low),
        high=value.argmin(row, where=high),
        low_row=row.min(where=low),
        high_row=row.min(where=high),
    )
    low, high = _short(found["low"]), _short(found["high"])
    if lowest < SMALLEST:
        raise InputError(
            f"{log.source}: the time column {column!r} holds {low} (row {found['low_row']}), too small to tell "
            "s, ms, us and ns apart: give the unit, e.g. time_unit='s'"
        )
    raise InputError(
        f"{log.source}: the time column {column!r} mixes units: {low} (row {found['low_row']}) looks like {units[0]}, "
        f"{high} (row {found['high_row']}) like {units[1]}: must be one unit, or give it, e.g. time_unit='ms'"
    )


def _short(value: str) -> str:
    return repr(value if len(value) <= 60 else value[:57] + "...")
