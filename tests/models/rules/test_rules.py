"""Association rules, Markov chain and sequential rules against their formulas, one pair of events after the other."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.logs import keep_best, known, logs, scores_after, sessions_of
from tfrecsession import InputError
from tfrecsession.models import AssociationRules, MarkovChain, SequentialRules

SIZE = 9
DECAYS = {
    "same": lambda n: 1,
    "div": lambda n: 1 / n,
    "linear": lambda n: 1 - 0.1 * n if n <= 10 else 0,
    "log": lambda n: 1 / math.log10(n + 1.7),
    "quadratic": lambda n: 1 / (n * n),
}


def association(log):
    weights = np.zeros((SIZE, SIZE))
    for session in known(log):
        for first in range(len(session)):
            for second in range(len(session)):
                if first != second:
                    weights[session[first], session[second]] += 1
    return weights


def sequential(log, steps, decay):
    weights = np.zeros((SIZE, SIZE))
    for session in known(log):
        for later in range(len(session)):
            for earlier in range(later):
                if later - earlier <= steps:
                    weights[session[earlier], session[later]] += DECAYS[decay](later - earlier)
    return weights


def table_of(model):
    """Returns the weights of the model's table, float [size, size]."""
    found = np.zeros((SIZE, SIZE))
    for row, (ids, strengths) in enumerate(zip(model.table.ids.numpy(), model.table.strengths.numpy(), strict=True)):
        for column, strength in zip(ids, strengths, strict=True):
            found[row, column] += strength
    return found


@settings(max_examples=15)
@given(log=logs, neighbours=st.integers(1, 8))
def test_association_rules(log, neighbours):
    sessions = sessions_of(log)
    model = AssociationRules(sessions.items, neighbours=neighbours)
    model.fit(sessions)
    np.testing.assert_array_equal(table_of(model), keep_best(association(log), neighbours))


@settings(max_examples=15)
@given(log=logs, neighbours=st.integers(1, 8))
def test_markov_chain(log, neighbours):
    sessions = sessions_of(log)
    model = MarkovChain(sessions.items, neighbours=neighbours)
    model.fit(sessions)
    np.testing.assert_array_equal(table_of(model), keep_best(sequential(log, 1, "same"), neighbours))


@settings(max_examples=25)
@given(log=logs, steps=st.integers(1, 12), decay=st.sampled_from(sorted(DECAYS)))
def test_sequential_rules(log, steps, decay):
    sessions = sessions_of(log)
    model = SequentialRules(sessions.items, steps=steps, decay=decay)
    model.fit(sessions)
    np.testing.assert_allclose(table_of(model), sequential(log, steps, decay), rtol=1e-6, atol=1e-6)


@settings(max_examples=10)
@given(log=logs, neighbours=st.integers(1, 8))
def test_of_equal_rules_those_to_popular_items_are_kept(log, neighbours):
    sessions = sessions_of(log)
    model = SequentialRules(sessions.items, decay="same", neighbours=neighbours)
    model.fit(sessions)
    np.testing.assert_array_equal(table_of(model), keep_best(sequential(log, 10, "same"), neighbours))


@settings(max_examples=25)
@given(
    log=logs,
    history=st.lists(st.integers(1, 8), min_size=1, max_size=6),
    kind=st.sampled_from(["last", "mean", *DECAYS]),
    window=st.integers(1, 5),
)
def test_the_items_of_the_history_share_the_score(log, history, kind, window):
    """Unknown items take no share."""
    sessions = sessions_of(log)
    model = AssociationRules(sessions.items, history=kind, window=window)
    model.fit(sessions)
    newest = known([history])[0][::-1][: 1 if kind == "last" else window]
    weigh = DECAYS.get(kind, lambda n: 1)
    total = sum(weigh(n) for n in range(1, len(newest) + 1))
    expected = np.zeros(SIZE)
    for n, item in enumerate(newest, 1):
        expected += weigh(n) / total * association(log)[item]
    np.testing.assert_allclose(scores_after(model, history), expected, rtol=1e-5, atol=1e-6)


def test_steps_may_exceed_every_session(shop):
    far, near = (SequentialRules(shop.items, steps=steps, decay="same") for steps in (10**6, 500))
    for model in (far, near):
        model.fit(shop.train)
    np.testing.assert_array_equal(far.table.strengths.numpy(), near.table.strengths.numpy())


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        (AssociationRules, {"neighbours": 0}, "^neighbours=0: must be a whole number, at least 1"),
        (AssociationRules, {"window": 1.5}, "^window=1.5: must be a whole number, at least 1"),
        (MarkovChain, {"history": "first"}, "^history='first': must be one of last, mean"),
        (SequentialRules, {"decay": "cubic"}, "^decay='cubic': must be one of same"),
        (SequentialRules, {"steps": 0}, "^steps=0: must be a whole number, at least 1"),
    ],
)
def test_bad_arguments(shop, model, settings, message):
    with pytest.raises(InputError, match=message):
        model(shop.items, **settings)
