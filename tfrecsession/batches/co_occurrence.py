"""Which items stand together in sessions, counted in whole arrays: what rules and neighbours are made of."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from tfrecsession.batches import Sessions
from tfrecsession.errors import InputError

DAY = 86_400_000_000  # microseconds


def known_events(sessions: Sessions) -> tuple[np.ndarray, np.ndarray]:
    """The sessions without padding and unknown items: values int32 [known events], offsets int64 [sessions + 1]."""
    known = sessions.values > 1
    before = np.r_[0, np.cumsum(known)]
    return sessions.values[known], before[sessions.offsets]


def session_items(sessions: Sessions, size: int):
    """How often every item stands in every session: SciPy CSR float32 [sessions, size], ids rising in a row."""
    values, offsets = known_events(sessions)
    counts = sparse.csr_matrix((np.ones(len(values), np.float32), values, offsets), (len(sessions), size))
    counts.sum_duplicates()
    return counts


def successions(sessions: Sessions, size: int, weights: np.ndarray):
    """What comes after what in a session: SciPy CSR float64 [size, size].

    Entry (a, b) is the sum over the pairs of events a, then b of one session, 1 to len(weights) events apart, of
    weights[distance - 1]. Events of unknown items are taken out before distances are counted.
    """
    values, offsets = known_events(sessions)
    session = np.repeat(np.arange(len(sessions)), np.diff(offsets))
    total = sparse.csr_matrix((size, size))
    for apart, weight in enumerate(weights, 1):
        first = np.flatnonzero(session[apart:] == session[:-apart]) if apart < len(session) else []
        if not len(first):
            break  # no session is longer
        pairs = (values[first], values[first + apart])
        total = total + sparse.csr_matrix((np.full(len(first), weight), pairs), (size, size))
    return total


def age_in_days(sessions: Sessions, argument: str) -> np.ndarray:
    """float64 [events]: days from each event to the last one of the split.

    Raises:
        InputError: the log has no times; it names `argument`, which asks for them.
    """
    if not sessions.timed:
        raise InputError(
            f"{argument}: needs the times of the events, and this log was prepared without: leave {argument} out, or "
            "prepare the log with --time NAME"
        )
    times = np.asarray(sessions.column("times"), np.int64)
    return (times.max(initial=0) - times) / DAY
