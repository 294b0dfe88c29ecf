import numpy as np
import pytest
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.negatives import LogUniform


def sampler(count=1000, items=6, **kwargs):
    negatives = LogUniform(count, **kwargs)
    negatives.build_from(np.concatenate([[0, 0], np.arange(items, 0, -1)]))
    return negatives


def probabilities(items):
    """Returns the probabilities that TensorFlow documents for its log_uniform_candidate_sampler."""
    rank = np.arange(items)
    return (np.log(rank + 2) - np.log(rank + 1)) / np.log(items + 1)


@pytest.mark.parametrize("items", [6, 300])
def test_draws_follow_the_distribution(items):
    draw = tf.function(sampler(50_000, items, seed=1).draw)
    drawn = np.concatenate([draw().numpy() for _ in range(6)])
    assert drawn.dtype == np.int32 and drawn.min() == 2 and drawn.max() == items + 1
    expected = probabilities(items) * len(drawn)
    chi_square = ((np.bincount(drawn, minlength=items + 2)[2:] - expected) ** 2 / expected).sum()
    assert chi_square < (25.7 if items == 6 else 299 + 4 * np.sqrt(2 * 299))


def test_the_tail_of_a_large_catalogue_is_drawn_item_by_item():
    # in float32 only about every eighth of the last items would be sampled
    drawn = sampler(400_000, 10_000_000, seed=2).draw().numpy()
    tail = drawn[drawn > 5_000_000]
    assert len(tail) > 10_000 and drawn.max() < 10_000_002
    by_residue = np.bincount(tail % 8, minlength=8)
    expected = len(tail) / 8
    assert ((by_residue - expected) ** 2 / expected).sum() < 29.9  # 7 degrees of freedom, one in ten thousand


def test_log_probability():
    log_probability = sampler().log_probability(np.arange(2, 8).reshape(2, 3))
    assert log_probability.shape == (2, 3) and log_probability.dtype == "float32"
    np.testing.assert_allclose(np.ravel(log_probability), np.log(probabilities(6)), rtol=1e-5)
    many = sampler(items=1_000_000).log_probability(np.arange(2, 1_000_002))
    np.testing.assert_allclose(many, np.log(probabilities(1_000_000)), rtol=1e-5)
    assert np.isfinite(sampler().log_probability(np.array([0, 1]))).all()


def test_every_draw_differs_and_a_seed_repeats_them():
    first, second = (tf.function(sampler(seed=7, items=100).draw) for _ in range(2))
    one, two = first().numpy(), first().numpy()
    assert (one != two).any()
    np.testing.assert_array_equal(second(), one)
    np.testing.assert_array_equal(second(), two)


def test_one_item():
    np.testing.assert_array_equal(sampler(5, items=1).draw(), [2] * 5)
    np.testing.assert_allclose(sampler(5, items=1).log_probability(np.array([2])), 0.0, atol=1e-6)


def test_masks_the_target_by_default():
    np.testing.assert_array_equal(sampler().keep(np.array([4]), np.array([4, 3])), [[False, True]])
    assert sampler(mask_hits=False).keep(np.array([4]), np.array([4, 3])) is None


def test_refuses_empty_draws():
    with pytest.raises(InputError, match="count=0"):
        LogUniform(0)
