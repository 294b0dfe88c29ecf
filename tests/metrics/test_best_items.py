import keras
import numpy as np
import pytest

from tfrecsession.metrics import best_items
from tfrecsession.metrics.ranks import GROUP


def by_sorting(scores, k):
    """Returns the list of every row by its definition: a sort."""
    lists = []
    for row in scores:
        candidates = [item for item in range(2, len(row)) if row[item] > -np.inf]  # false for a NaN
        best = sorted(candidates, key=lambda item: (-row[item], item))[:k]
        lists.append(best + [0] * (k - len(best)))
    return np.array(lists)


def test_lists_by_hand():
    scores = np.array(
        [
            [9.0, 9.0, 0.5, 0.1, 0.9, 0.3],  # padding and unknown lead, and do not compete
            [0.0, 0.0, 0.5, 0.5, 0.1, 0.5],  # a tie: the lower id first
            [7.0, 0.0, -np.inf, np.nan, -5.0, -np.inf],  # only one of them may be listed
        ],
        "float32",
    )
    assert np.asarray(best_items(scores, 3)).tolist() == [[4, 2, 5], [2, 3, 5], [4, 0, 0]]


@pytest.mark.parametrize("size", [3, 5, 23, 4 * GROUP, 45 * GROUP + 1, 64 * GROUP])
@pytest.mark.parametrize("k", [1, 2, 9])
@pytest.mark.parametrize("kind", ["distinct", "ties", "constant", "sparse", "not numbers"])
def test_lists_equal_a_sort(size, k, kind):
    rng = np.random.default_rng([size, k])
    scores = rng.normal(size=(12, size)).astype("float32")
    if kind == "ties":
        scores = scores.round()
    elif kind == "constant":
        scores[:] = -1.5
    elif kind == "sparse":  # as neighbours score: few items, all others 0
        scores *= rng.random(scores.shape) < 5 / size
    elif kind == "not numbers":
        scores = rng.choice(np.array([np.nan, np.inf, -np.inf, 1.0, 2.0], "float32"), size=scores.shape)
    lists = np.asarray(best_items(scores, k))
    assert lists.dtype == np.int32
    np.testing.assert_array_equal(lists, by_sorting(scores, k))


def test_a_list_longer_than_the_catalogue_ends_in_zeros():
    scores = np.array([[0.0, 0.0, 1.0, 2.0]], "float32")
    assert np.asarray(best_items(scores, 5)).tolist() == [[3, 2, 0, 0, 0]]


def test_no_rows_give_no_lists():
    assert np.asarray(best_items(np.zeros((0, 4000), "float32"), 3)).shape == (0, 3)


def test_half_precision_scores():
    scores = keras.ops.cast(np.random.default_rng(0).normal(size=(4, 3000)), "bfloat16")
    expected = by_sorting(np.asarray(keras.ops.cast(scores, "float32")), 4)  # with many ties
    np.testing.assert_array_equal(np.asarray(best_items(scores, 4)), expected)
