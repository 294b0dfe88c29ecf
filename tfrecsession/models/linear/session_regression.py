"""The least squares of SLIST: sums over sessions, and the inverse in the memory of one items x items matrix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import linalg, sparse

from tfrecsession.batches import Sessions
from tfrecsession.batches.co_occurrence import known_events
from tfrecsession.batches.packing import ranges
from tfrecsession.recommender.arguments import refuse

CELLS = 4_000_000  # (step, event) cells per block of sessions
DIRECTIONS = ("sr", "part", "all")


def sums(
    sessions: Sessions, weights: np.ndarray, size: int, alpha: float, direction: str, position_decay: float | None
):
    """Sums over a log what the closed form of `SLIST` needs.

        gram  = alpha X'WX + (1 - alpha) S'WS
        cross = alpha X'WY + (1 - alpha) S'WT

    Args:
        sessions: the train split.
        weights: float64 [sessions], the diagonal of W: of a session's row of X and Y and all its rows of S and T.
        size: number of item ids.
        alpha, direction, position_decay: see `SLIST`, which also defines X, Y, S and T.

    Returns:
        gram, cross: SciPy CSR float64 [size, size].
    """
    values, offsets = known_events(sessions)
    lengths = np.diff(offsets)
    gram = cross = sparse.csr_matrix((size, size))
    for first, last in _blocks(lengths):
        begin, end = offsets[first], offsets[last]
        items, length, weight = values[begin:end], lengths[first:last], weights[first:last]
        # a copy of the items: SciPy sorts them in place
        whole = sparse.csr_matrix(
            (np.ones(len(items)), items.copy(), offsets[first : last + 1] - begin), (len(length), size)
        )  # (sessions, size)
        whole.sum_duplicates()
        whole.data[:] = 1  # a set: repeats count once
        share = _rows_to_one(whole)
        gram = gram + alpha * _product(share, weight, share)
        cross = cross + alpha * _product(share, weight, whole)
        if alpha == 1:
            continue
        # a row per session and step t: events up to t, and from t + 1 on
        steps = np.maximum(length - 1, 0)  # (sessions,)
        rows = np.repeat(np.arange(len(length)), steps)  # (rows,): the session of each row
        t = ranges(np.zeros_like(steps), steps)  # (rows,)
        # a cell per row and event s of its session
        row = np.repeat(np.arange(len(rows)), length[rows])  # (cells,)
        s = ranges(np.zeros(len(rows), np.int64), length[rows])  # (cells,)
        item = items[np.repeat(offsets[first:last][rows] - begin, length[rows]) + s]  # (cells,)
        ago = t[row] - s
        in_past = {"sr": ago == 0, "part": ago >= 0, "all": np.ones(len(s), bool)}[direction]
        in_future = in_past if direction == "all" else ago < 0
        shape = (len(rows), size)

        def part(mask, distance, row=row, item=item, shape=shape):
            weight = np.ones(len(row)) if position_decay is None else np.exp(-distance / position_decay)
            return sparse.csr_matrix((weight[mask], (row[mask], item[mask])), shape)  # (rows, size)

        past, future = _rows_to_one(part(in_past, np.abs(ago))), part(in_future, np.abs(ago + 1))
        gram = gram + (1 - alpha) * _product(past, weight[rows], past)
        cross = cross + (1 - alpha) * _product(past, weight[rows], future)
    return gram, cross


def inverse(gram, regularization: float) -> np.ndarray:
    """Returns (gram + regularization I)^-1, float32 [n, n], by Cholesky in the memory of the result."""
    matrix = gram.astype(np.float32).toarray()
    matrix.ravel()[:: len(matrix) + 1] += regularization
    # symmetric, so the transpose is the matrix in LAPACK's memory order: nothing is copied
    factor, failed = linalg.lapack.spotrf(matrix.T, lower=1, overwrite_a=1)
    if failed == 0:
        result, failed = linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
    if failed:
        refuse("regularization", regularization, "larger for this log: the equations have no unique solution")
    result = result.T  # LAPACK's lower triangle is the upper one here
    for first in range(0, len(result), 1024):
        block = slice(first, first + 1024)
        result[block, block] = np.triu(result[block, block]) + np.triu(result[block, block], 1).T
        result[first + 1024 :, block] = result[block, first + 1024 :].T
    return result


def check_memory(needed: int, what: str, name: str, value, expected: str) -> None:
    """Checks that `needed` bytes fit into the free memory, where the system reports it.

    Raises:
        InputError: `name=value: must be expected`, with what needs how many bytes, and how many are free.
    """
    free = free_memory()
    if free is not None and needed > free:
        size = f"{needed:,} bytes ({needed / 1e9:.1f} GB)"
        refuse(name, value, f"{expected}; {what} needs {size} of memory and {free / 1e9:.1f} GB are free")


def free_memory() -> int | None:
    """Returns the available memory in bytes; None where the system does not report it."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in fields else None


def _blocks(lengths: np.ndarray):
    """Yields ranges of sessions with about CELLS cells of (step, event) each."""
    cells = np.cumsum(lengths.astype(np.int64) ** 2)
    first = 0
    while first < len(lengths):
        done = cells[first - 1] if first else 0
        last = max(int(np.searchsorted(cells, done + CELLS, side="right")), first + 1)
        yield first, last
        first = last


def _rows_to_one(matrix):
    """Divides every row by its sum."""
    total = np.asarray(matrix.sum(axis=1)).ravel()
    return sparse.diags(np.divide(1, total, out=np.zeros_like(total), where=total > 0)) @ matrix


def _product(left, weights, right):
    """Returns left' diag(weights) right: [rows, size] twice -> [size, size]."""
    return left.T.tocsr() @ (sparse.diags(weights) @ right)
