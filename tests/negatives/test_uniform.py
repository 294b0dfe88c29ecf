import numpy as np
import pytest
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.negatives import Uniform

COUNTS = np.array([0, 7, 100, 50, 20, 20, 5, 1])


def sampler(count=1000, counts=COUNTS, **kwargs):
    negatives = Uniform(count, **kwargs)
    negatives.build_from(counts)
    return negatives


def test_every_item_is_sampled_equally_often():
    draw = tf.function(sampler(20_000, seed=1).draw)
    drawn = np.concatenate([draw().numpy() for _ in range(10)])
    assert drawn.dtype == np.int32 and drawn.min() == 2 and drawn.max() == 7
    expected = len(drawn) / 6
    chi_square = ((np.bincount(drawn)[2:] - expected) ** 2 / expected).sum()
    assert chi_square < 25.7  # 5 degrees of freedom, one in ten thousand


def test_log_probability():
    log_probability = sampler().log_probability(np.arange(8).reshape(2, 4))
    assert log_probability.shape == (2, 4) and log_probability.dtype == "float32"
    np.testing.assert_allclose(log_probability, np.log(1 / 6), rtol=1e-6)
    np.testing.assert_array_equal(sampler().log_weight(np.arange(8)), np.zeros(8))  # support^0


def test_every_draw_differs_and_a_seed_repeats_them():
    first, second = (tf.function(sampler(seed=7).draw) for _ in range(2))
    one, two = first().numpy(), first().numpy()
    assert (one != two).any()
    np.testing.assert_array_equal(second(), one)
    np.testing.assert_array_equal(second(), two)


def test_masks_the_target_by_default():
    np.testing.assert_array_equal(sampler().keep(np.array([4]), np.array([4, 3])), [[False, True]])
    assert sampler(mask_hits=False).keep(np.array([4]), np.array([4, 3])) is None


def test_one_item():
    np.testing.assert_array_equal(sampler(5, np.array([0, 0, 9])).draw(), [2] * 5)


def test_refuses_empty_draws_and_an_unknown_catalogue():
    with pytest.raises(InputError, match="count=0"):
        Uniform(0)
    with pytest.raises(InputError, match="build_from"):
        Uniform(3).draw()
