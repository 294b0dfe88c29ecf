import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfrecsession.negatives.alias_table import alias_table


def distribution_of(threshold, alias):
    """Returns the distribution that a table samples from."""
    slots = len(threshold)
    own = np.bincount(np.arange(slots), weights=threshold, minlength=slots)
    other = np.bincount(alias, weights=1.0 - threshold.astype(np.float64), minlength=slots)
    return (own + other) / slots


def assert_exact(weights):
    weights = np.asarray(weights, np.float64)
    probabilities = weights / weights.sum()
    threshold, alias = alias_table(probabilities)
    assert threshold.dtype == np.float32 and alias.dtype == np.int32
    assert ((threshold >= 0) & (threshold <= 1)).all() and ((alias >= 0) & (alias < len(weights))).all()
    np.testing.assert_allclose(distribution_of(threshold, alias), probabilities, rtol=1e-6, atol=1e-7 / len(weights))
    # impossible outcomes are never sampled
    impossible = probabilities == 0
    assert not threshold[impossible].any() and not impossible[alias[threshold < 1]].any()


def test_by_hand():
    threshold, alias = alias_table(np.array([0.1, 0.6, 0.3]))
    np.testing.assert_allclose(threshold, [0.3, 1.0, 0.9], rtol=1e-6)
    np.testing.assert_array_equal(alias, [1, 1, 1])


@pytest.mark.parametrize(
    "weights",
    [
        [1],
        [1, 1, 1],
        [0, 1],
        [1, 0, 0, 0],
        [1e-12, 1.0],
        [3, 1, 1, 1, 3, 3],
        [1] * 7 + [1e9],
        [0.1] * 10,
        [1, 1, 1, 1.5],
    ],
)
def test_exact(weights):
    assert_exact(weights)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=60).filter(any))
def test_exact_for_any_counts(counts):
    assert_exact(counts)


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=60), st.sampled_from([0.0, 0.25, 0.75, 1.0]))
def test_exact_for_any_power(weights, alpha):
    assert_exact(np.array(weights) ** alpha)


def test_a_million_items_take_less_than_two_seconds():
    counts = 1e8 / np.random.default_rng(0).permutation(np.arange(1, 1_000_001))
    start = time.perf_counter()
    threshold, alias = alias_table(counts / counts.sum())
    assert time.perf_counter() - start < 2
    np.testing.assert_allclose(distribution_of(threshold, alias), counts / counts.sum(), rtol=1e-5)
