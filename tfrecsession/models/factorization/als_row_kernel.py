"""The least squares of many rows on the CPU, compiled by Numba: a row after the other in each thread, from the cache.

`layers.ridge` solves the same in TensorFlow's ops, many rows padded to one another, for which every gathered number
goes through memory several times.
"""

from __future__ import annotations

import numpy as np
from numba import get_num_threads, njit, prange

from tfrecsession.layers.ridge import JITTER

FLOATS = {"contract", "reassoc", "nsz"}  # sums in any order


def solve_rows(rows, x, table, pairs, scores, pull, diagonal, penalty, cg_steps=None) -> None:
    """For each row the x of least sum over its pairs of (c (s + x.y)^2 - 2 t (s + x.y)) + x'Dx - 2 pull.x.

    Here s is the pair's score less what the old x gives it, D = diag(diagonal + penalty). Solved in as many unknowns as
    x has, or, where a row has fewer pairs than that, in as many as pairs (Woodbury); or approached from the old x.

    Args:
        rows: int64, which rows to solve; each has pairs.
        x: float32 [all rows, dim]; the rows are replaced.
        table: float32 [columns, dim], the y.
        pairs: of all rows, see `als_sweeps.Pairs`.
        scores: float32 [pairs], replaced for the pairs of the rows.
        pull: float32 [all rows, dim].
        diagonal, penalty: float32 [dim] and [all rows], their sums above 0.
        cg_steps: conjugate-gradient steps from the old x, each pairs * dim multiplications; None: exact.
    """
    _solve_rows(rows, x, table, *pairs, scores, pull, diagonal, penalty, cg_steps or 0, 16 * get_num_threads())


@njit(parallel=True, fastmath=FLOATS, cache=True)
def pair_scores(x, table, offsets, columns):
    """float32 [pairs]: x.y of each pair."""
    found = np.empty(len(columns), np.float32)
    for row in prange(len(x)):
        for pair in range(offsets[row], offsets[row + 1]):
            found[pair] = _dot(x[row], table[columns[pair]])
    return found


@njit(parallel=True, fastmath=FLOATS, cache=True)
def _solve_rows(
    rows, x, table, offsets, columns, confidence, target, scores, pull, diagonal, penalty, cg_steps, chunks
):  # fmt: skip
    dim = x.shape[1]
    for chunk in prange(chunks):  # rows are dealt out like cards: long ones often stand together
        memory, panel = np.empty(dim * dim, np.float32), np.zeros((8, dim), np.float32)
        background, vector = np.empty(dim, np.float32), np.empty(dim, np.float32)
        for at in range(chunk, len(rows), chunks):
            row = rows[at]
            first, last = offsets[row], offsets[row + 1]
            own, some, score = x[row], columns[first:last], scores[first:last]
            for k in range(dim):
                background[k] = diagonal[k] + penalty[row]
            if cg_steps:
                pairs = some, confidence[first:last], target[first:last]
                _by_gradients(own, table, *pairs, score, pull[row], background, cg_steps)
                continue
            root, rest = np.sqrt(confidence[first:last]), target[first:last].copy()
            for pair in range(len(some)):
                score[pair] -= _dot(table[some[pair]], own)
                rest[pair] -= root[pair] ** 2 * score[pair]
            size = min(len(some), dim)
            matrix = memory[: size * size].reshape(size, size)
            matrix[:] = 0
            solve = (own, table, some, root, rest, pull[row], background, matrix, panel)
            if size < dim:
                _in_pairs(*solve, vector[:size])
            else:
                _in_unknowns(*solve)
            for pair in range(len(some)):
                score[pair] += _dot(table[some[pair]], own)


