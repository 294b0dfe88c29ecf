import numpy as np
import pytest
import tensorflow as tf

from tfrecsession import InputError
from tfrecsession.layers import DiscountedMean


def layer_of(discount):
    layer = DiscountedMean(discount)
    layer.build((None, None, 1))
    return layer


def test_by_hand():
    inputs = np.array([[[1.0], [3.0], [5.0], [7.0]]], np.float32)
    starts = tf.constant([[True, False, False, True]])
    means, state = layer_of(0.5)(inputs, starts)
    # 1;  (3 + 0.5 * 1) / 1.5;  (5 + 0.5 * 3 + 0.25 * 1) / 1.75;  a new session: 7
    np.testing.assert_allclose(means[0, :, 0], [1, 3.5 / 1.5, 6.75 / 1.75, 7], rtol=1e-6)
    assert state.numpy().tolist() == [[7.0, 1.0]]


@pytest.mark.parametrize("discount", [0.0, 1.0])
def test_the_last_event_alone_or_the_plain_mean(discount):
    inputs = np.random.default_rng(0).normal(size=(2, 6, 1)).astype(np.float32)
    means, _ = layer_of(discount)(inputs, tf.zeros((2, 6), tf.bool))
    expected = np.cumsum(inputs, axis=1) / np.arange(1, 7)[None, :, None] if discount else inputs
    np.testing.assert_allclose(means, expected, atol=1e-6)


def test_continues_from_a_carried_state():
    inputs, starts = np.random.default_rng(0).normal(size=(2, 6, 1)).astype(np.float32), tf.zeros((2, 6), tf.bool)
    whole, _ = layer_of(0.7)(inputs, starts)
    _, state = layer_of(0.7)(inputs[:, :4], starts[:, :4])
    rest, _ = layer_of(0.7)(inputs[:, 4:], starts[:, 4:], state)
    np.testing.assert_allclose(rest, whole[:, 4:], atol=1e-6)


@pytest.mark.parametrize("discount", [-0.1, 1.5])
def test_an_invalid_discount(discount):
    with pytest.raises(InputError, match=f"discount={discount}"):
        DiscountedMean(discount)


def test_config_round_trip():
    assert DiscountedMean.from_config(DiscountedMean(0.3).get_config()).discount == 0.3
