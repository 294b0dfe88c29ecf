"""Shares of train and samples of validation, which a search fits and scores its candidates on. Needs no TensorFlow."""

from __future__ import annotations

import numpy as np

from tfrecsession.batches.data import Data, Sessions

SCORED = 10_000  # events of validation that candidates fitted on all of train are scored on
SCREENED = 3_000  # those that the others are scored on
SMALLEST = 40_000  # events of the smallest share of train
FACTOR = 4  # from one share to the next


def shares_of(data: Data) -> list[float]:
    """Returns the shares of train that candidates are fitted on, rising to 1."""
    shares = [1.0]
    while data.train.events * shares[0] / FACTOR >= SMALLEST:
        shares.insert(0, shares[0] / FACTOR)
    return shares


def sampled(sessions: Sessions, events: int, seed: int) -> Sessions:
    """Samples sessions with about so many events to score; all of them where they have fewer."""
    scored = np.maximum(np.diff(sessions.offsets) - 1, 0)
    if scored.sum() <= events:
        return sessions
    order = np.random.default_rng(seed).permutation(len(scored))
    kept = np.zeros(len(scored), bool)
    kept[order[np.cumsum(scored[order]) - scored[order] < events]] = True
    return sessions.only(kept)


def newest(sessions: Sessions, share: float) -> Sessions:
    """Returns the newest sessions with about this share of the events."""
    if share >= 1:
        return sessions
    return sessions.only(sessions.offsets[:-1] >= sessions.events * (1 - share))
