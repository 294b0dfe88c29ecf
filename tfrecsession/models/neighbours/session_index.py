"""Past sessions, found by the items in them: the inverted index behind the neighbour models.

VMIS-kNN (Kersbergen, Sprangers, Schelter, SIGMOD 2022): every item knows its sessions by recency, so that the most
recent sessions that share an item with a history are found without looking at any other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

DAY = 86_400_000_000  # microseconds


class SessionIndex(NamedTuple):
    """Sessions numbered by the time of their last event, the oldest 0; of each its distinct known items.

    A repeated item counts where it occurred last. `posting_*` hold the same pairs as `member_*`, item by item.
    """

    ends: np.ndarray  # int64 [sessions], microseconds: the last event; rising
    member_offsets: np.ndarray  # int32 [sessions + 1]
    members: np.ndarray  # int32 [pairs], item ids
    member_places: np.ndarray  # int32 [pairs], 1 for the session's first known event
    posting_offsets: np.ndarray  # int32 [size + 1], by item id
    postings: np.ndarray  # int32 [pairs], session numbers, rising
    posting_places: np.ndarray  # int32 [pairs]

    @classmethod
    def empty(cls, size: int) -> SessionIndex:
        return cls.of(np.zeros(0, np.int32), np.zeros(1, np.int64), np.zeros(0, np.int64), size)

    @classmethod
    def of(cls, values: np.ndarray, offsets: np.ndarray, times: np.ndarray, size: int) -> SessionIndex:
        """The index of sessions end to end: item ids int32 [events], offsets [sessions + 1], times int64 [events]."""
        lengths = np.diff(offsets)
        kept = np.flatnonzero(lengths > 0)
        ends = times[offsets[1:][kept] - 1]
        by_end = np.argsort(ends, kind="stable")
        number = np.full(len(lengths), -1, np.int64)
        number[kept[by_end]] = np.arange(len(kept))
        session = np.repeat(number, lengths)
        known = values > 1  # unknown items are passed over
        events = np.concatenate([[0], np.cumsum(known)])
        place = events[1:] - np.repeat(events[offsets[:-1]], lengths)
        session, item, place = session[known], values[known], place[known]
        pair = session * size + item
        order = np.argsort(pair, kind="stable")
        last = np.append(np.diff(pair[order]) > 0, True)[: len(order)]  # of the events of a session on one item
        order = order[last]
        session, item, place = session[order], item[order], place[order]
        by_item = np.argsort(item, kind="stable")

        def starts(keys, count):
            return np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=count))]).astype(np.int32)

        return cls(
            ends=ends[by_end],
            member_offsets=starts(session, len(kept)),
            members=item.astype(np.int32),
            member_places=place.astype(np.int32),
            posting_offsets=starts(item, size),
            postings=session[by_item].astype(np.int32),
            posting_places=place[by_item].astype(np.int32),
        )

    def freshness(self, days: float | None) -> np.ndarray:
        """float32 [sessions]: exp(-age / days), age counted back from the newest session.

        A history at any later time finds all of them older by the same time: that changes no order.
        """
        if days is None or not len(self.ends):
            return np.ones(len(self.ends), np.float32)
        return np.exp((self.ends - self.ends[-1]) / (days * DAY)).astype(np.float32)
