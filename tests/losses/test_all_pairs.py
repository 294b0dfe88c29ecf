import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrecsession import InputError
from tfrecsession.losses import AllPairs


def test_value_and_gradient_equal_the_sum_over_all_pairs():
    rng = np.random.default_rng(0)
    users, items, weight = 7, 9, 0.3
    x, y = rng.normal(size=(users, 4)).astype(np.float32), rng.normal(size=(items, 4)).astype(np.float32)
    seen = rng.random((users, items)) < 0.4
    seen[:, 0] = seen[0] = True  # every user and every item has a pair
    u, i = np.nonzero(seen)

    slow = 0.0
    for user in range(users):
        for item in range(items):
            score = float(x[user] @ y[item])
            slow += weight * score**2 + (seen[user, item]) * (1 - score) ** 2
    scores = x @ y.T
    pull = 2 * weight * scores - 2 * seen * (1 - scores)

    a, b = tf.Variable(x), tf.Variable(y)
    with tf.GradientTape() as tape:
        each = AllPairs(weight).of_pairs(
            tf.gather(a, u),
            tf.gather(b, i),
            tf.constant(seen.sum(axis=1)[u], tf.float32),
            tf.constant(seen.sum(axis=0)[i], tf.float32),
            tf.constant(y.T @ y),
            tf.constant(x.T @ x),
        )
        whole = tf.reduce_sum(each)
    of_users, of_items = (tf.convert_to_tensor(g).numpy() for g in tape.gradient(whole, [a, b]))
    assert float(whole) == pytest.approx(slow, rel=1e-5)
    np.testing.assert_allclose(of_users, pull @ y, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(of_items, pull.T @ x, rtol=1e-4, atol=1e-4)


def test_config_round_trip_and_invalid_use():
    loss = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(AllPairs(0.02)))
    assert loss.unobserved_weight == 0.02
    with pytest.raises(InputError, match="MatrixFactorization"):
        loss(np.ones((2, 3)), np.ones((2, 3)))
    for wrong in (0, -1, float("nan")):
        with pytest.raises(InputError, match="unobserved_weight"):
            AllPairs(wrong)
