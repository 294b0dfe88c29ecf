"""Conversion of times to int64 microseconds since 1970-01-01 UTC.

A time is a whole number or a fraction of s, ms, us or ns since 1970, an ISO 8601 text with or without a zone, a date,
or a datetime. Texts and datetimes without a zone are UTC.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from tfrecsession.errors import InputError

UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
PER_UNIT = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}  # microseconds
LARGEST = {"s": 1e11, "ms": 1e14, "us": 1e17}  # numbers below are read in this unit, all others in ns
SMALLEST = 1e8  # March 1973 in seconds; smaller numbers are more likely positions, days or years
YEAR = 366 * 86_400 * 1_000_000

DATE = r"\d{4}[-/]\d{1,2}[-/]\d{1,2}"
HOUR = r"[T ]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?"
NAIVE = rf"^{DATE}({HOUR})?$"
ZONED = rf"^{DATE}{HOUR} ?(Z|UTC|[+-]\d{{2}}(:?\d{{2}})?)$"

NO_TIME = ibis.null("int64")
NO_NUMBER = ibis.null("float64")
NOT_ZONED = ibis.literal(False)


@dataclass(frozen=True)
class TimeColumn:
    """The possible readings of a time column; each expression is null in the rows that it does not fit."""

    column: ir.Column
    whole: ir.IntegerValue = NO_TIME  # an integer count of some unit
    fraction: ir.FloatingValue = NO_NUMBER  # the same with decimals
    stamp: ir.IntegerValue = NO_TIME  # microseconds, parsed from a date
    zoned: ir.BooleanValue = NOT_ZONED  # whether the date has a zone

    @property
    def number(self) -> ir.FloatingValue:
        """float64: `whole` or `fraction`, exact enough to detect the unit and the sign."""
        return ibis.coalesce(self.whole.cast("float64"), self.fraction)

    @property
    def readable(self) -> ir.BooleanValue:
        return self.whole.notnull() | self.fraction.notnull() | self.stamp.notnull()

    @property
    def negative(self) -> ir.BooleanValue:
        return ibis.coalesce(self.number, self.stamp.cast("float64")) < 0


@dataclass(frozen=True)
class Reading:
    """How a time column is read; None: numbers by their size, texts as ISO 8601."""

    unit: str | None = None
    format: str | None = None  # strptime's directives


def read_times(column: ir.Value, source: str, format: str | None = None) -> TimeColumn:
    """Returns the possible readings of `column`, by its type. Raises InputError for a type that holds no times."""
    kind = column.type()
    if format is not None and (kind.is_string() or kind.is_integer()):
        text = column.cast("string").strip()
        return TimeColumn(text, stamp=epoch_us(try_strptime(text, format)))
    if kind.is_string():
        return _read_text(column)
    if kind.is_integer():
        return TimeColumn(column, whole=column.try_cast("int64"))
    if kind.is_floating() or kind.is_decimal():
        return TimeColumn(column, fraction=_finite(column.cast("float64")))
    if kind.is_date():
        return TimeColumn(column, stamp=epoch_us(column.cast("timestamp")))
    if kind.is_timestamp() and kind.scale != 9:
        return TimeColumn(column, stamp=epoch_us(column))
    if kind.is_timestamp() or "TIMESTAMP" in str(kind):  # Ibis does not know nanoseconds with a zone
        return TimeColumn(column, stamp=_thousandth(epoch_ns(column)))
    raise InputError(
        f"{source}: the time column {column.get_name()!r} is of type {kind}: must be numbers, datetimes or "
        "ISO 8601 texts; choose such a column with time=NAME"
    )


def _read_text(text: ir.StringValue) -> TimeColumn:
    text = text.strip()
    decimals = text.re_search(r"[.eE]")  # a database may round "1.7" to a whole number
    zoned = text.re_search(ZONED)
    dashed = text.replace("/", "-")  # Spark reads no slashes
    return TimeColumn(
        column=text,
        whole=ibis.ifelse(decimals, NO_TIME, text.try_cast("int64")),
        fraction=ibis.ifelse(decimals, _finite(text.try_cast("float64")), NO_NUMBER),
        # Two casts: a text without a zone must not be read in the database's zone, and no offset may be ignored.
        stamp=ibis.cases(
            (zoned, epoch_us(dashed.try_cast("timestamp('UTC')"))),
            (text.re_search(NAIVE), epoch_us(dashed.try_cast("timestamp"))),
        ),
        zoned=zoned,
    )


def _finite(number: ir.FloatingValue) -> ir.FloatingValue:
    return ibis.ifelse(number.isnan() | number.isinf(), NO_NUMBER, number)


# DuckDB functions: Ibis only has whole seconds, and reads a zoned time in the zone of the database session.
@ibis.udf.scalar.builtin
def epoch_us(moment) -> dt.int64: ...


@ibis.udf.scalar.builtin
def try_strptime(text, format) -> dt.timestamp: ...


@ibis.udf.scalar.builtin
def epoch_ns(moment) -> dt.int64: ...


def _thousandth(nanoseconds: ir.IntegerValue) -> ir.IntegerValue:
    """Divides by 1000 exactly. Floor division goes through float64, which cannot hold today's nanoseconds."""
    return ((nanoseconds - nanoseconds % 1000) / 1000).round().cast("int64")


