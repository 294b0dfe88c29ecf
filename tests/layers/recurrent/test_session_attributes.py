"""Cells whose previous state is multiplied by attributes, against their equations."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.numpy_reference import sigmoid
from tfrecsession.layers import SessionAttributeLSTM, SessionAttributeRNN, SessionLSTM, SessionRNN
from tfrecsession.layers.recurrent.session_recurrent import UNROLLED

RNG = np.random.default_rng(0)
CELLS = {"rnn": SessionAttributeRNN, "lstm": SessionAttributeLSTM}


def inputs_of(layer, steps, rows=2):
    inputs, attributes, features = (RNG.normal(size=(rows, steps, width)).astype(np.float32) for width in (3, 5, 2))
    state = RNG.normal(size=(rows, layer.state_width)).astype(np.float32)
    return inputs, RNG.random((rows, steps)) < 0.3, state, attributes, features


def layer_of(cell, random=True):
    layer = CELLS[cell](4, features=2)
    layer.build((None, None, 3), attributes_shape=(None, None, 5))
    for weight in layer.weights:
        if random and "seed" not in weight.path:
            weight.assign(RNG.normal(size=weight.shape) * 0.7)
    return layer


def step_by_step(layer, inputs, starts, state, attributes, features):
    """The equations of the docstrings, one row, one step and one gate at a time."""
    names = ["kernel", "recurrent_kernel", "bias", "attribute_kernel", "feature_kernel"]
    w, u, b, k, f = (getattr(layer, name).numpy().astype(np.float64) for name in names)
    states = np.zeros((*inputs.shape[:2], layer.state_width))
    for row in range(len(inputs)):
        now = state[row].astype(np.float64)
        for t in range(inputs.shape[1]):
            x, a, s = (array[row, t].astype(np.float64) for array in (inputs, attributes, features))
            now = np.zeros_like(now) if starts[row, t] else now
            h, factor = now[:4], 1 + np.tanh(a @ k)

            def gate(n, part=slice(None), x=x, s=s, h=h, factor=factor):
                part = slice(4 * n, 4 * n + 4)
                return x @ w[:, part] + (h * factor) @ u[:, part] + s @ f + b[part]

            if layer.memory == 1:
                now = np.tanh(gate(0))
            else:
                m, p = now[4:], layer.peepholes.numpy().astype(np.float64).reshape(3, 4)
                i, forget, o = (sigmoid(gate(n) + p[n] * m) for n in range(3))
                after = forget * m + i * np.tanh(gate(3))
                now = np.concatenate([o * np.tanh(after), after])
            states[row, t] = now
    return states


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("steps", [7, UNROLLED + 3])
def test_equals_the_equations(cell, steps):
    layer = layer_of(cell)
    inputs, starts, state, attributes, features = inputs_of(layer, steps)
    outputs, last = layer(inputs, tf.constant(starts), tf.constant(state), attributes, features)
    expected = step_by_step(layer, inputs, starts, state, attributes, features)
    np.testing.assert_allclose(outputs, expected[..., :4], atol=1e-5)
    np.testing.assert_allclose(last, expected[:, -1], atol=1e-5)
    none, _ = layer(inputs, tf.constant(starts), tf.constant(state), attributes)
    zeros, _ = layer(inputs, tf.constant(starts), tf.constant(state), attributes, np.zeros_like(features))
    np.testing.assert_allclose(none, zeros, atol=1e-6)


@pytest.mark.parametrize(("cell", "plain"), [("rnn", SessionRNN), ("lstm", SessionLSTM)])
def test_at_first_it_is_the_plain_cell(cell, plain):
    """Attributes have no effect before training, whatever they are, and neither have the peepholes."""
    layer, other = layer_of(cell, random=False), plain(4)
    other.build((None, None, 3))
    for name in ("kernel", "recurrent_kernel", "bias"):
        getattr(other, name).assign(getattr(layer, name))
    inputs, starts, state, attributes, _ = inputs_of(layer, 6)
    found, _ = layer(inputs, tf.constant(starts), tf.constant(state), attributes)
    expected, _ = other(inputs, tf.constant(starts), tf.constant(state))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_it_is_rebuilt_from_its_config(cell):
    layer = layer_of(cell)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert (type(again), again.units, again.features) == (type(layer), 4, 2)
