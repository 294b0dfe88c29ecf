"""A GRU whose dynamics depend on context, against its equations."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.numpy_reference import sigmoid
from tfrecsession.layers import SessionContextGRU, SessionGRU
from tfrecsession.layers.recurrent.session_recurrent import UNROLLED

RNG = np.random.default_rng(0)


def inputs_of(steps, rows=2, width=3, context=5):
    inputs, context = (RNG.normal(size=(rows, steps, size)).astype(np.float32) for size in (width, context))
    return inputs, RNG.random((rows, steps)) < 0.3, RNG.normal(size=(rows, 4)).astype(np.float32), context


def layer_of(reset_after, random=True):
    layer = SessionContextGRU(4, reset_after)
    layer.build((None, None, 3), context_shape=(None, None, 5))
    for weight in layer.weights:
        if random and "seed" not in weight.path:
            weight.assign(RNG.normal(size=weight.shape) * 0.7)
    return layer


def step_by_step(layer, inputs, starts, state, context):
    """The equations of the docstring, one gate, one row and one step at a time."""
    gates = {name: slice(4 * n, 4 * n + 4) for n, name in enumerate("zrc")}
    weights = [layer.kernel, layer.recurrent_kernel, layer.bias, layer.context_kernel]
    w, u, b, d = (weight.numpy().astype(np.float64) for weight in weights)
    second = layer.recurrent_bias.numpy().astype(np.float64) if layer.reset_after else np.zeros(12)
    states = np.zeros((*inputs.shape[:2], 4))
    for row in range(len(inputs)):
        h = state[row].astype(np.float64)
        for t in range(inputs.shape[1]):
            x, v = inputs[row, t].astype(np.float64), context[row, t].astype(np.float64)
            h = np.zeros(4) if starts[row, t] else h

            def from_state(gate, state, v=v):
                return (state @ u[:, gates[gate]]) * (1 + v @ d[:, gates[gate]]) + second[gates[gate]]

            z, r = (sigmoid(x @ w[:, gates[n]] + b[gates[n]] + from_state(n, h)) for n in "zr")
            inner = r * from_state("c", h) if layer.reset_after else from_state("c", r * h)
            c = np.tanh(x @ w[:, gates["c"]] + b[gates["c"]] + inner)
            states[row, t] = h = (1 - z) * h + z * c
    return states


@pytest.mark.parametrize("reset_after", [False, True])
@pytest.mark.parametrize("steps", [7, UNROLLED + 3])
def test_equals_the_equations(reset_after, steps):
    layer = layer_of(reset_after)
    inputs, starts, state, context = inputs_of(steps)
    states, last = layer(inputs, tf.constant(starts), tf.constant(state), context)
    expected = step_by_step(layer, inputs, starts, state, context)
    np.testing.assert_allclose(states, expected, atol=1e-5)
    np.testing.assert_allclose(last, expected[:, -1], atol=1e-5)


@pytest.mark.parametrize("reset_after", [False, True])
def test_step_by_step_it_is_the_same(reset_after):
    layer = layer_of(reset_after)
    inputs, starts, state, context = inputs_of(6)
    whole, _ = layer(inputs, tf.constant(starts), tf.constant(state), context)
    for t in range(6):
        now = slice(t, t + 1)
        output, state = layer(inputs[:, now], tf.constant(starts[:, now]), tf.constant(state), context[:, now])
        np.testing.assert_allclose(output[:, 0], whole[:, t], atol=1e-6)


@pytest.mark.parametrize("reset_after", [False, True])
def test_at_first_it_is_a_gru_and_context_is_learned(reset_after):
    layer, plain = layer_of(reset_after), SessionGRU(4, reset_after)
    inputs, starts, state, context = inputs_of(6)
    starts, state = tf.constant(starts), tf.constant(state)
    plain.build(inputs.shape)
    names = ["kernel", "recurrent_kernel", "bias", *(["recurrent_bias"] if reset_after else [])]
    for name in names:
        getattr(plain, name).assign(getattr(layer, name))
    np.testing.assert_allclose(layer(inputs, starts, state, 0 * context)[0], plain(inputs, starts, state)[0], atol=1e-6)
    layer.context_kernel.assign(np.zeros((5, 12)))
    with tf.GradientTape() as tape:
        states, _ = layer(inputs, starts, state, context)
        loss = tf.reduce_sum(states**2)
    np.testing.assert_allclose(states, plain(inputs, starts, state)[0], atol=1e-6)
    assert (np.abs(tape.gradient(loss, layer.context_kernel.value)) > 0).all()


def test_a_new_session_knows_nothing_of_the_one_before():
    layer = layer_of(False)
    inputs, _, state, context = inputs_of(6)
    starts = np.zeros((2, 6), bool)
    starts[:, 3] = True
    found, _ = layer(inputs, tf.constant(starts), tf.constant(state), context)
    inputs[:, :3], context[:, :3] = 0, 9
    changed, _ = layer(inputs, tf.constant(starts), tf.constant(-state), context)
    np.testing.assert_array_equal(found[:, 3:], changed[:, 3:])
    assert not np.allclose(found[:, :3], changed[:, :3])


def test_config_round_trip():
    layer = keras.layers.deserialize(keras.layers.serialize(SessionContextGRU(7, reset_after=True)))
    assert (layer.units, layer.reset_after) == (7, True) and isinstance(layer, SessionContextGRU)


def test_the_output_shape_is_known():
    layer = layer_of(False)
    shapes = {"starts_shape": (2, 6), "state_shape": (2, 4), "context_shape": (2, 6, 5)}
    assert layer.compute_output_shape((2, 6, 3), **shapes) == ((2, 6, 4), (2, 4))
