import keras
import numpy as np
import tensorflow as tf

from tfrecsession.optimizers import LazyAdam

RNG = np.random.default_rng(4)


def adam(start, steps, rate, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    """Applies the formula row by row in float64; a row's moments change only when it is touched."""
    p = start.astype(np.float64)
    m, v = np.zeros(p.shape), np.zeros(p.shape)
    for t, (rows, values) in enumerate(steps, start=1):
        for row in np.unique(rows):
            g = values[rows == row].sum(axis=0)
            m[row] = beta_1 * m[row] + (1 - beta_1) * g
            v[row] = beta_2 * v[row] + (1 - beta_2) * g**2
            corrected = rate * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
            p[row] -= corrected * m[row] / (np.sqrt(v[row]) + epsilon)
    return p


def test_equals_numpy_over_several_steps_with_duplicates():
    start = RNG.normal(size=(8, 3)).astype("f")
    steps = [(RNG.integers(0, 8, size=10), RNG.normal(size=(10, 3)).astype("f")) for _ in range(6)]
    variable, optimizer = keras.Variable(start), LazyAdam(0.05, beta_1=0.8, beta_2=0.95)
    for rows, values in steps:
        optimizer.apply([tf.IndexedSlices(tf.constant(values), tf.constant(rows), tf.constant([8, 3]))], [variable])
    expected = adam(start, steps, 0.05, 0.8, 0.95)
    np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_dense_steps_equal_keras():
    ours, theirs = keras.Variable(np.ones((4, 3), "f")), keras.Variable(np.ones((4, 3), "f"))
    one, two = LazyAdam(0.01), keras.optimizers.Adam(0.01)
    for _ in range(5):
        gradient = tf.constant(RNG.normal(size=(4, 3)), tf.float32)
        one.apply([gradient], [ours])
        two.apply([gradient], [theirs])
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-6)


def test_by_hand():
    # the first step of Adam is the learning rate, whatever the gradient
    variable = keras.Variable(np.zeros((2, 1), "f"))
    LazyAdam(0.1).apply([tf.IndexedSlices(tf.constant([[-7.0]]), tf.constant([1]), tf.constant([2, 1]))], [variable])
    np.testing.assert_allclose(variable.numpy(), [[0.0], [0.1]], rtol=1e-4)
