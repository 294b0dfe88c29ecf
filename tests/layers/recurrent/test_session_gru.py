import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.numpy_reference import sigmoid
from tfrecsession.layers import SessionGRU
from tfrecsession.layers.recurrent.session_recurrent import UNROLLED


def step_by_step(layer, inputs, starts, state):
    """Computes the equations of arXiv 1511.06939, one row and one step at a time."""
    kernel, recurrent, bias = (weight.numpy().astype(np.float64) for weight in layer.weights[:3])
    u = layer.units
    states = np.zeros((*inputs.shape[:2], u))
    for row in range(len(inputs)):
        h = state[row].astype(np.float64)
        for step, x in enumerate(inputs[row]):
            h = np.zeros(u) if starts[row, step] else h
            projected = x @ kernel + bias
            second = layer.recurrent_bias.numpy() if layer.reset_after else np.zeros(3 * u)
            z = sigmoid(projected[:u] + h @ recurrent[:, :u] + second[:u])
            r = sigmoid(projected[u : 2 * u] + h @ recurrent[:, u : 2 * u] + second[u : 2 * u])
            if layer.reset_after:
                inner = r * (h @ recurrent[:, 2 * u :] + second[2 * u :])
            else:
                inner = (r * h) @ recurrent[:, 2 * u :]
            h = (1 - z) * h + z * np.tanh(projected[2 * u :] + inner)
            states[row, step] = h
    return states


@pytest.mark.parametrize("reset_after", [False, True])
@pytest.mark.parametrize("steps", [7, UNROLLED + 3])
def test_equals_the_equations(reset_after, steps):
    rng = np.random.default_rng(0)
    layer = SessionGRU(4, reset_after)
    layer.build((None, None, 3))
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    inputs = rng.normal(size=(2, steps, 3)).astype(np.float32)
    starts = rng.random((2, steps)) < 0.3
    state = rng.normal(size=(2, 4)).astype(np.float32)
    states, last = layer(inputs, tf.constant(starts), tf.constant(state))
    expected = step_by_step(layer, inputs, starts, state)
    np.testing.assert_allclose(states, expected, atol=1e-5)
    np.testing.assert_allclose(last, expected[:, -1], atol=1e-5)


def test_reset_after_equals_keras_gru():
    """Keras' update gate is the complement of the paper's, so its kernel has the opposite sign."""
    keras.utils.set_random_seed(0)
    ours = SessionGRU(5, reset_after=True)
    ours.build((None, None, 3))
    theirs = keras.layers.GRU(5, reset_after=True, return_sequences=True)
    theirs.build((None, None, 3))
    flip = np.repeat([-1.0, 1.0, 1.0], 5)
    kernel, recurrent = (weight.numpy() for weight in ours.weights[:2])
    biases = np.random.default_rng(1).normal(size=(2, 15))
    ours.bias.assign(biases[0])
    ours.recurrent_bias.assign(biases[1])
    theirs.set_weights([kernel * flip, recurrent * flip, biases * flip])
    inputs = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32)
    states, _ = ours(inputs, tf.zeros((2, 6), tf.bool))
    np.testing.assert_allclose(states, theirs(inputs), atol=1e-5)


def test_unknown_number_of_steps_gives_the_same():
    layer = SessionGRU(4)
    layer.build((None, None, 3))
    inputs = np.random.default_rng(0).normal(size=(3, 9, 3)).astype(np.float32)
    starts = np.zeros((3, 9), bool)
    loop = tf.function(
        layer.call, input_signature=[tf.TensorSpec((None, None, 3)), tf.TensorSpec((None, None), tf.bool)]
    )
    np.testing.assert_allclose(loop(inputs, starts)[0], layer(inputs, tf.constant(starts))[0], atol=1e-6)


def test_config_round_trip():
    layer = SessionGRU.from_config(SessionGRU(7, reset_after=True).get_config())
    assert (layer.units, layer.reset_after) == (7, True)
