"""Cells that know the user, against their equations, one gate, one row and one step at a time."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.numpy_reference import sigmoid
from tfrecsession.layers import SessionAttentionalUserGRU, SessionGRU, SessionRectifiedUserGRU, SessionUserGRU
from tfrecsession.layers.recurrent.session_recurrent import UNROLLED
from tfrecsession.layers.recurrent.session_user_gru import rectifier

RNG = np.random.default_rng(0)
CELLS = {"linear": SessionUserGRU, "rectified": SessionRectifiedUserGRU, "attentional": SessionAttentionalUserGRU}


def layer_of(cell, users=2):
    layer = CELLS[cell](4)
    layer.build((None, None, 3), users_shape=(None, None, users))
    for weight in layer.weights:
        if "seed" not in weight.path:
            weight.assign(RNG.normal(size=weight.shape) * 0.7)
    return layer


def inputs_of(steps, users=2, rows=2):
    inputs, vectors = (RNG.normal(size=(rows, steps, width)).astype(np.float32) for width in (3, users))
    return inputs, RNG.random((rows, steps)) < 0.3, RNG.normal(size=(rows, 4)).astype(np.float32), vectors


def step_by_step(layer, inputs, starts, state, users):
    """The equations of the docstrings."""
    w = {weight.name: weight.numpy().astype(np.float64) for weight in layer.weights}
    states = np.zeros((*inputs.shape[:2], 4))
    for row in range(len(inputs)):
        h = state[row].astype(np.float64)
        for t in range(inputs.shape[1]):
            x, v = inputs[row, t].astype(np.float64), users[row, t].astype(np.float64)
            h = np.zeros(4) if starts[row, t] else h
            if isinstance(layer, SessionRectifiedUserGRU):
                k = np.concatenate([x, v]) @ w["threshold_kernel"] + h @ w["threshold_recurrent"] + w["threshold_bias"]
                low, high = k[: len(v)], k[: len(v)] + np.log1p(np.exp(k[len(v) :]))
                v = np.array([0 if a < b else 0.2 * a if a < c else a for a, b, c in zip(v, low, high, strict=True)])
            if isinstance(layer, SessionAttentionalUserGRU):
                v = v @ w["user_kernel"] if "user_kernel" in w else v
                into = np.concatenate([x, v]) @ w["attention_kernel"] + h @ w["attention_recurrent"]
                a = sigmoid(into + w["attention_bias"])
                x, v = (1 - a) * x, a * v
            both, u = np.concatenate([x, v]), w["recurrent_kernel"]
            z, r = (sigmoid(both @ w["kernel"][:, p] + h @ u[:, p] + w["bias"][p]) for p in (slice(4), slice(4, 8)))
            c = np.tanh(both @ w["kernel"][:, 8:] + (r * h) @ u[:, 8:] + w["bias"][8:])
            states[row, t] = h = (1 - z) * h + z * c
    return states


@pytest.mark.parametrize(("cell", "users"), [("linear", 2), ("rectified", 2), ("attentional", 2), ("attentional", 3)])
@pytest.mark.parametrize("steps", [7, UNROLLED + 3])
def test_equals_the_equations(cell, users, steps):
    layer = layer_of(cell, users)
    inputs, starts, state, vectors = inputs_of(steps, users)
    states, last = layer(inputs, tf.constant(starts), tf.constant(state), vectors)
    expected = step_by_step(layer, inputs, starts, state, vectors)
    np.testing.assert_allclose(states, expected, atol=1e-5)
    np.testing.assert_allclose(last, expected[:, -1], atol=1e-5)


def test_the_linear_cell_without_users_is_a_gru():
    layer, other = layer_of("linear"), SessionGRU(4)
    other.build((None, None, 3))
    other.kernel.assign(layer.kernel[:3])
    other.recurrent_kernel.assign(layer.recurrent_kernel)
    other.bias.assign(layer.bias)
    inputs, starts, state, vectors = inputs_of(6)
    found, _ = layer(inputs, tf.constant(starts), tf.constant(state), np.zeros_like(vectors))
    expected, _ = other(inputs, tf.constant(starts), tf.constant(state))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_thresholds_learn():
    """The values are those of the steps, and each threshold has a gradient where a user's value is near it."""
    values, low = tf.constant([-1.0, 0.05, 0.45, 2.0]), tf.Variable([0.0] * 4)
    high = tf.Variable([0.5] * 4)
    with tf.GradientTape() as tape:
        kept = rectifier(values, low, high)
    np.testing.assert_allclose(kept, [0, 0.2, 0.2, 1], atol=1e-6)
    of_low, of_high = tape.gradient(kept, [low, high])
    assert of_low[1] < -0.1 and of_high[2] < -0.1  # a higher threshold lets less through
    assert abs(of_low[3]) < 1e-3 and abs(of_high[0]) < 1e-3
    layer = layer_of("rectified")
    inputs, starts, state, vectors = inputs_of(6)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(inputs, tf.constant(starts), tf.constant(state), vectors)[0] ** 2)
    gradients = tape.gradient(total, [layer.threshold_kernel.value, layer.threshold_recurrent.value])
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)


def test_at_first_attention_weighs_both_alike():
    layer = SessionAttentionalUserGRU(4)
    layer.build((None, None, 3), users_shape=(None, None, 3))
    inputs, starts, state, vectors = inputs_of(5, users=3)
    linear = SessionUserGRU(4)
    linear.build((None, None, 3), users_shape=(None, None, 3))
    for name in ("kernel", "recurrent_kernel", "bias"):
        getattr(linear, name).assign(getattr(layer, name))
    found, _ = layer(inputs, tf.constant(starts), tf.constant(state), vectors)
    expected, _ = linear(inputs / 2, tf.constant(starts), tf.constant(state), vectors / 2)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_it_is_rebuilt_from_its_config(cell):
    layer = CELLS[cell](4, dropout=0.1)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert (type(again), again.units, again.dropout) == (type(layer), 4, 0.1)
