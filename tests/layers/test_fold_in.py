import numpy as np
import pytest
from scipy import sparse

from tfrecsession.layers import FoldIn

DIM, SIZE = 5, 40


def by_hand(history, vectors, prior):
    """Solves the ridge regression of 1 on the vectors of the distinct known items."""
    known = sorted({item for item in history if item > 1})
    v = vectors[known]
    return np.linalg.solve(v.T @ v + prior, v.sum(axis=0))


def rows_of(*rows):
    width = max(sum(map(len, row)) for row in rows)
    batch = {name: np.zeros((len(rows), width), np.int32) for name in ("items", "position", "segment")}
    for r, row in enumerate(rows):
        column = 0
        for number, session in enumerate(row, 1):
            for place, item in enumerate(session):
                cell = r, column
                batch["items"][cell], batch["position"][cell], batch["segment"][cell] = item, place, number
                column += 1
    return batch


@pytest.mark.parametrize("longest", [6, 63, 64, 65, 200])
def test_every_prefix_equals_its_own_ridge_regression(longest):
    """Histories with repeats and unknown items, several per row, some longer than what is solved together."""
    rng = np.random.default_rng(longest)
    vectors = rng.normal(size=(SIZE, DIM)).astype(np.float32)
    gram = vectors[2:].T @ vectors[2:]
    layer = FoldIn(DIM)
    layer.settle(vectors, 0.1, 0.7)
    sessions = [list(rng.integers(1, SIZE, size)) for size in (longest, 1, longest // 2, 3, longest)]
    rows = [sessions[:3], [[1, 1]], sessions[3:]]
    found = layer(rows_of(*rows), vectors).numpy()
    for r, row in enumerate(rows):
        column = 0
        for session in row:
            for place in range(len(session)):
                expected = by_hand(session[: place + 1], vectors, 0.1 * gram + 0.7 * np.eye(DIM))
                np.testing.assert_allclose(found[r, column], expected, rtol=2e-3, atol=2e-4)
                column += 1


def test_folded_in_vectors_are_as_long_as_learned_ones():
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(SIZE, DIM))
    histories = (rng.random((30, SIZE)) < 0.2) & (np.arange(SIZE) > 1)
    histories[7] = False  # a user without a history
    prior = 0.2 * vectors[2:].T @ vectors[2:] + 0.5 * np.eye(DIM)
    folded = np.array([by_hand(np.flatnonzero(row), vectors, prior) for row in histories])
    # the part that the history does not predict makes it longer
    learned = 3.0 * folded + 2.0 * rng.normal(size=folded.shape)
    layer = FoldIn(DIM)
    layer.settle(vectors, 0.2, 0.5, sparse.csr_matrix(histories.astype(float)), learned)
    length = [np.mean([user @ user for user in users]) ** 0.5 for users in (learned, folded)]
    assert float(layer.scale.value) == pytest.approx(length[0] / length[1], rel=1e-5)
    assert float(layer.scale.value) > 1.1 * (folded * learned).sum() / (folded**2).sum()


def test_a_table_of_zeros_gives_zeros():
    layer = FoldIn(DIM)
    layer.settle(np.zeros((SIZE, DIM)), 0.1, 0.0)
    assert not layer(rows_of([[3, 4]]), np.zeros((SIZE, DIM), np.float32)).numpy().any()
