"""Session-parallel lanes (arXiv 1511.06939, section 3.1.1): a row goes on in the next batch where it stopped in this.

Every lane holds one session at a time. When it ends, the next session of the log takes its place, so sessions begin in
time order; a model carries each lane's state from batch to batch and starts afresh where `position` is 0.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np

from tfrecsession.batches.layout import Layout, Pieces, fill


def assign(lengths: np.ndarray, lanes: int) -> tuple[np.ndarray, np.ndarray]:
    """Give each session, in order, the lane that is free first (of several, the lowest).

    Args:
        lengths: int [sessions], in steps.
        lanes: how many.

    Returns:
        int64 [sessions] the lane, and int64 [sessions] the step at which the session begins there.
    """
    lane, begin = np.zeros(len(lengths), np.int64), np.zeros(len(lengths), np.int64)
    free = [(0, number) for number in range(lanes)]
    for session, length in enumerate(lengths.tolist()):
        step, number = free[0]
        lane[session], begin[session] = number, step
        heapq.heapreplace(free, (step + length, number))
    return lane, begin


def windows(
    values: np.ndarray, pieces: Pieces, lane: np.ndarray, begin: np.ndarray, lanes: int, width: int, first: int = 0
) -> Iterator[Layout]:
    """The lanes cut into windows of `width` steps, one `[lanes, width]` layout after the other, from number `first`."""
    for some, row, column, position, number in windows_of(pieces, lane, begin, width, first):
        yield fill(values, some, row, column, segment=number + 1, rows=lanes, steps=width, position=position)


def windows_of(
    pieces: Pieces, lane: np.ndarray, begin: np.ndarray, width: int, first: int = 0
) -> Iterator[tuple[Pieces, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """What of the pieces lies in each window from number `first` on: that part of them, its row and column, the steps
    of the piece before it, and the piece's number."""
    end = begin + pieces.lengths
    taken = int(np.searchsorted(begin, first * width))
    active = np.arange(taken)  # pieces that began in an earlier window and go on
    for here in range(first * width, int(end.max(initial=0)), width):
        upto = int(np.searchsorted(begin, here + width))  # pieces begin in order
        active = np.concatenate([active[end[active] > here], np.arange(taken, upto)])
        taken = upto
        late = np.maximum(here - begin[active], 0)  # steps of the piece that lie before this window
        start = begin[active] + late
        lengths = np.minimum(end[active], here + width) - start
        yield Pieces(pieces.starts[active] + late, lengths), lane[active], start - here, late, active
