"""Session-parallel lanes (arXiv 1511.06939, section 3.1.1): each row of a batch continues in the next batch.

Every lane holds one session at a time. When it ends, the next session of the log takes its place, so sessions begin in
time order. A model carries each lane's state from batch to batch and resets it where `position` is 0.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np

from tfrecsession.batches.layout import Layout, Pieces, fill


def assign(lengths: np.ndarray, lanes: int) -> tuple[np.ndarray, np.ndarray]:
    """Assigns each session, in order, to the lane that is free first (of several, the lowest).

    Args:
        lengths: int [sessions], in steps.
        lanes: the number of lanes.

    Returns:
        (lane, begin), int64 [sessions] each: the lane of the session, and the step at which it begins there.
    """
    lane, begin = np.zeros(len(lengths), np.int64), np.zeros(len(lengths), np.int64)
    free = [(0, index) for index in range(lanes)]
    for session, length in enumerate(lengths.tolist()):
        step, index = free[0]
        lane[session], begin[session] = index, step
        heapq.heapreplace(free, (step + length, index))
    return lane, begin


def windows(
    values: np.ndarray, pieces: Pieces, lane: np.ndarray, begin: np.ndarray, lanes: int, width: int, first: int = 0
) -> Iterator[Layout]:
    """Cuts lanes into windows of `width` steps and yields their `[lanes, width]` layouts, from window `first` on."""
    for parts, row, column, position, index in windows_of(pieces, lane, begin, width, first):
        yield fill(values, parts, row, column, segment=index + 1, rows=lanes, steps=width, position=position)


def windows_of(
    pieces: Pieces, lane: np.ndarray, begin: np.ndarray, width: int, first: int = 0
) -> Iterator[tuple[Pieces, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Yields for each window from `first` on: the parts of pieces in it, their rows and columns, the steps of the piece
    before the window, and the piece's index."""
    end = begin + pieces.lengths
    begun = int(np.searchsorted(begin, first * width))
    active = np.arange(begun)  # pieces that began in an earlier window and continue
    for window in range(first * width, int(end.max(initial=0)), width):  # its first step
        upto = int(np.searchsorted(begin, window + width))  # pieces begin in order
        active = np.concatenate([active[end[active] > window], np.arange(begun, upto)])
        begun = upto
        passed = np.maximum(window - begin[active], 0)  # steps of the piece before this window
        start = begin[active] + passed
        lengths = np.minimum(end[active], window + width) - start
        yield Pieces(pieces.starts[active] + passed, lengths), lane[active], start - window, passed, active
