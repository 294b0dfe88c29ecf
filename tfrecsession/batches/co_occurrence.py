"""Co-occurrence counts of items in sessions, for rules and neighbours; computed in whole arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse

from tfrecsession.batches import Sessions
from tfrecsession.errors import InputError

DAY = 86_400_000_000  # microseconds


def known_events(sessions: Sessions) -> tuple[np.ndarray, np.ndarray]:
    """Removes padding and unknown items: values int32 [known events], offsets int64 [sessions + 1]."""
    known = sessions.values > 1
    before = np.r_[0, np.cumsum(known)]
    return sessions.values[known], before[sessions.offsets]


class CountedEvents(NamedTuple):
    """The events of known items whose weight is above 0: all that a weighted log consists of.

    values: int32 [events]. offsets: int64 [sessions + 1]. times: int64 [events], or None. weight: float64 [events], of
    the event as a target: 0 if it is none; None: all count once.
    """

    values: np.ndarray
    offsets: np.ndarray
    times: np.ndarray | None
    weight: np.ndarray | None


def counted_events(sessions: Sessions, times: bool = False) -> CountedEvents:
    """Returns the events that count; those of unknown items stay in a log without weights.

    times: whether to read their times, or the numbers of their rows.
    """
    every = np.asarray(sessions.column("times")) if times else None
    weights = sessions.weights
    if weights is None:
        return CountedEvents(sessions.values, sessions.offsets, every, None)
    kept = (weights.event * weights.session > 0) & (sessions.values > 1)
    offsets = np.concatenate([[0], np.cumsum(kept)])[sessions.offsets]
    return CountedEvents(sessions.values[kept], offsets, every[kept] if times else None, weights.example[kept])


def session_items(sessions: Sessions, size: int, targets: bool = False):
    """Counts every item in every session: SciPy CSR float32 [sessions, size], ids rising in a row.

    A weighted event counts so many times. With `targets` only the target events count, by the weight of their session
    too: the product of the transposed counts of all events and of those is the weighted co-occurrence.
    """
    values, offsets = known_events(sessions)
    counted = np.ones(len(values), np.float32)
    if sessions.weights is not None:
        weights = sessions.weights.example if targets else sessions.weights.event
        counted = weights[sessions.values > 1].astype(np.float32)
    counts = sparse.csr_matrix((counted, values, offsets), (len(sessions), size))
    counts.sum_duplicates()
    counts.eliminate_zeros()
    return counts


def supports(sessions: Sessions, size: int, targets: bool = False) -> np.ndarray:
    """float64 [size]: the events of every item, by their weights; with `targets` of the target events alone."""
    weights = None
    if sessions.weights is not None:
        weights = sessions.weights.example if targets else sessions.weights.event * sessions.weights.session
    return np.bincount(sessions.values, weights, minlength=size) * (np.arange(size) > 1)


def successions(sessions: Sessions, size: int, weights: np.ndarray):
    """Sums weights over the ordered pairs of items in a session: SciPy CSR float64 [size, size].

    Entry (a, b) is the sum of weights[distance - 1] over all pairs of an event a and a later event b of one session
    that are 1 to len(weights) events apart. Events of unknown items are removed before distances are counted. In
    weighted sessions a pair counts as much as its later event, the target.
    """
    values, offsets = known_events(sessions)
    example = None if sessions.weights is None else sessions.weights.example[sessions.values > 1]
    session = np.repeat(np.arange(len(sessions)), np.diff(offsets))
    total = sparse.csr_matrix((size, size))
    for distance, weight in enumerate(weights, 1):
        first = np.flatnonzero(session[distance:] == session[:-distance]) if distance < len(session) else []
        if not len(first):
            break  # no session is longer
        pairs = (values[first], values[first + distance])
        each = np.full(len(first), weight) if example is None else weight * example[first + distance]
        total = total + sparse.csr_matrix((each, pairs), (size, size))
    total.eliminate_zeros()
    return total


def age_in_days(sessions: Sessions, argument: str) -> np.ndarray:
    """float64 [events]: days from each event to the last one of the split.

    Raises:
        InputError: the log has no times; the message names `argument`, which needs them.
    """
    if not sessions.timed:
        raise InputError(
            f"{argument}: needs the times of the events, but this log was prepared without them: leave {argument} "
            "out, or prepare the log with time=NAME"
        )
    times = np.asarray(sessions.column("times"), np.int64)
    return (times.max(initial=0) - times) / DAY
