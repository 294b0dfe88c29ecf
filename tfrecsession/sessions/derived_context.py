"""Context that follows from the times and the order of events: gap, hour, weekday, month and position.

The same integer arithmetic runs on NumPy arrays, of a log, and on tensors, of a request. A time is int64, microseconds
since 1970-01-01 UTC; 0 is missing. A code is 0 where the value is missing, otherwise 2 + the value.
"""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from tfrecsession.errors import InputError

SECOND = 1_000_000  # microseconds
HOUR, DAY = 3_600 * SECOND, 86_400 * SECOND
SIZES = {"gap": 32, "hour": 24, "weekday": 7, "month": 12, "position": 32}  # name -> count of values
TIMED = ("gap", "hour", "weekday", "month")
GAPS = SECOND * 2 ** np.arange(31, dtype=np.int64)  # bin 0: below 1 s; bin b: from 2^(b - 1) s on
YEARS = 1970, 2101  # whose changes of the clock are known
CYCLE = 146_097  # days of 400 years, after which the calendar repeats
MONTHS = np.arange("1970-01", "2370-01", dtype="datetime64[M]").astype("datetime64[D]").astype(np.int64)  # first days


class ZoneTable(NamedTuple):
    """The offsets of a time zone: from `begins[i]` on, UTC + `offsets[i]`; int64 microseconds each."""

    begins: np.ndarray
    offsets: np.ndarray


@functools.lru_cache
def zone_table(name: str | None) -> ZoneTable:
    """Returns the offsets of a time zone; None is UTC.

    Raises:
        InputError: there is no such time zone.
    """
    if name is None:
        return ZoneTable(np.zeros(1, np.int64), np.zeros(1, np.int64))
    try:
        zone = ZoneInfo(name)
    except (ValueError, OSError, KeyError, TypeError, AttributeError):  # ZoneInfoNotFoundError is a KeyError
        raise InputError(f"time_zone={name!r}: must be the name of a time zone, e.g. Europe/Berlin or UTC") from None

    def offset(second: int) -> int:
        return int(datetime.fromtimestamp(second, zone).utcoffset().total_seconds())

    first, last = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in YEARS)
    begins, offsets = [first], [offset(first)]
    for day in range(first, last, 86_400):
        if offset(day + 86_400) != offsets[-1]:
            low, high = day, day + 86_400  # the clock changes within this day
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(middle) == offsets[-1] else (low, middle)
            begins.append(high)
            offsets.append(offset(high))
    return ZoneTable(np.array(begins, np.int64) * SECOND, np.array(offsets, np.int64) * SECOND)


def of_numpy(kind: str, time, before, position, zone: ZoneTable) -> np.ndarray:
    """Returns the int32 codes of events of a log.

    Args:
        kind: a key of `SIZES`.
        time, before: int64, the time of each event and of the event before it in its session; 0: missing.
        position: int, the number of events before it in its session.
        zone: the time zone of hour, weekday and month.
    """

    def search(edges, values):
        return np.searchsorted(edges, values, side="right")

    return np.asarray(_codes(kind, time, before, position, zone, np.where, search, np.minimum)).astype(np.int32)


def of_tensors(kind: str, time, before, position, zone: ZoneTable):
    """Returns the int32 codes of the events of requests; the arguments are tensors, otherwise as in `of_numpy`."""
    import tensorflow as tf  # reading a data set does not need it

    def search(edges, values):
        # `tf.searchsorted` adds many small ops, for edges of several rows
        row = tf.reshape(values, [1, -1])
        found = tf.raw_ops.UpperBound(sorted_inputs=edges[None], values=row, out_type=tf.int64)
        return tf.reshape(found, tf.shape(values))

    def offset_of(times):
        if len(zone.offsets) == 1:
            return zone.offsets[0]
        return tf.gather(tf.constant(zone.offsets), search(zone.begins[1:], times))

    zero = tf.constant(0, tf.int64)
    time, before, position = (
        None if values is None else tf.cast(values, tf.int64) for values in (time, before, position)
    )

    def where(mask, codes, _):
        return tf.where(mask, codes, zero)

    return tf.cast(_codes(kind, time, before, position, zone, where, search, tf.minimum, offset_of), tf.int32)


def _codes(kind, time, before, position, zone, where, search, minimum, offset_of=None):
    if kind == "position":
        return minimum(position, SIZES["position"] - 1) + 2
    if kind == "gap":
        return where((time != 0) & (before != 0), search(GAPS, time - before) + 2, 0)
    local = time + (zone.offsets[search(zone.begins[1:], time)] if offset_of is None else offset_of(time))
    if kind == "hour":
        value = local // HOUR % 24
    elif kind == "weekday":
        value = (local // DAY + 3) % 7  # 1970-01-01 was a Thursday, and Monday is 0
    else:
        value = (search(MONTHS, local // DAY % CYCLE) - 1) % 12
    return where(time != 0, value + 2, 0)
