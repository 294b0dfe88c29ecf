"""Every solver of least-squares rows compared with NumPy's, row by row."""

import numpy as np
import pytest

from tfrecsession.models.factorization import als_sweeps
from tfrecsession.models.factorization.als_row_kernel import pair_scores, solve_rows
from tfrecsession.models.factorization.als_sweeps import Pairs

ROWS, COLUMNS = 30, 50


def given(dim):
    """Returns rows of 0 to 79 pairs, some with repeated columns, the part of the scores beside x.y, and the rest."""
    random = np.random.default_rng(dim)

    def drawn(*shape):
        return random.standard_normal(shape).astype(np.float32)

    lengths = random.integers(0, 80, ROWS)
    offsets = np.r_[0, np.cumsum(lengths)]
    columns = random.integers(0, COLUMNS, offsets[-1]).astype(np.int32)
    pairs = Pairs(offsets, columns, (random.random(offsets[-1]) * 2).astype(np.float32), drawn(offsets[-1]))
    pairs.confidence[::17] = pairs.target[::17] = 0
    x, table, beside = drawn(ROWS, dim), drawn(COLUMNS, dim), drawn(offsets[-1])
    scores = beside + pair_scores(x, table, offsets, columns)
    held = drawn(ROWS, dim), random.random(dim).astype(np.float32), random.random(ROWS).astype(np.float32) + 0.3
    return np.flatnonzero(lengths), x, table, pairs, beside, scores, held


def expected(row, table, pairs, beside, held):
    """Solves A x = b, as in the docstring of `solve_rows`."""
    pull, diagonal, penalty = held
    own = slice(pairs.offsets[row], pairs.offsets[row + 1])
    features, c = table[pairs.columns[own]].astype(float), pairs.confidence[own].astype(float)
    matrix = (features.T * c) @ features + np.diag(diagonal + penalty[row])
    x = np.linalg.solve(matrix, features.T @ (pairs.target[own] - c * beside[own]) + pull[row])
    return x, beside[own] + features @ x


@pytest.mark.parametrize("solve", ["kernel", "batches", "gradients"])
@pytest.mark.parametrize("dim", [1, 3, 8, 13, 64])
def test_rows_are_solved(solve, dim):
    rows, x, table, pairs, beside, scores, held = given(dim)
    before = x.copy()
    if solve == "batches":
        assert not len(als_sweeps._solve_in_batches(rows, x, table, pairs, scores, *held))
    else:
        solve_rows(rows, x, table, pairs, scores, *held, 10 * dim if solve == "gradients" else None)
    np.testing.assert_allclose(scores, beside + pair_scores(x, table, *pairs[:2]), rtol=1e-3, atol=2e-3)
    for row in range(ROWS):
        if row not in rows:
            assert (x[row] == before[row]).all()
            continue
        right, scored = expected(row, table, pairs, beside, held)
        np.testing.assert_allclose(x[row], right, rtol=2e-3, atol=2e-3)
        own = slice(pairs.offsets[row], pairs.offsets[row + 1])
        np.testing.assert_allclose(scores[own], scored, rtol=2e-3, atol=2e-3)


def test_conjugate_gradients_converge_within_dim_steps():
    distances = []
    for steps in range(1, 9):
        rows, x, table, pairs, beside, scores, held = given(8)
        solve_rows(rows, x, table, pairs, scores, *held, steps)
        distances.append([np.linalg.norm(x[row] - expected(row, table, pairs, beside, held)[0]) for row in rows])
    far, near = distances[0], distances[-1]
    assert (np.array(near) < 0.01 * np.array(far) + 1e-3).all()  # as many steps as unknowns
