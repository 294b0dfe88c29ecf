"""How sure a score is: whole sessions drawn anew, since the events of one session go together.

A draw gives every session a Poisson(1) weight, the bootstrap for data that comes in pieces: with many sessions it is
the drawing of as many sessions with replacement (Chamandy, Muralidharan, Najmi, Naidu, "Estimating uncertainty for
massive data streams", 2012). Sessions pass in blocks, so memory is bounded; all scores and slices share the same draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

BLOCK = 4096  # sessions weighted at once
LEVELS = 1 << 16


class Group(NamedTuple):
    """Events that are averaged by themselves, one label or many of them beside each other.

    label: int [events], the label of every event, -1 for none. labels: how many there are. columns: which of the
    values are averaged.
    """

    label: np.ndarray
    labels: int
    columns: list[int]


class Averages(NamedTuple):
    """What a group scored; float64 [labels, columns], NaN for a label without events.

    events, sessions: int64 [labels]. low, high: the 95% interval; NaN for fewer than two sessions, which say nothing of
    how sessions differ, and without draws.
    """

    events: np.ndarray
    sessions: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def averages(
    session: np.ndarray, values: Callable[[slice], np.ndarray], groups: list[Group], draws: int = 1000, seed: int = 0
) -> list[Averages]:
    """Means over events, with 95% percentile intervals over sessions.

    Args:
        session: int64 [events], the session of every event, never falling.
        values: a slice of the events -> float [events of it, columns], asked for once, block by block.
        groups: what to average.
        draws: of the bootstrap; 0: no intervals.
        seed: of the draws: equal seeds draw the same sessions again.
    """
    cells = sum(group.labels * (1 + len(group.columns)) for group in groups)
    total, sessions, drawn = np.zeros(cells), np.zeros(cells, np.int64), np.zeros((draws, cells))
    for first, last, some in blocks(session):
        own = session[some]
        own = np.cumsum(np.diff(own, prepend=own[:1]) > 0)  # 0, 1, ... in the block
        here = values(some)
        sums = np.concatenate([_sums(own, last - first, here, group, some) for group in groups], axis=1)
        weights = _weights(last - first, draws, seed, first)
        total += sums.sum(axis=0)
        sessions += (sums > 0).sum(axis=0)
        drawn += weights @ sums.astype(np.float32)
    found, start = [], 0
    for group in groups:
        shape = (group.labels, 1 + len(group.columns))
        here = slice(start, start + shape[0] * shape[1])
        events, drawn_here = total[here].reshape(shape), drawn[:, here].reshape(draws, *shape)
        found.append(_averages(events, sessions[here].reshape(shape), drawn_here))
        start = here.stop
    return found


def blocks(session: np.ndarray) -> Iterator[tuple[int, int, slice]]:
    """Sessions `first` to `last`, those with events counted through, and their events."""
    starts = np.flatnonzero(np.diff(session, prepend=-1))
    for first in range(0, len(starts), BLOCK):
        last = min(first + BLOCK, len(starts))
        end = starts[last] if last < len(starts) else len(session)
        yield first, last, slice(int(starts[first]), int(end))


def percentiles(drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 2.5th and 97.5th percentile over the draws (axis 0); draws without an event say nothing."""
    if not len(drawn):
        nothing = np.full(drawn.shape[1:], np.nan)
        return nothing, nothing
    with np.errstate(all="ignore"):
        empty = np.isnan(drawn).all(axis=0)
        low, high = np.nanquantile(np.where(empty, 0.0, drawn), [0.025, 0.975], axis=0)
    return np.where(empty, np.nan, low), np.where(empty, np.nan, high)


def _sums(own, sessions: int, values: np.ndarray, group: Group, some: slice) -> np.ndarray:
    """Events and sums of values of every session: float64 [sessions, labels * (1 + columns)]."""
    label = group.label[some].astype(np.int64)
    there = label >= 0
    cell = own[there] * group.labels + label[there]
    sums = [np.bincount(cell, minlength=sessions * group.labels).astype(np.float64)]
    for column in group.columns:
        sums.append(np.bincount(cell, values[there, column], minlength=sessions * group.labels))
    return np.stack(sums, axis=1).reshape(sessions, -1)


def _weights(sessions: int, draws: int, seed: int, first: int) -> np.ndarray:
    """float32 [draws, sessions] of Poisson(1), from a table of its quantiles: faster than to draw each by itself."""
    levels = np.random.default_rng([seed, first]).integers(0, LEVELS, (draws, sessions), dtype=np.uint16)
    return POISSON[levels]


def _averages(total, sessions, drawn) -> Averages:
    with np.errstate(invalid="ignore"):
        mean = total[:, 1:] / total[:, :1]
        low, high = percentiles(drawn[..., 1:] / drawn[..., :1])
    few = sessions[:, :1] < 2
    low, high = np.where(few, np.nan, low), np.where(few, np.nan, high)
    return Averages(total[:, 0].astype(np.int64), sessions[:, 0], mean, low, high)


def _poisson_quantiles() -> np.ndarray:
    cumulative = np.cumsum([math.exp(-1) / math.factorial(number) for number in range(12)])
    return np.searchsorted(cumulative, (np.arange(LEVELS) + 0.5) / LEVELS).astype(np.float32)


POISSON = _poisson_quantiles()
