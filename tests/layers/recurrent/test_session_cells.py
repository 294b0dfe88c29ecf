"""LSTM and plain RNN against their equations, and properties of every cell."""

import numpy as np
import pytest
import tensorflow as tf

from tests.numpy_reference import sigmoid
from tfrecsession.layers import SessionGRU, SessionLSTM, SessionRNN
from tfrecsession.layers.recurrent.session_recurrent import UNROLLED

RNG = np.random.default_rng(0)
CELLS = [SessionGRU, SessionLSTM, SessionRNN]


def lstm(x, state, kernel, recurrent, bias):
    h, m = np.split(state, 2)
    i, f, o, g = np.split(x @ kernel + h @ recurrent + bias, 4)
    m = sigmoid(f) * m + sigmoid(i) * np.tanh(g)
    return np.concatenate([sigmoid(o) * np.tanh(m), m])


def rnn(x, state, kernel, recurrent, bias):
    return np.tanh(x @ kernel + state @ recurrent + bias)


def random_layer(cell, units=4, width=3, **settings):
    layer = cell(units, **settings)
    layer.build((None, None, width))
    for weight in layer.weights:
        weight.assign(RNG.normal(size=weight.shape))
    return layer


@pytest.mark.parametrize(("cell", "step"), [(SessionLSTM, lstm), (SessionRNN, rnn)])
@pytest.mark.parametrize("steps", [6, UNROLLED + 3])
def test_equals_the_equations(cell, step, steps):
    layer = random_layer(cell)
    weights = [weight.numpy().astype(np.float64) for weight in layer.weights]
    inputs = RNG.normal(size=(2, steps, 3)).astype(np.float32)
    starts = RNG.random((2, steps)) < 0.3
    state = RNG.normal(size=(2, layer.state_width)).astype(np.float32)
    outputs, last = layer(inputs, tf.constant(starts), tf.constant(state))
    for row in range(2):
        now = state[row].astype(np.float64)
        for t in range(steps):
            now = step(inputs[row, t], np.zeros_like(now) if starts[row, t] else now, *weights)
            np.testing.assert_allclose(outputs[row, t], now[:4], atol=1e-5)
        np.testing.assert_allclose(last[row], now, atol=1e-5)


def test_the_forget_gate_starts_open():
    layer = SessionLSTM(2)
    layer.build((None, None, 3))
    assert layer.bias.numpy().tolist() == [0, 0, 1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("cell", CELLS)
def test_inputs_may_be_products_already(cell):
    whole, rest = random_layer(cell), cell(4, project=False)
    rest.build((None, None, 4 * cell.gates))
    rest.recurrent_kernel.assign(whole.recurrent_kernel)
    rest.bias.assign(whole.bias)
    if cell is SessionGRU:
        assert len(rest.weights) == 2
    inputs, starts = RNG.normal(size=(2, 5, 3)).astype(np.float32), tf.zeros((2, 5), tf.bool)
    expected, _ = whole(inputs, starts)
    np.testing.assert_allclose(rest(inputs @ whole.kernel.numpy(), starts)[0], expected, atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_the_dropped_output_is_carried_and_the_memory_is_not_dropped(cell):
    layer = random_layer(cell, units=50, dropout=0.5)
    inputs, starts = RNG.normal(size=(1, 2, 3)).astype(np.float32), tf.zeros((1, 2), tf.bool)
    outputs, last = layer(inputs, starts, training=True)
    dropped = (outputs.numpy() == 0).mean()
    assert 0.3 < dropped < 0.7
    # the second step, from the dropped first output
    whole, first = layer(inputs[:, :1], starts[:, :1])
    kept = np.where(outputs[:, 0] == 0, 0.0, 2 * whole[:, 0])
    np.testing.assert_allclose(outputs[:, 0], kept, rtol=1e-5)
    carried = np.concatenate([kept, first.numpy()[:, 50:]], axis=1).astype(np.float32)
    second, memory = layer(inputs[:, 1:], starts[:, 1:], tf.constant(carried))
    np.testing.assert_allclose(outputs[:, 1], np.where(outputs[:, 1] == 0, 0.0, 2 * second[:, 0]), rtol=1e-4)
    np.testing.assert_allclose(last[:, 50:], memory[:, 50:], rtol=1e-4)


@pytest.mark.parametrize("cell", CELLS)
def test_config_round_trip(cell):
    layer = cell.from_config(cell(7, dropout=0.25, project=False).get_config())
    assert (layer.units, layer.dropout, layer.project) == (7, 0.25, False)
