import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models.logs import known, logs, scores_after, sessions_of
from tfrecsession import InputError
from tfrecsession.models import SessionAggregation

SIZE = 9


def vectors(log, dim):
    """Rows of length 1 of the first right singular vectors, by NumPy's whole decomposition."""
    sessions = known(log)
    support = np.zeros(SIZE)
    for session in sessions:
        for item in session:
            support[item] += 1
    matrix = np.zeros((len(sessions), SIZE))
    for row, session in zip(matrix, sessions, strict=True):
        for item in set(session):
            row[item] = 1 / np.sqrt(len(set(session)) * support[item])
    _, values, right = np.linalg.svd(matrix)
    values = np.r_[values, np.zeros(SIZE)]
    return right[:dim].T, values


@settings(deadline=None, max_examples=30)
@given(
    log=logs,
    dim=st.integers(1, 7),
    discount=st.sampled_from([0, 0.5, 1]),
    history=st.lists(st.integers(1, 8), min_size=1, max_size=6),
    window=st.sampled_from([None, 2]),
)
def test_equals_the_formula(log, dim, discount, history, window):
    right, values = vectors(log, dim)
    if values[dim - 1] - values[dim] < 1e-3:
        return  # as good a decomposition has other directions
    norms = np.linalg.norm(right, axis=1, keepdims=True)
    if ((norms > 1e-12) & (norms < 1e-4)).any():
        return  # a direction of nothing but rounding
    rows = right / np.maximum(norms, 1e-6)
    sessions = sessions_of(log)
    model = SessionAggregation(sessions.items, dim=dim, discount=discount, window=window)
    model.fit(sessions)
    newest = known([history])[0][::-1][:window]
    weights = [discount**ago for ago in range(len(newest))]
    mean = sum((w * rows[item] for w, item in zip(weights, newest, strict=True)), np.zeros(dim))
    expected = rows @ mean / max(sum(weights), 1e-9)
    np.testing.assert_allclose(scores_after(model, history)[2:], expected[2:], atol=2e-3)


def test_similar_items_are_near_by_cosine(shop):
    model = SessionAggregation(shop.items, dim=20)
    model.fit(shop.train)
    rows = model.vectors.numpy()
    nearest = np.argsort(-(rows[5] @ rows.T))
    nearest = [item for item in nearest if item not in (0, 1, 5)][:4]
    similar = model.similar_items([shop.items.ids[3]], k=4)
    assert similar.items[0].tolist() == shop.items.decode(np.array(nearest)).tolist()


def test_the_same_log_gives_the_same_vectors(shop):
    one, two = (SessionAggregation(shop.items) for _ in range(2))
    for model in (one, two):
        model.fit(shop.train)
    np.testing.assert_array_equal(one.vectors.numpy(), two.vectors.numpy())


@pytest.mark.parametrize(("argument", "value"), [("dim", 0), ("discount", 1.5), ("window", 0)])
def test_bad_arguments(shop, argument, value):
    with pytest.raises(InputError, match=f"^{argument}={value!r}"):
        SessionAggregation(shop.items, **{argument: value})
