"""Packing: sessions end to end in rows of a fixed number of steps.

The filling of rows depends only on the number of sessions of each length. The plan is made once from that histogram (at
the cost of the row width, not of the number of sessions), and every epoch deals other sessions into it. So all epochs
have the same number of rows, and the progress bar knows the total.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def row_patterns(length_counts: np.ndarray, steps: int) -> list[tuple[np.ndarray, int]]:
    """Fills rows with the longest pieces that still fit, until all pieces are placed.

    Args:
        length_counts: int array; entry `l` is the number of pieces of `l` steps, for `l` in 0..steps.
        steps: width of a row.

    Returns:
        A list of (pattern, repeats): `pattern` int64 [steps + 1] is the number of pieces of each length in a row,
        `repeats` the number of rows filled that way.
    """
    left = np.asarray(length_counts, dtype=np.int64).copy()
    left[0] = 0
    patterns = []
    while left.any():
        pattern = np.zeros(steps + 1, dtype=np.int64)
        room = steps
        for length in range(steps, 0, -1):
            pattern[length] = min(room // length, left[length])
            room -= pattern[length] * length
        used = np.flatnonzero(pattern)
        repeats = int((left[used] // pattern[used]).min())
        left -= pattern * repeats
        patterns.append((pattern, repeats))
    return patterns


def rows_needed(lengths: np.ndarray, steps: int) -> int:
    """Returns the number of rows of `steps` steps into which `pack` deals pieces of these lengths."""
    return sum(repeats for _, repeats in row_patterns(np.bincount(lengths, minlength=steps + 1), steps))


@dataclass(frozen=True)
class Packing:
    """Rows of pieces: row `r` holds pieces `order[splits[r]:splits[r + 1]]`, one after the other."""

    order: np.ndarray  # int64 [pieces]
    splits: np.ndarray  # int64 [rows + 1]

    def __len__(self) -> int:
        return len(self.splits) - 1


def pack(lengths: np.ndarray, steps: int, rng: np.random.Generator | None = None) -> Packing:
    """Deals pieces into rows of `steps` steps.

    Args:
        lengths: int array [pieces], each in 1..steps.
        steps: width of a row.
        rng: shuffles the pieces and the rows; None keeps pieces of one length in order.
    """
    lengths = np.asarray(lengths)
    pieces = rng.permutation(len(lengths)) if rng is not None else np.arange(len(lengths))
    by_length = pieces[np.argsort(lengths[pieces], kind="stable")]
    counts = np.bincount(lengths, minlength=steps + 1)
    taken = np.concatenate([[0], np.cumsum(counts)[:-1]])  # next unused piece of each length in `by_length`

    rows_of_pieces, sizes = [], []
    for pattern, repeats in row_patterns(counts, steps):
        columns = []
        for length in np.flatnonzero(pattern)[::-1]:
            count = pattern[length]
            dealt = by_length[taken[length] : taken[length] + count * repeats]
            taken[length] += count * repeats
            columns.append(dealt.reshape(repeats, count))
        rows_of_pieces.append(np.concatenate(columns, axis=1))
        sizes.append(np.full(repeats, pattern.sum()))
    if not sizes:
        return Packing(np.zeros(0, np.int64), np.zeros(1, np.int64))

    order = np.concatenate([rows.ravel() for rows in rows_of_pieces])
    sizes = np.concatenate(sizes)
    starts = np.cumsum(sizes) - sizes
    row_order = rng.permutation(len(sizes)) if rng is not None else np.arange(len(sizes))
    sizes = sizes[row_order]
    splits = np.concatenate([[0], np.cumsum(sizes)])
    return Packing(order[ranges(starts[row_order], sizes)], splits)


def one_a_row(lengths: np.ndarray) -> Packing:
    """Deals every piece into a row of its own, the longest first: `pack` where no two pieces fit into a row."""
    return Packing(np.argsort(-lengths, kind="stable"), np.arange(len(lengths) + 1))


def ranges(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Computes `concatenate([arange(s, s + n) for s, n in zip(starts, sizes)])` without the loop."""
    sizes = np.asarray(sizes, dtype=np.int64)
    before = np.cumsum(sizes) - sizes
    return np.repeat(np.asarray(starts, dtype=np.int64) - before, sizes) + np.arange(sizes.sum())
