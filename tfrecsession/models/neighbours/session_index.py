"""SessionIndex: an inverted index from items to past sessions, for the session neighbours.

VMIS-kNN (Kersbergen, Sprangers, Schelter, SIGMOD 2022): the sessions of every item are sorted by recency. So the most
recent sessions that share an item with a history are found without a look at any other session.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

DAY = 86_400_000_000  # microseconds


class SessionIndex(NamedTuple):
    """Distinct known items of every session; sessions are numbered by the time of their last event, the oldest is 0.

    A repeated item counts at its last position. `posting_*` hold the same (session, item) pairs as `member_*`, sorted
    by item. The names of the fields are keys of saved models.
    """

    ends: np.ndarray  # int64 [sessions], microseconds: the time of the last event, ascending
    member_offsets: np.ndarray  # int32 [sessions + 1]
    members: np.ndarray  # int32 [pairs], item ids
    member_places: np.ndarray  # int32 [pairs], positions: 1 is the session's first known event
    posting_offsets: np.ndarray  # int32 [size + 1], by item id
    postings: np.ndarray  # int32 [pairs], session numbers, ascending for each item
    posting_places: np.ndarray  # int32 [pairs], positions
    member_weights: np.ndarray  # float32 [pairs], of the votes for the items; [0]: all vote alike

    @classmethod
    def empty(cls, size: int) -> SessionIndex:
        """Returns an index without sessions."""
        return cls.of(np.zeros(0, np.int32), np.zeros(1, np.int64), np.zeros(0, np.int64), size)

    @classmethod
    def of(
        cls, values: np.ndarray, offsets: np.ndarray, times: np.ndarray, size: int, weight: np.ndarray | None = None
    ) -> SessionIndex:
        """Indexes sessions.

        Args:
            values: int32 [events], item ids, one session after the other.
            offsets: [sessions + 1], where each session begins in `values`.
            times: int64 [events], microseconds.
            size: number of item ids.
            weight: float [events], of the event's vote for its item; of a repeated item the largest counts. None: all
                vote alike.
        """
        lengths = np.diff(offsets)
        kept = np.flatnonzero(lengths > 0)
        ends = times[offsets[1:][kept] - 1]
        by_end = np.argsort(ends, kind="stable")
        session_numbers = np.full(len(lengths), -1, np.int64)
        session_numbers[kept[by_end]] = np.arange(len(kept))
        session = np.repeat(session_numbers, lengths)  # (events,)
        known = values > 1  # unknown items take no position
        known_before = np.concatenate([[0], np.cumsum(known)])
        position = known_before[1:] - np.repeat(known_before[offsets[:-1]], lengths)
        session, item, position = session[known], values[known], position[known]  # (known events,)
        pair = session * size + item
        order = np.argsort(pair, kind="stable")
        is_last = np.append(np.diff(pair[order]) > 0, True)[: len(order)]  # event of its item in its session
        votes = np.zeros(0, np.float32)
        if weight is not None and len(order):
            begins = np.flatnonzero(np.append(True, is_last[:-1]))
            votes = np.maximum.reduceat(weight[known][order], begins).astype(np.float32)
        order = order[is_last]
        session, item, position = session[order], item[order], position[order]  # (pairs,)
        by_item = np.argsort(item, kind="stable")

        def starts(keys, count):
            return np.concatenate([[0], np.cumsum(np.bincount(keys, minlength=count))]).astype(np.int32)

        return cls(
            ends=ends[by_end],
            member_offsets=starts(session, len(kept)),
            members=item.astype(np.int32),
            member_places=position.astype(np.int32),
            posting_offsets=starts(item, size),
            postings=session[by_item].astype(np.int32),
            posting_places=position[by_item].astype(np.int32),
            member_weights=votes,
        )

    def freshness(self, days: float | None) -> np.ndarray:
        """Returns exp(-age / days), float32 [sessions]; the age is relative to the newest session.

        For a history at a later time all ages grow by the same amount, which changes no order.
        """
        if days is None or not len(self.ends):
            return np.ones(len(self.ends), np.float32)
        return np.exp((self.ends - self.ends[-1]) / (days * DAY)).astype(np.float32)
