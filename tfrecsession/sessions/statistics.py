"""Statistics of a training split, which the defaults of models follow."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from tfrecsession.sessions.store import SessionArrays

NAMES = (
    *("sessions", "events", "items", "session_length", "events_per_item", "density", "repeats", "turnover", "order"),
    "days",
)
DAY = 86_400_000_000  # microseconds
SAMPLE = 200_000  # newest events that `order` reads
SHUFFLED = 1.05  # order up to which sessions might as well be shuffled
ORDERED = 2.5  # from which the next item depends on the newest ones


class Statistics:
    """Statistics of a split, usually train. Each is computed at its first use and kept.

        data.statistics.session_length

    Args:
        arrays: the sessions, in start-time order.
        timed: whether the log has times.

    Attributes:
        sessions, events, items: counts.
    """

    def __init__(self, arrays: SessionArrays, timed: bool = True):
        self._arrays, self._timed = arrays, timed
        self.sessions, self.events, self.items = len(arrays), arrays.events, len(arrays.items)

    @property
    def session_length(self) -> float:
        """The mean number of events of a session; 0 without sessions."""
        return self.events / max(self.sessions, 1)

    @property
    def length_in_words(self) -> str:
        """The mean number of events of a session as the reason of a default."""
        return f"a session has {self.session_length:.1f} events on average"

    @property
    def events_per_item(self) -> float:
        """The mean number of events of an item."""
        return self.events / max(self.items, 1)

    @property
    def density(self) -> float:
        """The share of all (session, item) pairs that the log has."""
        return self._pairs / max(self.sessions * self.items, 1)

    @cached_property
    def repeats(self) -> float:
        """The share of the events after the first of their session whose item the session had before."""
        return (self._known - self._pairs) / max(self._known - self._beginnings, 1)

    @cached_property
    def turnover(self) -> float:
        """The share of the newest tenth of the events whose items the oldest half of the events does not have.

        Near 0 where the catalogue stays; high where items live shorter than the log is long, as news do.
        """
        old, newest = self.events // 2, self.events - -(-self.events // 10)  # a tenth, rounded up
        is_old = np.zeros(self.items + 2, bool)
        first = known = fresh = 0
        for values, *_ in self._arrays.pieces():
            is_old[values[: max(old - first, 0)]] = True
            late = values[max(newest - first, 0) :]
            late = late[late > 1]
            known, fresh = known + len(late), fresh + np.count_nonzero(~is_old[late])
            first += len(values)
        return fresh / max(known, 1)

    @cached_property
    def order(self) -> float:
        """How much the order of a session says: 1 where its events might as well be shuffled, above 1 otherwise.

        The share of pairs of consecutive items that are consecutive in another session too, divided by the same share
        of pairs that are further apart in their session; of the newest sessions that have at least three events.
        """
        offsets = self._arrays.offsets
        offsets = offsets[np.searchsorted(offsets, offsets[-1] - SAMPLE) :]  # of the newest sessions
        values = np.asarray(self._arrays.values[offsets[0] : offsets[-1]])
        length, first = np.diff(offsets), offsets[:-1] - offsets[0]  # [sessions]
        session = np.repeat(np.arange(len(length)), length)  # [events]
        second = np.flatnonzero((length[session] >= 3) & (np.arange(len(values)) > first[session]))
        session = session[second]  # [pairs]
        rng = np.random.default_rng(0)
        gap = rng.integers(2, length[session])
        start = first[session] + rng.integers(0, length[session] - gap)
        consecutive = _pairs(values, second - 1, second, session)
        apart = _pairs(values, start, start + gap, session)
        return float(_shared(consecutive, consecutive) / _shared(apart, consecutive))

    @property
    def is_shuffled(self) -> bool:
        """Whether the order of a session says nothing."""
        return self.order <= SHUFFLED

    @property
    def is_ordered(self) -> bool:
        """Whether the next item depends on the newest events more than on the rest of the session."""
        return self.order >= ORDERED

    @property
    def order_in_words(self) -> str:
        """The order of sessions as the reason of a default."""
        return f"consecutive items recur {self.order:.1f} times as often as other pairs of a session"

    @cached_property
    def days(self) -> float | None:
        """Days from the first to the last event; None for a log without times."""
        if not self._timed or not self.events or "times" not in self._arrays.columns:
            return None
        ends = [(times.min(), times.max()) for *_, times in self._arrays.pieces("times") if len(times)]
        return float(max(last for _, last in ends) - min(first for first, _ in ends)) / DAY

    def as_dict(self) -> dict:
        """Returns all statistics by name, shares and means rounded to four digits."""
        found = {name: getattr(self, name) for name in NAMES}
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in found.items()}

    # Counts over sessions, without unknown items (id 1) --------------------------------------------------------------

    @cached_property
    def _counts(self) -> tuple[int, int, int]:
        """Returns the known events, the distinct (session, item) pairs, and the sessions with a known event."""
        known = pairs = beginnings = 0
        for values, offsets in self._arrays.pieces():
            session = np.repeat(np.arange(len(offsets) - 1, dtype=np.int64), np.diff(offsets))[values > 1]
            known += len(session)
            pairs += len(np.unique(session * (self.items + 2) + values[values > 1]))
            beginnings += len(np.unique(session))
        return known, pairs, beginnings

    @property
    def _known(self) -> int:
        return self._counts[0]

    @property
    def _pairs(self) -> int:
        return self._counts[1]

    @property
    def _beginnings(self) -> int:
        return self._counts[2]


def _pairs(values, first, second, session) -> tuple[np.ndarray, np.ndarray]:
    """Returns (pair of different known items, in either order, as a number; its session): int64 [pairs] each."""
    distinct, ids = np.unique(values, return_inverse=True)
    one, other = ids[first], ids[second]
    kept = (one != other) & (values[first] > 1) & (values[second] > 1)
    pair = np.minimum(one, other) * len(distinct) + np.maximum(one, other)
    return pair[kept], session[kept]


def _shared(found, among) -> float:
    """Returns the share of the pairs `found` that another session has `among` its own; smoothed, never 0."""
    pairs, index = np.unique(np.concatenate([among[0], found[0]]), return_inverse=True)
    sessions = max(found[1].max(initial=0), among[1].max(initial=0)) + 1
    cells = np.unique(index[: len(among[0])] * sessions + among[1])  # each pair once a session
    counts = np.bincount(cells // sessions, minlength=len(pairs))  # sessions with the pair
    index = index[len(among[0]) :]
    others = counts[index] - np.isin(index * sessions + found[1], cells)
    return (np.count_nonzero(others > 0) + 1) / (len(index) + 1)
