import numpy as np
import pytest
import tensorflow as tf

from tests.numpy_reference import softmax
from tfrecsession.losses import CrossEntropy

RNG = np.random.default_rng(0)


def reference(positive, negatives, keep=None):
    """-log softmax of column 0, in float64, written as the definition reads."""
    scores = np.concatenate([positive[..., None], negatives], axis=-1).astype(np.float64)
    if keep is not None:
        scores[..., 1:] = np.where(keep, scores[..., 1:], -np.inf)
    return np.logaddexp.reduce(scores, axis=-1) - scores[..., 0]


def reference_gradients(positive, negatives):
    """softmax - onehot."""
    scores = np.concatenate([positive[..., None], negatives], axis=-1).astype(np.float64)
    shares = softmax(scores)
    return shares[..., 0] - 1.0, shares[..., 1:]


def loss_and_gradients(positive, negatives, keep=None, loss=None):
    positive, negatives = tf.constant(positive, tf.float32), tf.constant(negatives, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([positive, negatives])
        losses = (loss or CrossEntropy()).compare(positive, negatives, keep)
        total = tf.reduce_sum(losses)
    return losses.numpy(), *(g.numpy() for g in tape.gradient(total, [positive, negatives]))


@pytest.mark.parametrize("shape", [(5,), (2, 3)])
def test_equals_its_definition(shape):
    positive, negatives = RNG.normal(size=shape) * 3, RNG.normal(size=(*shape, 7)) * 3
    loss, d_positive, d_negatives = loss_and_gradients(positive, negatives)
    np.testing.assert_allclose(loss, reference(positive, negatives), rtol=1e-5)
    expected = reference_gradients(positive, negatives)
    np.testing.assert_allclose(d_positive, expected[0], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(d_negatives, expected[1], rtol=1e-5, atol=1e-7)


def test_by_hand():
    loss, *_ = loss_and_gradients(np.array([0.0]), np.array([[0.0, 0.0, 0.0]]))
    np.testing.assert_allclose(loss, np.log(4.0), rtol=1e-6)


def test_gradient_scales_with_the_upstream_gradient():
    positive, negatives = tf.constant([0.3, -1.0]), tf.constant(RNG.normal(size=(2, 4)).astype(np.float32))
    with tf.GradientTape() as tape:
        tape.watch(negatives)
        total = tf.reduce_sum(CrossEntropy().compare(positive, negatives) * [2.0, 0.0])
    gradient = tape.gradient(total, negatives).numpy()
    expected = reference_gradients(positive.numpy(), negatives.numpy())[1]
    np.testing.assert_allclose(gradient[0], 2 * expected[0], rtol=1e-5)
    assert not gradient[1].any()


def test_masked_columns_have_neither_effect_nor_gradient():
    positive, negatives = RNG.normal(size=3), RNG.normal(size=(3, 6))
    keep = np.array([[1, 1, 0, 1, 0, 1], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]], bool)
    loss, d_positive, d_negatives = loss_and_gradients(positive, negatives, keep)
    np.testing.assert_allclose(loss, reference(positive, negatives, keep), rtol=1e-5, atol=1e-7)
    assert not d_negatives[~keep].any()
    shorter = loss_and_gradients(positive[:1], negatives[:1, keep[0]])
    np.testing.assert_allclose(d_negatives[0, keep[0]], shorter[2][0], rtol=1e-6)
    # no negatives: no loss and no gradient
    assert loss[2] == 0 and d_positive[2] == 0


def test_a_mask_of_one_row_is_broadcast():
    positive, negatives = RNG.normal(size=(2, 3)), RNG.normal(size=(2, 3, 4))
    keep = np.array([True, False, True, True])
    np.testing.assert_allclose(
        loss_and_gradients(positive, negatives, keep)[0], reference(positive, negatives, keep), rtol=1e-5
    )


@pytest.mark.parametrize("positive", [-1e4, 0.0, 1e4])
@pytest.mark.parametrize("negatives", [[-1e4, -1e4], [1e4, 1e4], [1e4, -1e4], [0.0, 1e4]])
def test_extreme_scores_stay_finite(positive, negatives):
    result = loss_and_gradients(np.array([positive]), np.array([negatives]))
    assert all(np.isfinite(part).all() for part in result)
    np.testing.assert_allclose(result[0], reference(np.array([positive]), np.array([negatives])), rtol=1e-5, atol=1e-7)


def test_scores_are_not_normalised_twice():
    # some published ports take a second softmax after sampling: their loss is at least log(1 + n / e)
    loss, *_ = loss_and_gradients(np.array([30.0]), np.zeros((1, 10)))
    assert loss[0] < 1e-6


def test_low_precision_scores_are_compared_in_float32():
    positive, negatives = RNG.normal(size=4), RNG.normal(size=(4, 50))
    low = [tf.cast(tf.constant(part), tf.bfloat16) for part in (positive, negatives)]
    loss = CrossEntropy().compare(*low)
    assert loss.dtype == tf.float32
    exact = reference(*(tf.cast(part, tf.float64).numpy() for part in low))
    np.testing.assert_allclose(loss, exact, rtol=1e-5)


def test_same_inside_a_graph():
    positive, negatives = RNG.normal(size=4).astype("f"), RNG.normal(size=(4, 5)).astype("f")
    graph = tf.function(CrossEntropy().compare)
    np.testing.assert_allclose(graph(positive, negatives), reference(positive, negatives), rtol=1e-5)
