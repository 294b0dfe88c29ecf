import numpy as np
import pytest
import tensorflow as tf


@pytest.fixture(scope="session")
def losses_and_gradients():
    """A function of loss, positive, negatives, keep, upstream: losses, and both gradients of their weighted sum."""

    def compute(loss, positive, negatives, keep=None, upstream=None):
        positive, negatives = tf.constant(positive, tf.float32), tf.constant(negatives, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch([positive, negatives])
            losses = loss.compare(positive, negatives, keep)
            total = tf.reduce_sum(losses if upstream is None else losses * upstream)
        return losses.numpy(), *(g.numpy() for g in tape.gradient(total, [positive, negatives]))

    return compute


@pytest.fixture(scope="session")
def numeric_gradients():
    """Central differences of a float64 function of positive [...] and negatives [..., n]."""

    def compute(function, positive, negatives, step=1e-5):
        def slope(d_positive, d_negatives):
            ahead = function(positive + d_positive, negatives + d_negatives)
            return (ahead - function(positive - d_positive, negatives - d_negatives)) / (2 * step)

        columns = step * np.eye(negatives.shape[-1])
        return slope(step, 0.0), np.stack([slope(0.0, column) for column in columns], axis=-1)

    return compute
