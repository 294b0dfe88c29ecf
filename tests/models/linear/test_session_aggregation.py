import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.logs import known, logs, scores_after, sessions_of
from tfrecsession import InputError
from tfrecsession.models import SessionAggregation

SIZE = 9


def kernel(log, hops):
    """Returns (A'A)^hops, float64 [size, size]."""
    sessions = known(log)
    support = np.zeros(SIZE)
    for session in sessions:
        for item in session:
            support[item] += 1
    matrix = np.zeros((len(sessions), SIZE))
    for row, session in zip(matrix, sessions, strict=True):
        for item in set(session):
            row[item] = 1 / np.sqrt(len(set(session)) * support[item])
    return np.linalg.matrix_power(matrix.T @ matrix, hops)


def unit(rows):
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


@settings(max_examples=25)
@given(
    log=logs,
    dim=st.integers(3, 12),  # with 1, sums that nearly cancel have the sign of their rounding
    hops=st.integers(1, 3),
    discount=st.sampled_from([0, 0.5, 1]),
    history=st.lists(st.integers(1, 8), min_size=1, max_size=6),
    window=st.sampled_from([None, 2]),
)
def test_equals_the_formula(log, dim, hops, discount, history, window):
    rows = unit(kernel(log, hops) @ np.random.default_rng(0).standard_normal((SIZE, dim), np.float32))
    sessions = sessions_of(log)
    model = SessionAggregation(sessions.items, dim=dim, discount=discount, hops=hops, window=window)
    model.fit(sessions)
    newest = known([history])[0][::-1][:window]
    weights = [discount**ago for ago in range(len(newest))]
    mean = sum((w * rows[item] for w, item in zip(weights, newest, strict=True)), np.zeros(dim))
    expected = rows @ mean / max(sum(weights), 1e-9)
    np.testing.assert_allclose(scores_after(model, history)[2:], expected[2:], atol=2e-3)


def test_vectors_keep_the_cosines_of_the_kernel():
    log = [[2, 3, 4], [3, 4], [5, 6], [6, 7, 5, 5], [4, 8], [2, 2]]
    sessions = sessions_of(log)
    model = SessionAggregation(sessions.items, dim=20_000)
    model.fit(sessions)
    rows, exact = model.vectors.numpy(), unit(kernel(log, 2))
    np.testing.assert_allclose(rows @ rows.T, exact @ exact.T, atol=5 / np.sqrt(20_000))


def test_similar_items_are_the_nearest_by_cosine(shop):
    model = SessionAggregation(shop.items, dim=20)
    model.fit(shop.train)
    rows = model.vectors.numpy()
    nearest = np.argsort(-(rows[5] @ rows.T))
    nearest = [item for item in nearest if item not in (0, 1, 5)][:4]
    similar = model.similar_items([shop.items.ids[3]], k=4)
    assert similar.items[0].tolist() == shop.items.decode(np.array(nearest)).tolist()


def test_the_same_log_gives_the_same_vectors(shop):
    first, second = (SessionAggregation(shop.items) for _ in range(2))
    for model in (first, second):
        model.fit(shop.train)
    np.testing.assert_array_equal(first.vectors.numpy(), second.vectors.numpy())


@pytest.mark.parametrize(("argument", "value"), [("dim", 0), ("hops", 0), ("discount", 1.5), ("window", 0)])
def test_bad_arguments(shop, argument, value):
    with pytest.raises(InputError, match=f"^{argument}={value!r}: must be"):
        SessionAggregation(shop.items, **{argument: value})
