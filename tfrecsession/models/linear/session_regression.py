"""SLIST's least squares: the sums over sessions, and the inverse, one matrix of items x items at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import linalg, sparse

from tfrecsession.batches import Sessions
from tfrecsession.batches.co_occurrence import known_events
from tfrecsession.batches.packing import ranges
from tfrecsession.errors import InputError

CELLS = 4_000_000  # (step, event) cells of sessions that are weighed at once
DIRECTIONS = ("sr", "part", "all")


def sums(
    sessions: Sessions, weights: np.ndarray, size: int, alpha: float, direction: str, position_decay: float | None
):
    """What of the log the closed form needs.

        gram  = alpha X'WX + (1 - alpha) S'WS
        cross = alpha X'WY + (1 - alpha) S'WT

    Args:
        sessions: the train split.
        weights: float64 [sessions], the diagonal of W: of a session's row of X and Y and all its rows of S and T.
        size: of the tables.
        alpha, direction, position_decay: see `SLIST`, which also says what X, Y, S and T are.

    Returns:
        gram, cross: SciPy CSR float64 [size, size].
    """
    values, offsets = known_events(sessions)
    lengths = np.diff(offsets)
    gram = cross = sparse.csr_matrix((size, size))
    for first, last in _blocks(lengths):
        begin, end = offsets[first], offsets[last]
        own, length, weight = values[begin:end], lengths[first:last], weights[first:last]
        # a copy of the items: SciPy sorts them in place
        whole = sparse.csr_matrix(
            (np.ones(len(own)), own.copy(), offsets[first : last + 1] - begin), (len(length), size)
        )
        whole.sum_duplicates()
        whole.data[:] = 1  # a set: repeats count once
        share = _rows_to_one(whole)
        gram = gram + alpha * _product(share, weight, share)
        cross = cross + alpha * _product(share, weight, whole)
        if alpha == 1:
            continue
        steps = np.maximum(length - 1, 0)
        rows = np.repeat(np.arange(len(length)), steps)  # a row per step: events up to t, and from t + 1 on
        t = ranges(np.zeros_like(steps), steps)
        row = np.repeat(np.arange(len(rows)), length[rows])  # a cell per row and event s of its session
        s = ranges(np.zeros(len(rows), np.int64), length[rows])
        item, ago = own[np.repeat(offsets[first:last][rows] - begin, length[rows]) + s], t[row] - s
        in_past = {"sr": ago == 0, "part": ago >= 0, "all": np.ones(len(s), bool)}[direction]
        in_future = in_past if direction == "all" else ago < 0
        shape = (len(rows), size)

        def part(there, distance, row=row, item=item, shape=shape):
            weight = np.ones(len(row)) if position_decay is None else np.exp(-distance / position_decay)
            return sparse.csr_matrix((weight[there], (row[there], item[there])), shape)

        past, future = _rows_to_one(part(in_past, np.abs(ago))), part(in_future, np.abs(ago + 1))
        gram = gram + (1 - alpha) * _product(past, weight[rows], past)
        cross = cross + (1 - alpha) * _product(past, weight[rows], future)
    return gram, cross


def inverse(gram, regularization: float) -> np.ndarray:
    """(gram + regularization I)^-1, float32 [n, n], by Cholesky in the memory of the result."""
    matrix = gram.astype(np.float32).toarray()
    matrix.ravel()[:: len(matrix) + 1] += regularization
    # symmetric, so the transpose is the matrix in the order LAPACK works in: nothing is copied
    factor, failed = linalg.lapack.spotrf(matrix.T, lower=1, overwrite_a=1)
    if failed == 0:
        found, failed = linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
    if failed:
        raise InputError(f"regularization={regularization}: too small for this log, the equations have no one solution")
    found = found.T  # LAPACK's lower triangle is the upper one here
    for first in range(0, len(found), 1024):
        here = slice(first, first + 1024)
        found[here, here] = np.triu(found[here, here]) + np.triu(found[here, here], 1).T
        found[first + 1024 :, here] = found[here, first + 1024 :].T
    return found


def check_memory(needed: int, what: str, instead: str) -> None:
    """Refuse what would not fit into the memory that is free, where the system says how much that is.

    Raises:
        InputError: `what` and the bytes it needs, and the way out.
    """
    free = free_memory()
    if free is not None and needed > free:
        size = f"{needed:,} bytes ({needed / 1e9:.1f} GB)"
        raise InputError(f"{what} needs {size} of memory and {free / 1e9:.1f} GB are free: {instead}")


def free_memory() -> int | None:
    """Bytes that can still be taken; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = dict(line.split(":", 1) for line in lines)
    return int(found["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in found else None


def _blocks(lengths: np.ndarray):
    """Ranges of sessions with about CELLS cells of (step, event) each."""
    cells = np.cumsum(lengths.astype(np.int64) ** 2)
    first = 0
    while first < len(lengths):
        done = cells[first - 1] if first else 0
        last = max(int(np.searchsorted(cells, done + CELLS, side="right")), first + 1)
        yield first, last
        first = last


def _rows_to_one(matrix):
    """Every row divided by its sum."""
    total = np.asarray(matrix.sum(axis=1)).ravel()
    return sparse.diags(np.divide(1, total, out=np.zeros_like(total), where=total > 0)) @ matrix


def _product(left, weights, right):
    return left.T.tocsr() @ (sparse.diags(weights) @ right)
