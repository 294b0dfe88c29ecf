"""Times of any make -> int64 microseconds since 1970-01-01 UTC.

A time is a whole number or a fraction that counts from 1970 in s, ms, us or ns, an ISO 8601 text with or without a
zone, a date, or a datetime. Texts and datetimes without a zone are UTC.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from tfrecsession.errors import InputError

UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
PER_UNIT = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}  # microseconds
LARGEST = {"s": 1e11, "ms": 1e14, "us": 1e17}  # a number below it is this unit, any other is ns
SMALLEST = 1e8  # March 1973 in seconds; smaller numbers are rather positions, days or years
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
    """What a column of times can be read as; every expression is null in the rows where it is not that."""

    column: ir.Column
    whole: ir.IntegerValue = NO_TIME  # a count of some unit
    fraction: ir.FloatingValue = NO_NUMBER  # the same with decimals
    stamp: ir.IntegerValue = NO_TIME  # microseconds, read from a date
    zoned: ir.BooleanValue = NOT_ZONED  # whether the date came with a zone

    @property
    def number(self) -> ir.FloatingValue:
        """`whole` or `fraction`, near enough to tell a unit and a sign by."""
        return ibis.coalesce(self.whole.cast("float64"), self.fraction)

    @property
    def readable(self) -> ir.BooleanValue:
        return self.whole.notnull() | self.fraction.notnull() | self.stamp.notnull()

    @property
    def negative(self) -> ir.BooleanValue:
        return ibis.coalesce(self.number, self.stamp.cast("float64")) < 0


def read_times(column: ir.Value, source: str) -> TimeColumn:
    """The ways to read `column`, by its type. Raises InputError for a type that holds no times."""
    kind = column.type()
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
    if kind.is_timestamp() or "TIMESTAMP" in str(kind):  # nanoseconds with a zone are unknown to Ibis
        return TimeColumn(column, stamp=_thousandth(epoch_ns(column)))
    raise InputError(
        f"{source}: the time column {column.get_name()!r} is of type {kind}, which is no point in time: choose a "
        "column of numbers, datetimes or ISO 8601 texts with --time"
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
        # Two casts: a text without zone must not be read in the session's zone, nor an offset be ignored.
        stamp=ibis.cases(
            (zoned, epoch_us(dashed.try_cast("timestamp('UTC')"))),
            (text.re_search(NAIVE), epoch_us(dashed.try_cast("timestamp"))),
        ),
        zoned=zoned,
    )


def _finite(number: ir.FloatingValue) -> ir.FloatingValue:
    return ibis.ifelse(number.isnan() | number.isinf(), NO_NUMBER, number)


# DuckDB's own: Ibis has whole seconds only, and reads a zoned time in the zone of the session.
@ibis.udf.scalar.builtin
def epoch_us(moment) -> dt.int64: ...


@ibis.udf.scalar.builtin
def epoch_ns(moment) -> dt.int64: ...


def _thousandth(nanoseconds: ir.IntegerValue) -> ir.IntegerValue:
    """Exact: floor division goes through float64, which cannot hold today's nanoseconds."""
    return ((nanoseconds - nanoseconds % 1000) / 1000).round().cast("int64")


def summary(times: TimeColumn) -> dict[str, ir.Scalar]:
    """What must be known of a column before it can be converted, as aggregates of one scan."""
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
    """A reading that the type rules out is one null, which has no aggregates; this is a column of it."""
    return value if isinstance(value, ir.Column) else ibis.ifelse(times.column.isnull(), value, value)


def unit_like(number: float) -> str:
    """The unit in which a number that counts from 1970 lies nearest to our days."""
    return next((unit for unit, largest in LARGEST.items() if number < largest), "ns")


def check_unit(unit: str | None) -> None:
    if unit is not None and unit not in UNITS:
        raise InputError(f"--time-unit {unit}: choose one of {', '.join(UNITS)}")


def latest_time() -> int:
    """Microseconds; a log that claims a later time than a year from now is wrong."""
    return int(time.time() * 1e6) + YEAR


def all_in_range(facts: dict[str, float | None], unit: str | None, latest: int) -> bool:
    """Whether the ends that `summary` found lie within 1970 .. `latest`."""
    per_unit = PER_UNIT.get(unit, 1.0)
    lowest = min(facts["lowest_number"] or 0, facts["lowest_stamp"] or 0)
    highest = max((facts["highest_number"] or 0) * per_unit, facts["highest_stamp"] or 0)
    return lowest >= 0 and highest <= latest


def in_range(times: TimeColumn, unit: str | None, latest: int) -> ir.BooleanValue:
    """True for 1970 .. `latest`; null or false for all else. Asked before converting, which might overflow."""
    inside = [times.stamp.between(0, latest)]
    if unit is not None:
        highest = int(latest / PER_UNIT[unit])
        inside += [times.whole.between(0, highest), times.fraction.between(0, highest)]
    return ibis.coalesce(*inside, False)


def microseconds(times: TimeColumn, unit: str | None, latest: int) -> ir.IntegerValue:
    """int64, null where the time is missing, unreadable, negative or after `latest`."""
    ways = [times.stamp]
    if unit is not None:
        whole = _thousandth(times.whole) if unit == "ns" else times.whole * int(PER_UNIT[unit])
        fraction = (times.fraction * PER_UNIT[unit]).round().cast("int64")
        ways += [whole, fraction]
    return ibis.ifelse(in_range(times, unit, latest), ibis.coalesce(*ways), NO_TIME)
