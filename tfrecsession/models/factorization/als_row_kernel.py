"""Least squares of many rows on the CPU, compiled by Numba: each thread solves one row at a time, in its cache.

`layers.ridge` solves the same in TensorFlow's ops, many rows padded to one length, where every gathered number goes
through memory several times.
"""

from __future__ import annotations

import numpy as np
from numba import get_num_threads, njit, prange

from tfrecsession.layers.ridge import JITTER

FLOATS = {"contract", "reassoc", "nsz"}  # sums in any order


def solve_rows(rows, x, table, pairs, scores, pull, diagonal, penalty, cg_steps=None) -> None:
    """Minimizes for each row, over x, the sum over its pairs of (c (s + x.y)^2 - 2 t (s + x.y)) + x'Dx - 2 pull.x.

    Here s is the pair's score minus the part of the old x, D = diag(diagonal + penalty). A row is solved in `dim`
    unknowns, or, with fewer pairs than that, in as many unknowns as pairs (Woodbury); or approached from the old x.

    Args:
        rows: int64, the rows to solve; each has pairs.
        x: float32 [all rows, dim]; the rows are replaced.
        table: float32 [columns, dim], the y.
        pairs: those of all rows, see `als_sweeps.Pairs`.
        scores: float32 [pairs], replaced for the pairs of the rows.
        pull: float32 [all rows, dim].
        diagonal, penalty: float32 [dim] and [all rows], their sums above 0.
        cg_steps: conjugate-gradient steps from the old x, each pairs * dim multiplications; None: exact.
    """
    _solve_rows(rows, x, table, *pairs, scores, pull, diagonal, penalty, cg_steps or 0, 16 * get_num_threads())


@njit(parallel=True, fastmath=FLOATS, cache=True)
def pair_scores(x, table, offsets, columns):
    """Returns x.y of each pair: float32 [pairs]."""
    scores = np.empty(len(columns), np.float32)
    for row in prange(len(x)):
        for pair in range(offsets[row], offsets[row + 1]):
            scores[pair] = _dot(x[row], table[columns[pair]])
    return scores


@njit(parallel=True, fastmath=FLOATS, cache=True)
def _solve_rows(
    rows, x, table, offsets, columns, confidence, target, scores, pull, diagonal, penalty, cg_steps, chunks
):  # fmt: skip
    dim = x.shape[1]
    for chunk in prange(chunks):  # every `chunks`-th row: long rows often follow each other
        memory, panel = np.empty(dim * dim, np.float32), np.zeros((8, dim), np.float32)
        background, vector = np.empty(dim, np.float32), np.empty(dim, np.float32)
        for at in range(chunk, len(rows), chunks):
            row = rows[at]
            first, last = offsets[row], offsets[row + 1]
            own, ids, score = x[row], columns[first:last], scores[first:last]
            for k in range(dim):
                background[k] = diagonal[k] + penalty[row]
            if cg_steps:
                pairs = ids, confidence[first:last], target[first:last]
                _by_gradients(own, table, *pairs, score, pull[row], background, cg_steps)
                continue
            root, rest = np.sqrt(confidence[first:last]), target[first:last].copy()
            for pair in range(len(ids)):
                score[pair] -= _dot(table[ids[pair]], own)
                rest[pair] -= root[pair] ** 2 * score[pair]
            size = min(len(ids), dim)
            matrix = memory[: size * size].reshape(size, size)
            matrix[:] = 0
            solve = (own, table, ids, root, rest, pull[row], background, matrix, panel)
            if size < dim:
                _in_pairs(*solve, vector[:size])
            else:
                _in_unknowns(*solve)
            for pair in range(len(ids)):
                score[pair] += _dot(table[ids[pair]], own)


@njit(fastmath=FLOATS, cache=True)
def _by_gradients(own, table, ids, c, target, score, pull, background, steps):
    """Runs conjugate gradients, preconditioned by the diagonal of the row's matrix; `score` follows `own`."""
    dim, length = len(own), len(ids)
    residual, scale = pull - background * own, background.copy()
    for pair in range(length):
        y, missing = table[ids[pair]], target[pair] - c[pair] * score[pair]
        for k in range(dim):
            residual[k] += missing * y[k]
            scale[k] += c[pair] * y[k] * y[k]
    direction, along = residual / scale, np.empty(length, np.float32)
    size = _dot(residual, direction)
    least = np.float32(1e-12) * size  # below which float32 has no direction left
    for _ in range(steps):
        if not size > least:
            break
        product = background * direction
        for pair in range(length):
            y = table[ids[pair]]
            along[pair] = _dot(y, direction)
            _add(product, c[pair] * along[pair], y)
        step = size / _dot(direction, product)
        _add(own, step, direction)
        _add(score, step, along)
        _add(residual, -step, product)
        last_size, size = size, np.float32(0)
        for k in range(dim):
            size += residual[k] * residual[k] / scale[k]
        for k in range(dim):
            direction[k] = residual[k] / scale[k] + size / last_size * direction[k]


