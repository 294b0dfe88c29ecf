import numpy as np
import pytest
import tensorflow as tf

from tests.numpy_reference import activated, log_softmax, softmax, softplus
from tfrecsession.errors import InputError
from tfrecsession.losses import BPRMax

RNG = np.random.default_rng(1)


def reference(positive, negatives, regularization=1.0, elu=0.0, keep=None):
    """The paper's equation in float64, in log space so that it also holds for extreme scores."""
    positive, negatives = np.asarray(positive, np.float64), np.asarray(negatives, np.float64)
    positive, negatives = activated(positive, elu), activated(negatives, elu)
    masked = np.zeros(negatives.shape, bool) if keep is None else ~np.broadcast_to(keep, negatives.shape)
    log_s = log_softmax(np.where(masked, -np.inf, negatives))
    log_sigmoid = -softplus(negatives - positive[..., None])
    penalty = np.sum(np.where(masked, 0.0, np.exp(log_s) * negatives**2), axis=-1)
    return -np.logaddexp.reduce(log_s + log_sigmoid, axis=-1) + regularization * penalty


def numeric_gradients(positive, negatives, step=1e-5, **kwargs):
    """Central differences of the float64 reference."""
    d_positive = (reference(positive + step, negatives, **kwargs) - reference(positive - step, negatives, **kwargs)) / (
        2 * step
    )
    d_negatives = np.zeros_like(negatives)
    for column in range(negatives.shape[-1]):
        bump = np.zeros(negatives.shape[-1])
        bump[column] = step
        up, down = reference(positive, negatives + bump, **kwargs), reference(positive, negatives - bump, **kwargs)
        d_negatives[..., column] = (up - down) / (2 * step)
    return d_positive, d_negatives


