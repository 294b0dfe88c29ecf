"""Metrics of trips, worked out by hand."""

import numpy as np
import pytest

from tfrecsession import InputError
from tfrecsession.metrics import displacement, diversity, pair_f1

DEGREE = np.pi / 180 * 6371  # km, of a great circle


@pytest.mark.parametrize(
    ("found", "expected", "f1"),
    [
        ("abc", "abc", 1.0),
        ("cba", "abc", 0.0),  # all pairs are the other way around
        ("abc", "acb", 2 / 3),  # ab, ac, bc and ac, ab, cb: two in common
        ("abcd", "bd", 2 / 7),  # six pairs, one pair, one in common
        ("aab", "ab", 1.0),  # aa is no pair, ab counts once
        ("aba", "ab", 2 / 3),  # ab, ba
        ("a", "ab", 0.0),
        ("", "", 0.0),
    ],
)
def test_pairs(found, expected, f1):
    np.testing.assert_allclose(pair_f1(found, expected), f1)
    np.testing.assert_allclose(pair_f1(expected, found), f1)


@pytest.mark.parametrize(
    ("categories", "share"), [("aab", 2 / 3), ("aaa", 0), ("abc", 1), ("aabb", 4 / 6), ("a", 0), ("", 0)]
)
def test_diversity(categories, share):
    np.testing.assert_allclose(diversity(categories), share)


def test_displacement():
    here = [(0, 0), (0, 90), (90, 0)]
    assert displacement(here, here) == 0
    np.testing.assert_allclose(displacement([(0, 0), (10, 20)], [(0, 3), (12, 20)]), 5 * DEGREE)
    np.testing.assert_allclose(displacement([(0, 179)], [(0, -179)]), 2 * DEGREE)
    np.testing.assert_allclose(displacement([(60, 0)], [(60, 180)]), 60 * DEGREE)  # over the pole
    np.testing.assert_allclose(displacement([(0, 0)], [(0, 180), (5, 5)]), 180 * DEGREE)  # the rest does not count
    assert displacement([], here) == 0


@pytest.mark.parametrize("places", [[(91, 0)], [(0, 181)], [(np.nan, 0)], [1, 2]])
def test_bad_coordinates(places):
    with pytest.raises(InputError, match=r"found: must be a \(latitude, longitude\) in degrees for each place"):
        displacement(places, [(0, 0)])