@njit(fastmath=FLOATS, cache=True)
def _in_unknowns(own, table, ids, root, rest, pull, background, matrix, panel):
    """Computes own = (G'G + diag(background))^-1 (F' rest + pull), F = table[ids], G = diag(root) F."""
    dim = len(own)
    own[:] = pull
    for first in range(0, len(ids), 8):
        panel[:] = 0
        for pair in range(first, min(first + 8, len(ids))):
            line, y = panel[pair - first], table[ids[pair]]
            for k in range(dim):
                line[k] = root[pair] * y[k]
            _add(own, rest[pair], y)
        _add_squares(matrix, panel, 0, dim, np.float32(1))
    total = np.float32(0)
    for k in range(dim):
        matrix[k, k] += background[k]
        total += matrix[k, k]
    for k in range(dim):
        matrix[k, k] += np.float32(JITTER) * total / dim
    _solve(matrix, own)


@njit(fastmath=FLOATS, cache=True)
def _in_pairs(own, table, ids, root, rest, pull, background, matrix, panel, vector):
    """Computes the same as B^-1 (G'z + pull), (G B^-1 G' + I) z = (rest - root G B^-1 pull) / root, with
    B = diag(background)."""
    dim, length = len(own), len(ids)
    for k in range(dim):
        background[k] = 1 / np.sqrt(background[k])
        own[k] = pull[k] * background[k] ** 2
    for pair in range(length):
        missing = rest[pair] - root[pair] ** 2 * _dot(table[ids[pair]], own)
        vector[pair] = missing / root[pair] if root[pair] > 0 else 0
        matrix[pair, pair] = 1
    for first in range(0, dim, 8):
        panel[:] = 0
        for k in range(first, min(first + 8, dim)):
            for pair in range(length):
                panel[k - first, pair] = root[pair] * background[k] * table[ids[pair], k]
        _add_squares(matrix, panel, 0, length, np.float32(1))
    _solve(matrix, vector)
    for k in range(dim):
        background[k] *= background[k]
    for pair in range(length):
        weight, y = root[pair] * vector[pair], table[ids[pair]]
        for k in range(dim):
            own[k] += weight * background[k] * y[k]


@njit(fastmath=FLOATS, cache=True)
def _add_squares(matrix, panel, first, size, sign):
    """Adds sign panel' panel, 8 rows of a panel, to the upper triangle of the matrix from row `first` on. The lower
    triangle is undefined."""
    for start in range(first & ~15, size, 16):  # whole vectors
        p0, p1, p2, p3 = panel[0, start:size], panel[1, start:size], panel[2, start:size], panel[3, start:size]
        p4, p5, p6, p7 = panel[4, start:size], panel[5, start:size], panel[6, start:size], panel[7, start:size]
        for i in range(max(start, first), min(start + 16, size)):
            out = matrix[i, start:size]
            a0, a1, a2, a3 = sign * panel[0, i], sign * panel[1, i], sign * panel[2, i], sign * panel[3, i]
            a4, a5, a6, a7 = sign * panel[4, i], sign * panel[5, i], sign * panel[6, i], sign * panel[7, i]
            for j in range(len(out)):
                out[j] += (
                    a0 * p0[j]
                    + a1 * p1[j]
                    + a2 * p2[j]
                    + a3 * p3[j]
                    + a4 * p4[j]
                    + a5 * p5[j]
                    + a6 * p6[j]
                    + a7 * p7[j]
                )


@njit(fastmath=FLOATS, cache=True)
def _solve(matrix, vector):
    """Replaces vector by matrix^-1 vector, of a matrix in its upper triangle, by Cholesky's U'U in place."""
    size = len(vector)
    for first in range(0, size, 8):
        last = min(first + 8, size)
        for i in range(first, last):
            line = matrix[i, i:]
            for above in range(first, i):
                _add(line, -matrix[above, i], matrix[above, i:])
            scale = 1 / np.sqrt(line[0])
            for j in range(len(line)):
                line[j] *= scale
        if last < size:
            _add_squares(matrix, matrix[first:last], last, size, np.float32(-1))
    for i in range(size):
        vector[i] /= matrix[i, i]
        _add(vector[i + 1 :], -vector[i], matrix[i, i + 1 :])
    for i in range(size - 1, -1, -1):
        vector[i] = (vector[i] - _dot(matrix[i, i + 1 :], vector[i + 1 :])) / matrix[i, i]


@njit(fastmath=FLOATS, cache=True)
def _add(out, factor, line):
    for j in range(len(out)):
        out[j] += factor * line[j]


@njit(fastmath=FLOATS, cache=True)
def _dot(one, other):
    total = np.float32(0)
    for k in range(len(one)):
        total += one[k] * other[k]
    return total