def summary(times: TimeColumn) -> dict[str, ir.Scalar]:
    """Returns the aggregates that the conversion of a column needs, for one scan."""
    number, stamp = (_column(value, times) for value in (times.number, times.stamp))
    return {
        "numbers": number.count(),
        "lowest_number": number.min(),
        "lowest_positive": number.min(where=number >= 0),
        "highest_number": number.max(),
        "stamps": stamp.count(),
        "zoned": stamp.count(where=times.zoned),
        "lowest_stamp": stamp.min(),
        "highest_stamp": stamp.max(),
    }


def _column(value: ir.Value, times: TimeColumn) -> ir.Column:
    """Returns `value` as a column. A reading that the type rules out is a single null, which has no aggregates."""
    return value if isinstance(value, ir.Column) else ibis.ifelse(times.column.isnull(), value, value)


def unit_like(number: float) -> str:
    """Returns the unit in which `number`, counted from 1970, is nearest to the present."""
    return next((unit for unit, largest in LARGEST.items() if number < largest), "ns")


def likelier_unit(facts: Mapping, unit: str) -> str | None:
    """Returns the unit that both ends of a column of numbers look like, unless it is `unit` or cannot be told."""
    lowest, highest = facts["lowest_positive"], facts["highest_number"]
    if lowest is None or lowest < SMALLEST or unit_like(lowest) != unit_like(highest):
        return None
    return None if unit_like(lowest) == unit else unit_like(lowest)


def check_unit(unit: str | None) -> None:
    if unit is not None and unit not in UNITS:
        raise InputError(f"time_unit={unit!r}: choose one of {', '.join(UNITS)}")


def check_format(format: str | None, unit: str | None) -> None:
    if format is None:
        return
    if unit is not None:
        raise InputError(f"time_format={format!r} and time_unit={unit!r} exclude each other: texts or numbers")
    example = "'%m/%d/%Y %I:%M:%S %p' for 12/31/2019 11:59:00 PM"
    try:
        if not isinstance(format, str) or "%" not in format:
            raise ValueError("it has no directive")
        duckdb.execute("SELECT try_strptime('', ?)", [format])
    except (duckdb.Error, ValueError) as error:
        reason = str(error).partition("\n")[0].split(": ")[-1].rstrip("!")
        raise InputError(f"time_format={format!r}: must be a form such as {example} ({reason})") from None


def latest_time() -> int:
    """Returns the latest plausible time in microseconds: a year from now."""
    return int(time.time() * 1e6) + YEAR


def all_in_range(facts: dict[str, float | None], unit: str | None, latest: int) -> bool:
    """Returns whether the extremes found by `summary` lie within 1970 .. `latest`."""
    per_unit = PER_UNIT.get(unit, 1.0)
    lowest = min(facts["lowest_number"] or 0, facts["lowest_stamp"] or 0)
    highest = max((facts["highest_number"] or 0) * per_unit, facts["highest_stamp"] or 0)
    return lowest >= 0 and highest <= latest


def in_range(times: TimeColumn, unit: str | None, latest: int) -> ir.BooleanValue:
    """Returns true for 1970 .. `latest`, else null or false. Checked before converting, which might overflow."""
    inside = [times.stamp.between(0, latest)]
    if unit is not None:
        highest = int(latest / PER_UNIT[unit])
        inside += [times.whole.between(0, highest), times.fraction.between(0, highest)]
    return ibis.coalesce(*inside, False)


def microseconds(times: TimeColumn, unit: str | None, latest: int) -> ir.IntegerValue:
    """Converts to int64 microseconds, null where the time is missing, unreadable, negative or after `latest`."""
    readings = [times.stamp]
    if unit is not None:
        whole = _thousandth(times.whole) if unit == "ns" else times.whole * int(PER_UNIT[unit])
        fraction = (times.fraction * PER_UNIT[unit]).round().cast("int64")
        readings += [whole, fraction]
    return ibis.ifelse(in_range(times, unit, latest), ibis.coalesce(*readings), NO_TIME)
