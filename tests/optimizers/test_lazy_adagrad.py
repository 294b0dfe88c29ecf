import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrecsession.optimizers import LazyAdagrad

RNG = np.random.default_rng(3)


def adagrad(start, steps, rate, initial=0.0, epsilon=1e-7, momentum=0.0):
    """Applies the formula row by row in float64: acc += g^2; v = mu v - rate g / sqrt(acc + eps); p += v."""
    p = start.astype(np.float64)
    acc, v = np.full(p.shape, initial), np.zeros(p.shape)
    for rows, values in steps:
        for row in np.unique(rows):
            g = values[rows == row].sum(axis=0)
            acc[row] += g**2
            v[row] = momentum * v[row] - rate * g / np.sqrt(acc[row] + epsilon)
            p[row] += v[row]
    return p


@pytest.mark.parametrize("momentum", [0.0, 0.4])
@pytest.mark.parametrize("initial, epsilon", [(0.0, 1e-7), (0.1, 1e-6)])
def test_equals_numpy_over_several_steps_with_duplicates(momentum, initial, epsilon):
    start = RNG.normal(size=(8, 3)).astype("f")
    steps = [(RNG.integers(0, 8, size=10), RNG.normal(size=(10, 3)).astype("f")) for _ in range(6)]
    variable = keras.Variable(start)
    optimizer = LazyAdagrad(0.05, initial_accumulator_value=initial, epsilon=epsilon, momentum=momentum)
    for rows, values in steps:
        optimizer.apply([tf.IndexedSlices(tf.constant(values), tf.constant(rows), tf.constant([8, 3]))], [variable])
    expected = adagrad(start, steps, 0.05, initial, epsilon, momentum)
    np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_by_hand():
    # the accumulator starts at 0, so that the first step is the learning rate, whatever the gradient
    variable = keras.Variable(np.zeros((3, 1), "f"))
    optimizer = LazyAdagrad(0.5, momentum=0.5)
    gradient = tf.IndexedSlices(tf.constant([[3.0]]), tf.constant([1]), tf.constant([3, 1]))
    optimizer.apply([gradient], [variable])
    np.testing.assert_allclose(variable.numpy(), [[0], [-0.5], [0]], rtol=1e-6)
    optimizer.apply([gradient], [variable])  # acc 18: v = 0.5 * -0.5 - 0.5 * 3 / sqrt(18)
    np.testing.assert_allclose(variable.numpy()[1], -0.5 - 0.25 - 0.5 / np.sqrt(2), rtol=1e-6)


def test_velocity_does_not_decay_while_a_row_is_not_touched():
    variable = keras.Variable(np.zeros((2, 1), "f"))
    optimizer = LazyAdagrad(0.5, momentum=0.9)
    touch = [tf.IndexedSlices(tf.constant([[1.0]]), tf.constant([row]), tf.constant([2, 1])) for row in (0, 1)]
    optimizer.apply([touch[0]], [variable])
    moved = variable.numpy()[0]
    for _ in range(5):
        optimizer.apply([touch[1]], [variable])
    np.testing.assert_array_equal(variable.numpy()[0], moved)
    optimizer.apply([touch[0]], [variable])
    np.testing.assert_allclose(variable.numpy()[0], moved + 0.9 * moved - 0.5 / np.sqrt(2), rtol=1e-5)


def test_dense_steps_equal_keras():
    ours, theirs = keras.Variable(np.ones((4, 3), "f")), keras.Variable(np.ones((4, 3), "f"))
    one, two = LazyAdagrad(0.1, initial_accumulator_value=0.1), keras.optimizers.Adagrad(0.1)
    for _ in range(5):
        gradient = tf.constant(RNG.normal(size=(4, 3)), tf.float32)
        one.apply([gradient], [ours])
        two.apply([gradient], [theirs])
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-6)


def test_a_zero_gradient_changes_nothing():
    variable = keras.Variable(np.ones((3, 2), "f"))
    gradient = tf.IndexedSlices(tf.zeros((1, 2)), tf.constant([0]), tf.constant([3, 2]))
    LazyAdagrad(0.1).apply([gradient], [variable])
    np.testing.assert_array_equal(variable.numpy(), np.ones((3, 2)))


def test_momentum_0_keeps_no_velocity():
    optimizers = [LazyAdagrad(0.1), LazyAdagrad(0.1, momentum=0.1)]
    for optimizer in optimizers:
        optimizer.build([keras.Variable(np.ones((3, 2), "f"))])
    assert len(optimizers[1].variables) == len(optimizers[0].variables) + 1
