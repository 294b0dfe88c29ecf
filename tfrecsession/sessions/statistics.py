"""Statistics of a training split, which the defaults of models follow."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from tfrecsession.sessions.store import SessionArrays

NAMES = ("sessions", "events", "items", "session_length", "events_per_item", "density", "repeats", "turnover", "days")
DAY = 86_400_000_000  # microseconds


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
        values = self._arrays.values
        newest = values[len(values) - -(-len(values) // 10) :]  # a tenth, rounded up
        newest = newest[newest > 1]
        is_old = np.zeros(self.items + 2, bool)
        is_old[values[: len(values) // 2]] = True
        return float((~is_old[newest]).mean()) if len(newest) else 0.0

    @cached_property
    def days(self) -> float | None:
        """Days from the first to the last event; None for a log without times."""
        if not self._timed or not self.events or "times" not in self._arrays.columns:
            return None
        times = self._arrays.column("times")
        return float(times.max() - times.min()) / DAY

    def as_dict(self) -> dict:
        """Returns all statistics by name, shares and means rounded to four digits."""
        found = {name: getattr(self, name) for name in NAMES}
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in found.items()}

    # Counts over sessions, without unknown items (id 1) --------------------------------------------------------------

    @cached_property
    def _counts(self) -> tuple[int, int, int]:
        """Returns the known events, the distinct (session, item) pairs, and the sessions with a known event."""
        values, offsets = self._arrays.values, self._arrays.offsets
        session = np.repeat(np.arange(self.sessions, dtype=np.int64), np.diff(offsets))[values > 1]  # [known events]
        pairs = np.unique(session * (self.items + 2) + values[values > 1])
        return len(session), len(pairs), len(np.unique(session))

    @property
    def _known(self) -> int:
        return self._counts[0]

    @property
    def _pairs(self) -> int:
        return self._counts[1]

    @property
    def _beginnings(self) -> int:
        return self._counts[2]
