"""Bootstrap intervals over whole sessions, since the events of one session are not independent.

A draw gives every session a Poisson(1) weight. With many sessions this equals sampling as many sessions with
replacement (Chamandy, Muralidharan, Najmi, Naidu, "Estimating uncertainty for massive data streams", 2012). Sessions
are processed in blocks, so memory is bounded. All scores and slices share the same draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

BLOCK = 4096  # sessions weighted at once
LEVELS = 1 << 16


class Group(NamedTuple):
    """Events grouped by label; the values of each label are averaged separately.

    label: int [events], the label of every event, -1 for none. labels: number of labels. columns: indices of the
    value columns to average.
    """

    label: np.ndarray
    labels: int
    columns: list[int]


class Averages(NamedTuple):
    """The averages of a group; float64 [labels, columns], NaN for a label without events.

    events, sessions: int64 [labels]. low, high: the 95% interval; NaN without draws, and for fewer than two sessions,
    whose spread is unknown.
    """

    events: np.ndarray
    sessions: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def averages(
    session: np.ndarray, values: Callable[[slice], np.ndarray], groups: list[Group], draws: int = 1000, seed: int = 0
) -> list[Averages]:
    """Returns means over events, with 95% percentile intervals over sessions.

    Args:
        session: int64 [events], the session of every event, non-decreasing.
        values: a slice of the events -> float [events of the slice, columns]; called once per block.
        groups: the groups to average.
        draws: number of bootstrap draws; 0: no intervals.
        seed: seed of the draws; equal seeds give the same draws.
    """
    cells = sum(group.labels * (1 + len(group.columns)) for group in groups)
    total, sessions, drawn = np.zeros(cells), np.zeros(cells, np.int64), np.zeros((draws, cells))
    for first, last, chunk in blocks(session):
        local = session[chunk]
        local = np.cumsum(np.diff(local, prepend=local[:1]) > 0)  # 0, 1, ... in the block
        block_values = values(chunk)
        sums = np.concatenate([_sums(local, last - first, block_values, group, chunk) for group in groups], axis=1)
        weights = _weights(last - first, draws, seed, first)
        total += sums.sum(axis=0)
        sessions += (sums > 0).sum(axis=0)
        drawn += weights @ sums.astype(np.float32)
    found, start = [], 0
    for group in groups:
        shape = (group.labels, 1 + len(group.columns))
        span = slice(start, start + shape[0] * shape[1])
        group_drawn = drawn[:, span].reshape(draws, *shape)
        found.append(_averages(total[span].reshape(shape), sessions[span].reshape(shape), group_drawn))
        start = span.stop
    return found


def blocks(session: np.ndarray) -> Iterator[tuple[int, int, slice]]:
    """Yields blocks: the range `first` to `last` (exclusive) of the sessions that have events, and their events."""
    starts = np.flatnonzero(np.diff(session, prepend=-1))
    for first in range(0, len(starts), BLOCK):
        last = min(first + BLOCK, len(starts))
        end = starts[last] if last < len(starts) else len(session)
        yield first, last, slice(int(starts[first]), int(end))


def percentiles(drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the 2.5th and 97.5th percentile over the draws (axis 0), ignoring draws without an event."""
    if not len(drawn):
        undefined = np.full(drawn.shape[1:], np.nan)
        return undefined, undefined
    with np.errstate(all="ignore"):
        empty = np.isnan(drawn).all(axis=0)
        low, high = np.nanquantile(np.where(empty, 0.0, drawn), [0.025, 0.975], axis=0)
    return np.where(empty, np.nan, low), np.where(empty, np.nan, high)


def _sums(local, sessions: int, values: np.ndarray, group: Group, chunk: slice) -> np.ndarray:
    """Returns event counts and sums of values per session: float64 [sessions, labels * (1 + columns)]."""
    label = group.label[chunk].astype(np.int64)
    labelled = label >= 0
    cell = local[labelled] * group.labels + label[labelled]
    sums = [np.bincount(cell, minlength=sessions * group.labels).astype(np.float64)]
    for column in group.columns:
        sums.append(np.bincount(cell, values[labelled, column], minlength=sessions * group.labels))
    return np.stack(sums, axis=1).reshape(sessions, -1)


def _weights(sessions: int, draws: int, seed: int, first: int) -> np.ndarray:
    """Returns Poisson(1) weights, float32 [draws, sessions], from a quantile table: faster than sampling each."""
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
