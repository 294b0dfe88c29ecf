import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrecsession.layers import SessionLRU, SessionMinGRU, linear_scan

module = sys.modules["tfrecsession.layers.recurrent.linear_scan"]  # the function has the module's name


def arrays(steps, dtype, rows=3, units=4):
    rng = np.random.default_rng(steps)

    def normal(*shape):
        found = rng.normal(size=shape) * 0.6
        return (found + 0.6j * rng.normal(size=shape) if dtype == "complex64" else found).astype(dtype)

    factors, inputs, state = normal(rows, steps, units), normal(rows, steps, units), normal(rows, units)
    factors[rng.random((rows, steps)) < 0.2] = 0  # a session starts
    return factors, inputs, state


def one_by_one(factors, inputs, state):
    states = []
    for step in range(inputs.shape[1]):
        state = factors[:, step] * state + inputs[:, step]
        states.append(state)
    return states


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
@pytest.mark.parametrize(("steps", "unrolled"), [(1, 64), (9, 64), (1, 0), (9, 0), (70, 64)])
def test_it_equals_step_by_step(steps, unrolled, dtype, monkeypatch):
    """Unrolled, and by doubling."""
    monkeypatch.setattr(module, "UNROLLED", unrolled)
    given = arrays(steps, dtype)
    np.testing.assert_allclose(linear_scan(*given), np.stack(one_by_one(*given), axis=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "complex64"])
@pytest.mark.parametrize("unrolled", [0, 64])
def test_the_gradient_is_that_of_the_loop(unrolled, dtype, monkeypatch):
    monkeypatch.setattr(module, "UNROLLED", unrolled)
    given, found = [tf.constant(array) for array in arrays(7, dtype)], []
    for scan in (linear_scan, lambda *arrays: tf.stack(one_by_one(*arrays), axis=1)):
        with tf.GradientTape() as tape:
            tape.watch(given)
            states = scan(*given)
            parts = [states] if dtype == "float32" else [tf.math.real(states), 2 * tf.math.imag(states)]
            loss = sum(tf.reduce_sum(tf.sin(part)) for part in parts)
        found.append(tape.gradient(loss, given))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_graph_of_unknown_steps():
    spec = [tf.TensorSpec((None, None, 4)), tf.TensorSpec((None, None, 4)), tf.TensorSpec((None, 4))]
    scan = tf.function(linear_scan, input_signature=spec)
    for steps in (1, 2, 13):
        given = arrays(steps, "float32")
        np.testing.assert_allclose(scan(*given), np.stack(one_by_one(*given), axis=1), rtol=1e-4, atol=1e-5)


def test_min_gru_equals_its_equations():
    keras.utils.set_random_seed(0)
    layer, rng = SessionMinGRU(3), np.random.default_rng(0)
    inputs, state = rng.normal(size=(2, 5, 4)).astype("float32"), rng.normal(size=(2, 3)).astype("float32")
    starts = np.zeros((2, 5), bool)
    starts[0, 0] = starts[1, 3] = True
    layer.build(inputs.shape)
    layer.bias.assign(rng.normal(size=6))
    found, last = layer(inputs, starts, state)
    kernel, bias, h = np.asarray(layer.kernel, float), np.asarray(layer.bias, float), state.astype(float)
    for step in range(5):
        projected = inputs[:, step] @ kernel + bias
        z, a = 1 / (1 + np.exp(-projected[:, :3])), projected[:, 3:]
        c = np.where(a >= 0, a + 0.5, 1 / (1 + np.exp(-a)))
        h = (1 - z) * np.where(starts[:, [step]], 0, h) + z * c
        np.testing.assert_allclose(found[:, step], h, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(last, h, rtol=1e-5, atol=1e-6)


def test_lru_equals_its_equations():
    keras.utils.set_random_seed(0)
    layer, rng = SessionLRU(4, 6), np.random.default_rng(0)
    inputs, state = rng.normal(size=(2, 5, 4)).astype("float32"), rng.normal(size=(2, 12)).astype("float32")
    starts = np.zeros((2, 5), bool)
    starts[0, 0] = starts[1, 3] = True
    found, last = layer(inputs, starts, state)
    nu, theta, gamma, skip = (np.asarray(weight, float) for weight in (layer.nu, layer.theta, layer.gamma, layer.skip))
    factor = np.exp(-np.exp(nu) + 1j * np.exp(theta))
    assert (np.abs(factor) >= 0.8 - 1e-6).all() and (np.abs(factor) <= 0.99 + 1e-6).all()
    np.testing.assert_allclose(np.exp(gamma), np.sqrt(1 - np.abs(factor) ** 2), rtol=1e-4)
    to_state = np.asarray(layer.kernel)[:, :6] + 1j * np.asarray(layer.kernel)[:, 6:]
    back = np.asarray(layer.back)[:6] - 1j * np.asarray(layer.back)[6:]
    h = state[:, :6] + 1j * state[:, 6:]
    for step in range(5):
        h = factor * np.where(starts[:, [step]], 0, h) + np.exp(gamma) * (inputs[:, step] @ to_state)
        np.testing.assert_allclose(found[:, step], (h @ back).real + inputs[:, step] * skip, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(last, np.concatenate([h.real, h.imag], axis=1), rtol=1e-4, atol=1e-5)