def loss_and_gradients(positive, negatives, keep=None, upstream=None, **kwargs):
    positive, negatives = tf.constant(positive, tf.float32), tf.constant(negatives, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([positive, negatives])
        losses = BPRMax(**kwargs).compare(positive, negatives, keep)
        total = tf.reduce_sum(losses if upstream is None else losses * upstream)
    return losses.numpy(), *(g.numpy() for g in tape.gradient(total, [positive, negatives]))


def test_by_hand():
    # one negative: s = 1, so L = -log sigmoid(2 - 1) + 0.5 * 1^2
    loss, *_ = loss_and_gradients(np.array([2.0]), np.array([[1.0]]), regularization=0.5)
    np.testing.assert_allclose(loss, np.log1p(np.exp(-1.0)) + 0.5, rtol=1e-6)


@pytest.mark.parametrize("regularization", [0.0, 1.0, 1.95])
@pytest.mark.parametrize("elu", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_equals_the_paper(shape, elu, regularization):
    positive, negatives = RNG.normal(size=shape) * 2, RNG.normal(size=(*shape, 9)) * 2
    settings = {"regularization": regularization, "elu": elu}
    loss, d_positive, d_negatives = loss_and_gradients(positive, negatives, **settings)
    np.testing.assert_allclose(loss, reference(positive, negatives, **settings), rtol=1e-5, atol=1e-6)
    expected = numeric_gradients(positive, negatives, **settings)
    np.testing.assert_allclose(d_positive, expected[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(d_negatives, expected[1], rtol=1e-4, atol=2e-6)


def test_gradient_scales_with_the_upstream_gradient():
    positive, negatives = RNG.normal(size=3), RNG.normal(size=(3, 4))
    _, d_positive, d_negatives = loss_and_gradients(positive, negatives, upstream=np.array([2.0, 0.0, 1.0], "f"))
    expected = numeric_gradients(positive, negatives)
    np.testing.assert_allclose(d_positive, expected[0] * [2, 0, 1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(d_negatives, expected[1] * [[2], [0], [1]], rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("elu", [0.0, 0.5])
def test_masked_columns_have_neither_effect_nor_gradient(elu):
    positive, negatives = RNG.normal(size=3), RNG.normal(size=(3, 6))
    keep = np.array([[1, 0, 1, 1, 0, 1], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]], bool)
    loss, d_positive, d_negatives = loss_and_gradients(positive, negatives, keep, elu=elu)
    expected = reference(positive[:2], negatives[:2], elu=elu, keep=keep[:2])
    np.testing.assert_allclose(loss[:2], expected, rtol=1e-5)
    assert not d_negatives[~keep].any()
    shorter = loss_and_gradients(positive[:1], negatives[:1, keep[0]], elu=elu)
    np.testing.assert_allclose(d_negatives[0, keep[0]], shorter[2][0], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(d_positive[0], shorter[1][0], rtol=1e-5)
    # no negatives: no loss and no gradient
    assert loss[2] == 0 and d_positive[2] == 0


@pytest.mark.parametrize("positive", [-1e4, -200.0, 0.0, 200.0, 1e4])
@pytest.mark.parametrize(
    "negatives", [[-1e4, -1e4], [1e4, 1e4], [1e4, -1e4], [0.0, 1e4], [-300.0, -300.0], [0.0, -150.0], [0.0, 150.0]]
)
@pytest.mark.parametrize("regularization", [0.0, 1.0])
def test_extreme_scores_stay_finite(positive, negatives, regularization):
    positive, negatives = np.array([positive]), np.array([negatives])
    result = loss_and_gradients(positive, negatives, regularization=regularization)
    assert all(np.isfinite(part).all() for part in result)
    np.testing.assert_allclose(result[0], reference(positive, negatives, regularization), rtol=1e-5, atol=1e-5)


def test_a_hopeless_positive_still_gets_its_gradient():
    # log(0 + 1e-24) of the published formula would go flat here
    _, d_positive, d_negatives = loss_and_gradients(np.array([-500.0]), np.array([[0.0, 1.0]]), regularization=0.0)
    np.testing.assert_allclose(d_positive, -1.0, rtol=1e-5)
    np.testing.assert_allclose(d_negatives.sum(), 1.0, rtol=1e-5)


def test_the_weights_are_a_softmax_over_the_negatives_alone():
    # with the target in the softmax, the penalty would depend on its score
    negatives = RNG.normal(size=(1, 5))
    penalty = [
        loss_and_gradients(np.array([p]), negatives, regularization=1.0)[0]
        - loss_and_gradients(np.array([p]), negatives, regularization=0.0)[0]
        for p in (-3.0, 0.0, 3.0)
    ]
    np.testing.assert_allclose(np.ravel(penalty), (softmax(negatives) * negatives**2).sum(), rtol=1e-5)


def test_the_logarithm_is_taken_per_position():
    # the log of the mean over the whole matrix would mix the rows
    positive, negatives = RNG.normal(size=4), RNG.normal(size=(4, 5))
    together = loss_and_gradients(positive, negatives)[0]
    apart = [loss_and_gradients(positive[i : i + 1], negatives[i : i + 1])[0][0] for i in range(4)]
    np.testing.assert_allclose(together, apart, rtol=1e-6)


def test_signs():
    positive, negatives = RNG.normal(size=50), RNG.normal(size=(50, 8))
    _, d_positive, _ = loss_and_gradients(positive, negatives)
    assert (d_positive < 0).all()
    # the penalty pulls every score towards zero, from either side
    _, _, pull = loss_and_gradients(np.array([40.0]), np.array([[0.5, 0.5]]), regularization=1.0)
    _, _, push = loss_and_gradients(np.array([40.0]), np.array([[-0.5, -0.5]]), regularization=1.0)
    assert (pull > 0).all() and (push < 0).all()


@pytest.mark.parametrize("settings", [{"regularization": -1.0}, {"elu": -0.5}])
def test_refuses_negative_settings(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        BPRMax(**settings)
