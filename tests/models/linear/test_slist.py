"""SLIST against its closed form in NumPy, one session and step after the other."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.logs import known, logs, scores_after, sessions_of
from tfrecsession import InputError, evaluation
from tfrecsession.models import SLIST
from tfrecsession.models.linear import session_regression

SIZE = 9
decays = st.sampled_from([None, 0.25, 1.0, 4.0])


def training_rows(log, ends, alpha, direction, position_decay, session_decay):
    """Yields (input [size], target [size], weight) of every row of the two least squares."""

    def weigh(distance):
        return 1.0 if position_decay is None else math.exp(-distance / position_decay)

    for session, end in zip(known(log), ends, strict=True):
        weight = 1.0 if session_decay is None else math.exp(-(max(ends) - end) / session_decay)
        if session:
            whole = np.zeros(SIZE)
            whole[list(set(session))] = 1
            yield whole / whole.sum(), whole, alpha * weight
        for t in range(len(session) - 1):
            past, future = np.zeros(SIZE), np.zeros(SIZE)
            for s, item in enumerate(session):
                if direction == "all" or (s <= t if direction == "part" else s == t):
                    past[item] += weigh(abs(t - s))
                if direction == "all" or s > t:
                    future[item] += weigh(abs(t + 1 - s))
            yield past / past.sum(), future, (1 - alpha) * weight


def closed_form(log, ends, alpha, direction, position_decay, session_decay, regularization, dense=None):
    """Returns B, float64 [size, size]; `dense`: how many of the most frequent items take part in the inverse."""
    gram, cross = np.zeros((SIZE, SIZE)), np.zeros((SIZE, SIZE))
    for row, target, weight in training_rows(log, ends, alpha, direction, position_decay, session_decay):
        gram += weight * np.outer(row, row)
        cross += weight * np.outer(row, target)
    events = [item for session in log for item in session]
    most = sorted(range(2, SIZE), key=lambda item: (-events.count(item), item))[:dense]
    for i in range(SIZE):
        for j in range(SIZE):
            if i != j and not {i, j} <= set(most):
                gram[i, j] = 0
    return np.linalg.inv(gram + regularization * np.eye(SIZE)) @ cross


@settings(max_examples=30)
@given(
    log=logs,
    alpha=st.sampled_from([0, 0.2, 0.5, 1]),
    direction=st.sampled_from(["sr", "part", "all"]),
    position_decay=decays,
    session_decay=decays,
    regularization=st.sampled_from([0.5, 10.0]),
    dense=st.sampled_from([None, 1, 4]),
    data=st.data(),
)
def test_equals_the_closed_form(log, alpha, direction, position_decay, session_decay, regularization, dense, data):
    ends = sorted(data.draw(st.lists(st.integers(0, 9), min_size=len(log), max_size=len(log))))
    times = [end for end, session in zip(ends, log, strict=True) for _ in session]
    sessions = sessions_of(log, times=times)
    model = SLIST(
        sessions.items,
        alpha=alpha,
        direction=direction,
        position_decay=position_decay,
        session_decay=session_decay,
        regularization=regularization,
        dense_items=dense,
        neighbours=None,
    )
    model.fit(sessions)
    expected = closed_form(log, ends, alpha, direction, position_decay, session_decay, regularization, dense)
    np.testing.assert_allclose(model.b.numpy(), expected, rtol=1e-4, atol=1e-5)


@settings(max_examples=20)
@given(
    log=logs,
    history=st.lists(st.integers(1, 8), min_size=1, max_size=7),
    inference_decay=decays,
    window=st.sampled_from([None, 1, 3]),
    neighbours=st.sampled_from([None, 7]),
)
def test_scores_equal_the_formula(log, history, inference_decay, window, neighbours):
    sessions = sessions_of(log)
    model = SLIST(
        sessions.items, neighbours=neighbours, inference_decay=inference_decay, window=window, regularization=1.0
    )
    model.fit(sessions)
    b = closed_form(log, [0] * len(log), 0.2, "sr", 1.0, None, 1.0)
    v = np.zeros(SIZE)
    newest = known([history])[0][::-1][:window]
    for ago, item in enumerate(newest):
        v[item] += 1 if inference_decay is None else math.exp(-ago / inference_decay)
    expected = v @ b / max(v.sum(), 1e-9)
    np.testing.assert_allclose(scores_after(model, history)[2:], expected[2:], rtol=1e-4, atol=1e-5)


def test_the_block_size_does_not_change_the_sums(shop, monkeypatch):
    def sums():
        return [
            m.toarray()
            for m in session_regression.sums(
                shop.train, np.ones(len(shop.train)), len(shop.items) + 2, 0.3, "part", 1.0
            )
        ]

    whole = sums()
    monkeypatch.setattr(session_regression, "CELLS", 3000)
    for expected, blockwise in zip(whole, sums(), strict=True):
        np.testing.assert_allclose(blockwise, expected, rtol=1e-9)


@pytest.mark.parametrize("direction", session_regression.DIRECTIONS)
@pytest.mark.parametrize("position_decay", [None, 0.5, 1.0, 30.0])
def test_a_long_session_has_the_sums_of_the_definition(direction, position_decay, monkeypatch):
    """It is summed by recurrences, in blocks of steps."""
    random = np.random.default_rng(1)
    log = [random.integers(1, 9, length).tolist() for length in (3, 90, 5, 1)]
    sessions, weights = sessions_of(log), np.array([1.0, 0.7, 0.5, 0.2])
    arguments = (sessions, weights, SIZE, 0.3, direction, position_decay)
    expected = [matrix.toarray() for matrix in session_regression.sums(*arguments)]
    monkeypatch.setattr(session_regression, "CELLS", 100)
    for whole, found in zip(expected, session_regression.sums(*arguments), strict=True):
        np.testing.assert_allclose(found.toarray(), whole, rtol=1e-9, atol=1e-12)


def test_the_inverse_of_several_blocks():
    matrix = np.random.default_rng(0).standard_normal((2100, 60))
    gram = session_regression.sparse.csr_matrix(matrix @ matrix.T / 60)
    inverse = session_regression.inverse(gram, 2.0)
    np.testing.assert_allclose(inverse @ (gram.toarray() + 2 * np.eye(2100)), np.eye(2100), atol=1e-4)
    np.testing.assert_array_equal(inverse, inverse.T)


def test_pruned_rows_keep_their_largest_numbers(shop):
    whole, pruned = SLIST(shop.items, neighbours=None), SLIST(shop.items, neighbours=10)
    for model in (whole, pruned):
        model.fit(shop.train)
    np.testing.assert_allclose(
        pruned.best.strengths.numpy(), -np.sort(-whole.b.numpy()[:, 2:])[:, :10], rtol=1e-5, atol=1e-7
    )
    assert sum(np.prod(w.shape) for w in pruned.weights) < sum(np.prod(w.shape) for w in whole.weights) / 5


def test_a_few_dense_items_score_nearly_as_well_as_all(shop):
    scored = []
    for dense in (None, 20):
        model = SLIST(shop.items, dense_items=dense, neighbours=100)
        model.fit(shop.train)
        scored.append(evaluation.evaluate(model, shop.test).metrics["mrr@20"])
    assert scored[1] > 0.95 * scored[0]


def test_too_little_memory_is_refused_with_a_setting_that_fits(shop, monkeypatch):
    monkeypatch.setattr(session_regression, "free_memory", lambda: 150_000)
    needs = rf"of {len(shop.items)} items needs [\d,]+ bytes .* of memory and 0.0 GB are free"
    with pytest.raises(InputError, match=f"^neighbours=None: must be a number such as 200, .*; B {needs}"):
        SLIST(shop.items, neighbours=None)
    model = SLIST(shop.items, neighbours=20)
    with pytest.raises(InputError, match=rf"^dense_items=None: must be at most \d+, .*; the inverse {needs}") as error:
        model.fit(shop.train)
    fits = int(str(error.value).split("at most ")[1].split(",")[0])
    SLIST(shop.items, neighbours=20, dense_items=fits).fit(shop.train)


def test_a_log_without_times_is_refused(shop):
    sessions = sessions_of([[2, 3]], timed=False)
    with pytest.raises(InputError, match="^session_decay: needs the times"):
        SLIST(sessions.items, session_decay=4).fit(sessions)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("alpha", 1.5),
        ("direction", "back"),
        ("regularization", 0),
        ("position_decay", 0),
        ("session_decay", -1),
        ("dense_items", 0),
        ("window", 2.5),
        ("neighbours", 0),
    ],
)
def test_bad_arguments(shop, argument, value):
    with pytest.raises(InputError, match=f"^{argument}={value!r}: must be"):
        SLIST(shop.items, **{argument: value})
