"""The least squares of SLIST: sums over sessions, and the inverse in the memory of one items x items matrix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import linalg, sparse

from tfrecsession.batches import Sessions
from tfrecsession.batches.co_occurrence import counted_events, known_events
from tfrecsession.batches.packing import ranges
from tfrecsession.recommender.arguments import refuse

CELLS = 4_000_000  # numbers held at once: (step, event) of a block of sessions, (step, item) of a long session
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

    In a log of weighted events W has the weight of a row: of S and T that of the next event, of X and Y the mean of the
    session's; T and Y hold target events alone, and events of weight 0 are left out.

    Returns:
        gram, cross: SciPy CSR float64 [size, size].
    """
    values, offsets, _, weight_of_event = counted_events(sessions)
    if weight_of_event is None:
        values, offsets = known_events(sessions)
        weight_of_event = np.ones(len(values))
    lengths = np.diff(offsets)
    weight_of_event = weight_of_event * np.repeat(weights, lengths)
    total = np.concatenate([[0.0], np.cumsum(weight_of_event)])
    weights = (total[offsets[1:]] - total[offsets[:-1]]) / np.maximum(lengths, 1)
    is_target = weight_of_event > 0
    gram = cross = sparse.csr_matrix((size, size))
    for first, last in _blocks(lengths):
        is_long = alpha < 1 and int(lengths[first]) ** 2 > CELLS  # then it is a block of its own
        begin, end = offsets[first], offsets[last]
        items, length, weight = values[begin:end], lengths[first:last], weights[first:last]
        each, target = weight_of_event[begin:end], is_target[begin:end]
        # a copy of the items: SciPy sorts them in place
        whole = sparse.csr_matrix(
            (np.ones(len(items)), items.copy(), offsets[first : last + 1] - begin), (len(length), size)
        )  # (sessions, size)
        whole.sum_duplicates()
        whole.data[:] = 1  # a set: repeats count once
        share = _rows_to_one(whole)
        later = whole
        if not target.all():
            later = sparse.csr_matrix(
                (target.astype(float), items.copy(), offsets[first : last + 1] - begin), (len(length), size)
            )  # (sessions, size)
            later.sum_duplicates()
            later.data = np.minimum(later.data, 1)
        gram = gram + alpha * _product(share, weight, share)
        cross = cross + alpha * _product(share, weight, later)
        if alpha == 1:
            continue
        if is_long:
            gram_part, cross_part = _sums_of_long(items, each, size, direction, position_decay)
            gram = gram + (1 - alpha) * gram_part
            cross = cross + (1 - alpha) * cross_part
            continue
        # a row per session and step t: events up to t, and from t + 1 on
        steps = np.maximum(length - 1, 0)  # (sessions,)
        rows = np.repeat(np.arange(len(length)), steps)  # (rows,): the session of each row
        t = ranges(np.zeros_like(steps), steps)  # (rows,)
        # a cell per row and event s of its session
        row = np.repeat(np.arange(len(rows)), length[rows])  # (cells,)
        s = ranges(np.zeros(len(rows), np.int64), length[rows])  # (cells,)
        starts = offsets[first:last][rows] - begin  # (rows,)
        event = np.repeat(starts, length[rows]) + s  # (cells,)
        item, of_next = items[event], each[starts + t + 1]  # (cells,), (rows,)
        ago = t[row] - s
        in_past = {"sr": ago == 0, "part": ago >= 0, "all": np.ones(len(s), bool)}[direction]
        in_future = in_past if direction == "all" else ago < 0
        shape = (len(rows), size)

        def part(mask, distance, row=row, item=item, shape=shape):
            weight = np.ones(len(row)) if position_decay is None else np.exp(-distance / position_decay)
            return sparse.csr_matrix((weight[mask], (row[mask], item[mask])), shape)  # (rows, size)

        in_future = in_future & target[event]
        past, future = _rows_to_one(part(in_past, np.abs(ago))), part(in_future, np.abs(ago + 1))
        gram = gram + (1 - alpha) * _product(past, of_next, past)
        cross = cross + (1 - alpha) * _product(past, of_next, future)
    return gram, cross


def _sums_of_long(items: np.ndarray, weight: np.ndarray, size: int, direction: str, position_decay: float | None):
    """Returns S'WS and S'WT of one session, SciPy CSR [size, size], by recurrences over its steps.

        past_t   = sum over the events s <= t of exp(-(t - s) / position_decay)     = past_(t-1) q + e_t
        future_t = sum over the events s > t of exp(-(s - t - 1) / position_decay)  = e_(t+1) + q future_(t+1)

    with a number for each distinct item of the session and q = exp(-1 / position_decay). T sums over target events,
    those of `weight` above 0; a row counts as much as its next event. The cost follows steps * items (and items^2, for
    the products), the memory `CELLS` numbers, a state for each block of steps, and the result.
    """
    distinct, item = np.unique(items, return_inverse=True)
    count, steps = len(distinct), len(items) - 1
    q = 1.0 if position_decay is None else np.exp(-1 / position_decay)
    block_steps = max(CELLS // count, 1)
    target = (weight > 0).astype(float)
    every = bool(target.all())  # then T and the future that `direction="all"` adds to S are the same sums
    firsts = range(0, steps, block_steps)

    # of all events and of the targets; `states`: past before each block, while the future is summed from the end
    past, states = np.zeros((2, count)), []
    for first in firsts if direction != "sr" else ():
        states.append(past.copy())
        for t in range(first, min(first + block_steps, steps)):
            past *= q
            past[:, item[t]] += 1, target[t]

    gram, cross, future = np.zeros((count, count)), np.zeros((count, count)), np.zeros((2, count))
    for index in reversed(range(len(firsts))):
        first, last = firsts[index], min(firsts[index] + block_steps, steps)
        row_weight = weight[first + 1 : last + 1, None]  # (steps, 1)
        later = np.empty((1 if every else 2, last - first, count))  # (1 or 2, steps, items)
        for t in range(last - 1, first - 1, -1):
            future *= q
            future[:, item[t + 1]] += 1, target[t + 1]
            later[:, t - first] = future[: len(later)]
        futures = later[-1]  # of the targets
        if direction == "sr":  # one item a row
            rows = sparse.csr_matrix(
                (np.ones(last - first), item[first:last], np.arange(last - first + 1)), (last - first, count)
            )
            gram.ravel()[:: count + 1] += np.bincount(item[first:last], row_weight[:, 0], minlength=count)
            cross += rows.T @ (row_weight * futures)
            continue
        past, earlier = states[index], np.empty_like(later)
        for t in range(first, last):
            past *= q
            past[:, item[t]] += 1, target[t]
            earlier[:, t - first] = past[: len(earlier)]
        pasts = earlier[0]
        if direction == "all":
            pasts, futures = pasts + q * later[0], q * earlier[-1] + futures
        pasts = pasts / pasts.sum(axis=1, keepdims=True)
        gram += pasts.T @ (row_weight * pasts)
        cross += pasts.T @ (row_weight * futures)

    def whole(part):
        part = sparse.coo_matrix(part)
        return sparse.csr_matrix((part.data, (distinct[part.row], distinct[part.col])), (size, size))

    return whole(gram), whole(cross)


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
