"""FTRL-Proximal: the published recurrences, Keras' dense optimizer, exact zeros."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.optimizers import LazyFTRL

RNG = np.random.default_rng(9)


def ftrl(steps, shape, alpha, beta, l1, l2):
    """Applies algorithm 1 of the paper in float64; the weight of a row is computed from z and n when it is touched."""
    z, n = np.zeros(shape), np.zeros(shape)

    def weight():
        shrunk = np.where(np.abs(z) <= l1, 0, -(z - np.sign(z) * l1))
        return shrunk / ((beta + np.sqrt(n)) / alpha + l2)

    for rows, values in steps:
        w = weight()
        for row in np.unique(rows):
            g = values[rows == row].sum(axis=0)
            sigma = (np.sqrt(n[row] + g**2) - np.sqrt(n[row])) / alpha
            z[row] += g - sigma * w[row]
            n[row] += g**2
    return weight()


def sparse(values, rows, shape):
    return tf.IndexedSlices(tf.constant(values), tf.constant(rows), tf.constant(shape))


@pytest.mark.parametrize("l1, l2", [(0.0, 0.0), (0.7, 0.3)])
def test_equals_the_published_recurrences(l1, l2):
    steps = [(RNG.integers(0, 8, size=10), RNG.normal(size=(10, 3)).astype("f")) for _ in range(20)]
    variable, optimizer = keras.Variable(np.zeros((8, 3), "f")), LazyFTRL(0.2, l1=l1, l2=l2, beta=0.5)
    for rows, values in steps:
        optimizer.apply([sparse(values, rows, [8, 3])], [variable])
    expected = ftrl(steps, (8, 3), 0.2, 0.5, l1, l2)
    np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-5, atol=1e-5)
    if l1:
        zeros = expected == 0
        assert zeros.any() and not zeros.all()
        np.testing.assert_array_equal(variable.numpy() == 0, zeros)


def test_dense_steps_equal_keras():
    ours, theirs = (keras.Variable(RNG.normal(size=(4, 3)).astype("f")) for _ in range(2))
    theirs.assign(ours)
    one = LazyFTRL(0.1, l1=0.2, l2=0.06, beta=0.3, initial_accumulator_value=0.1)
    two = keras.optimizers.Ftrl(
        0.1, l1_regularization_strength=0.2, l2_regularization_strength=0.03, beta=0.3, initial_accumulator_value=0.1
    )
    for _ in range(10):
        gradient = tf.constant(RNG.normal(size=(4, 3)), tf.float32)
        one.apply([gradient], [ours])
        two.apply([gradient], [theirs])
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-5)


def test_equals_the_op_of_tensorflow():
    """`tf.raw_ops.ResourceApplyFtrl` is the kernel that the authors' own optimizer ran; its l2 is half of ours."""
    ours, shape = keras.Variable(np.zeros((4, 3), "f")), (4, 3)
    weight, accumulator, linear = (tf.Variable(tf.fill(shape, value)) for value in (0.0, 0.1, 0.0))
    optimizer = LazyFTRL(0.1, l1=0.2, l2=0.06, beta=0.0, initial_accumulator_value=0.1)
    for _ in range(10):
        gradient = tf.constant(RNG.normal(size=shape), tf.float32)
        optimizer.apply([gradient], [ours])
        tf.raw_ops.ResourceApplyFtrl(
            var=weight.handle, accum=accumulator.handle, linear=linear.handle, grad=gradient, lr=0.1, l1=0.2, l2=0.03,
            lr_power=-0.5,
        )  # fmt: skip
        np.testing.assert_allclose(ours.numpy(), weight.numpy(), rtol=1e-5, atol=1e-5)


def test_by_hand():
    # z = 2, n = 4, S = (1 + 2) / 0.5: p = (0.5 - 2) / 6
    variable = keras.Variable(np.zeros((3, 1), "f"))
    LazyFTRL(0.5, l1=0.5).apply([sparse([[2.0], [0.4]], [1, 2], [3, 1])], [variable])
    np.testing.assert_allclose(variable.numpy(), [[0.0], [-0.25], [0.0]], rtol=1e-6)


def test_a_falling_rate_keeps_the_weights():
    variable, optimizer = keras.Variable(np.zeros((2, 1), "f")), LazyFTRL(0.5)
    optimizer.apply([tf.constant([[2.0], [-1.0]])], [variable])
    before = variable.numpy()
    optimizer.learning_rate = 1e-6
    optimizer.apply([tf.constant([[1.0], [1.0]])], [variable])
    np.testing.assert_allclose(variable.numpy(), before, atol=1e-5)
    optimizer.learning_rate = 0.0
    state = [part.numpy() for part in optimizer.variables if part.shape == (2, 1)]
    optimizer.apply([tf.constant([[1.0], [1.0]])], [variable])
    assert np.isfinite(variable.numpy()).all()
    for one, other in zip(state, (part.numpy() for part in optimizer.variables if part.shape == (2, 1)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "bad", [{"l1": -1}, {"l2": float("nan")}, {"beta": -0.1}, {"beta": 0.0}, {"weight_decay": 0.1}], ids=str
)
def test_refuses(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        LazyFTRL(**bad)