@njit(fastmath=FLOATS, cache=True)
def _by_gradients(own, table, some, c, target, score, pull, background, steps):
    """Conjugate gradients, preconditioned by the diagonal of the row's matrix; `score` follows `own`."""
    dim, length = len(own), len(some)
    residual, scale = pull - background * own, background.copy()
    for pair in range(length):
        y, missing = table[some[pair]], target[pair] - c[pair] * score[pair]
        for k in range(dim):
            residual[k] += missing * y[k]
            scale[k] += c[pair] * y[k] * y[k]
    way, along = residual / scale, np.empty(length, np.float32)
    size = _dot(residual, way)
    least = np.float32(1e-12) * size  # below which float32 has no direction left
    for _ in range(steps):
        if not size > least:
            break
        product = background * way
        for pair in range(length):
            y = table[some[pair]]
            along[pair] = _dot(y, way)
            _add(product, c[pair] * along[pair], y)
        step = size / _dot(way, product)
        _add(own, step, way)
        _add(score, step, along)
        _add(residual, -step, product)
        before, size = size, np.float32(0)
        for k in range(dim):
            size += residual[k] * residual[k] / scale[k]
        for k in range(dim):
            way[k] = residual[k] / scale[k] + size / before * way[k]


@njit(fastmath=FLOATS, cache=True)
def _in_unknowns(own, table, some, root, rest, pull, background, matrix, panel):
    """own = (G'G + diag(background))^-1 (F' rest + pull), F the rows `some` of the table, G = diag(root) F."""
    dim = len(own)
    own[:] = pull
    for first in range(0, len(some), 8):
        panel[:] = 0
        for pair in range(first, min(first + 8, len(some))):
            line, y = panel[pair - first], table[some[pair]]
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
def _in_pairs(own, table, some, root, rest, pull, background, matrix, panel, vector):
    """The same as B^-1 (G'z + pull), (G B^-1 G' + I) z = (rest - root G B^-1 pull) / root, B = diag(background)."""
    dim, length = len(own), len(some)
    for k in range(dim):
        background[k] = 1 / np.sqrt(background[k])
        own[k] = pull[k] * background[k] ** 2
    for pair in range(length):
        missing = rest[pair] - root[pair] ** 2 * _dot(table[some[pair]], own)
        vector[pair] = missing / root[pair] if root[pair] > 0 else 0
        matrix[pair, pair] = 1
    for first in range(0, dim, 8):
        panel[:] = 0
        for k in range(first, min(first + 8, dim)):
            for pair in range(length):
                panel[k - first, pair] = root[pair] * background[k] * table[some[pair], k]
        _add_squares(matrix, panel, 0, length, np.float32(1))
    _solve(matrix, vector)
    for k in range(dim):
        background[k] *= background[k]
    for pair in range(length):
        weight, y = root[pair] * vector[pair], table[some[pair]]
        for k in range(dim):
            own[k] += weight * background[k] * y[k]


@njit(fastmath=FLOATS, cache=True)
def _add_squares(matrix, panel, first, size, sign):
    """matrix += sign panel' panel, 8 rows of a panel, in the upper triangle from row `first` on; what is left of the
    diagonal is undefined."""
    for start in range(first & ~15, size, 16):  # whole vectors
        p0, p1, p2, p3 = panel[0, start:size], panel[1, start:size], panel[2, start:size], panel[3, start:size]
        p4, p5, p6, p7 = panel[4, start:size], panel[5, start:size], panel[6, start:size], panel[7, start:size]
        for i in range(max(start, first), min(start + 16, size)):
            to = matrix[i, start:size]
            a0, a1, a2, a3 = sign * panel[0, i], sign * panel[1, i], sign * panel[2, i], sign * panel[3, i]
            a4, a5, a6, a7 = sign * panel[4, i], sign * panel[5, i], sign * panel[6, i], sign * panel[7, i]
            for j in range(len(to)):
                to[j] += (
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
    """vector = matrix^-1 vector by Cholesky's U'U, of a matrix whose upper triangle is given; both are replaced."""
    size = len(vector)
    for first in range(0, size, 8):
        last = min(first + 8, size)
        for i in range(first, last):
            line = matrix[i, i:]
            for before in range(first, i):
                _add(line, -matrix[before, i], matrix[before, i:])
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
def _add(to, factor, line):
    for j in range(len(to)):
        to[j] += factor * line[j]


@njit(fastmath=FLOATS, cache=True)
def _dot(one, other):
    total = np.float32(0)
    for k in range(len(one)):
        total += one[k] * other[k]
    return total
