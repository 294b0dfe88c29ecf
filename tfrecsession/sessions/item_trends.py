"""Counts of the recent events of each item, which decay with time: what `trend` of a model reads. Needs no TensorFlow.

    c_h(i, t) = sum over the events of item i before t of 2^(-(t - time of the event) / half_life_h)

Counts change at updates alone, every `every` days before and after `now`, the start of the last training session; its
last event is no measure, since one long session may go on for days. A session sees the counts of the last update before
its start. Update 0 is `now`; those of training are below 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from tfrecsession.errors import InputError
from tfrecsession.sessions.vocabulary import FIRST

DAY = 86_400_000_000  # microseconds
MIDDLE = 1 << 23  # the key of an item and an update is item * SPAN + update + MIDDLE
SPAN = 2 * MIDDLE
NOTHING = -1  # a key before all others


@dataclass(frozen=True)
class Updates:
    """The times at which counts are updated.

    Attributes:
        now: the time of update 0, in microseconds since 1970.
        every: days between two updates.
    """

    now: int
    every: float

    def last_before(self, times: np.ndarray) -> np.ndarray:
        """Returns the number of the last update at or before each time, int32 [n].

        Raises:
            InputError: there are more updates than can be numbered.
        """
        found = np.floor((np.asarray(times, np.int64) - self.now) / (self.every * DAY))
        if len(found) and np.abs(found).max() >= MIDDLE:
            raise InputError(
                f"trend_every={self.every}: must be larger, the log has {np.abs(found).max():,.0f} updates of it"
            )
        return found.astype(np.int32)

    def of_sessions(self, times: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """Returns the update that each event's session sees, int32 [events].

        Args:
            times: int64 [events], microseconds since 1970.
            offsets: int64 [sessions + 1].
        """
        starts = np.repeat(offsets[:-1], np.diff(offsets))
        return self.last_before(np.asarray(times)[starts])


@dataclass(frozen=True)
class TrendLog:
    """Decayed counts of a log after each update in which they changed.

    Attributes:
        keys: int64 [entries], ascending: item and update before its events, see MIDDLE.
        sums: float32 [entries, half-lives], the counts at the update after these events.
    """

    keys: np.ndarray
    sums: np.ndarray

    @classmethod
    def of(cls, chunks: Iterable[tuple[np.ndarray, np.ndarray]], updates: Updates, half_lives) -> TrendLog:
        """Counts events.

        Args:
            chunks: (values int32 [events], times int64 [events]) each; ids below 2 are no items.
            updates: the times of the updates.
            half_lives: days, as many as counts.
        """
        half_lives = np.asarray(half_lives, np.float64)
        keys, sums = np.zeros(0, np.int64), np.zeros((0, len(half_lives)))
        for values, times in chunks:
            known = np.asarray(values) >= FIRST
            values, times = np.asarray(values, np.int64)[known], np.asarray(times, np.int64)[known]
            update = updates.last_before(times).astype(np.int64)
            left = (update + 1) * updates.every - (times - updates.now) / DAY  # days until the update after the event
            weights = 0.5 ** (np.maximum(left, 0)[:, None] / half_lives)
            keys, index = np.unique(np.concatenate([keys, values * SPAN + update + MIDDLE]), return_inverse=True)
            weights = np.concatenate([sums, weights])
            sums = np.stack([np.bincount(index, column, len(keys)) for column in weights.T], axis=1)
        item, update = keys // SPAN, keys % SPAN - MIDDLE
        begins = np.flatnonzero(np.diff(item, prepend=-1))
        nth = np.arange(len(keys)) - np.repeat(begins, np.diff(begins, append=len(keys)))
        order = np.argsort(nth, kind="stable")
        bounds = np.concatenate([[0], np.cumsum(np.bincount(nth))]) if len(nth) else np.zeros(1, np.int64)
        for first, last in zip(bounds[1:-1], bounds[2:], strict=True):  # the second entry of each item, the third, ...
            entry = order[first:last]
            days = (update[entry] - update[entry - 1]) * updates.every
            sums[entry] += sums[entry - 1] * 0.5 ** (days[:, None] / half_lives)
        return cls(keys, sums.astype(np.float32))

    def at_now(self, size: int, updates: Updates, half_lives) -> np.ndarray:
        """Returns the counts of every id at update 0, float32 [size, half-lives]; all events must be before it."""
        counts = np.zeros((size, len(half_lives)), np.float32)
        if len(self.keys):
            item, update = self.keys // SPAN, self.keys % SPAN - MIDDLE
            last = np.flatnonzero(np.diff(item, append=-1))
            days = -(update[last] + 1) * updates.every
            counts[item[last]] = self.sums[last] * 0.5 ** (days[:, None] / np.asarray(half_lives, np.float64))
        return counts


def chunks_of(arrays) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields items and times of sessions: (int32 [events], int64 [events]), shard by shard where they are in files."""
    for values, _, times in arrays.pieces("times"):
        yield values, np.asarray(times, np.int64)


def end_of(arrays) -> int:
    """Returns the time right after the start of the last session, in microseconds since 1970; 0 without events."""
    latest = (
        int(times[offsets[:-1][np.diff(offsets) > 0]].max()) + 1
        for _, offsets, times in arrays.pieces("times")
        if len(times)
    )
    return max(latest, default=0)


def advanced(counts: np.ndarray, now: int, ids: np.ndarray, times: np.ndarray, half_lives) -> tuple:
    """Adds newer events to counts.

    Args:
        counts: float32 [size, half-lives], at `now`.
        now: microseconds since 1970.
        ids: int [events]; those below 2 are no items.
        times: int64 [events]. Events before `now` are left out, since they are counted already.
        half_lives: days.

    Returns:
        The counts right after the last of these events, float32 [size, half-lives]; that time; and the number of the
        events that were counted.
    """
    half_lives = np.asarray(half_lives, np.float64)
    ids, times = np.asarray(ids, np.int64), np.asarray(times, np.int64)
    end = max(int(times.max(initial=now - 1)) + 1, now)
    added = (ids >= FIRST) & (times >= now)
    weights = 0.5 ** (((end - times[added]) / DAY)[:, None] / half_lives)
    found = counts * 0.5 ** ((end - now) / DAY / half_lives)
    found += np.stack([np.bincount(ids[added], column, len(counts)) for column in weights.T], axis=1)
    return found.astype(np.float32), end, int(added.sum())


def check_times(sessions, argument: str) -> None:
    """Raises InputError if the log of these sessions has no times."""
    if not sessions.timed or "times" not in sessions.arrays.columns:
        raise InputError(
            f"{argument}: needs the times of the events, and this log has none: leave it out, or prepare the log with "
            "its column of times"
        )
