import numpy as np
import pytest

from tests.numpy_reference import activated, sigmoid, softmax
from tfrecsession.errors import InputError
from tfrecsession.losses import TOP1Max

RNG = np.random.default_rng(5)


def reference(positive, negatives, regularization=1.0, elu=0.0, keep=None):
    """sum_j s_j (sigmoid(r_j - r_i) + regularization sigmoid(r_j^2)), s the softmax of the negatives; in float64."""
    positive, negatives = activated(positive, elu), activated(negatives, elu)
    masked = negatives if keep is None else np.where(keep, negatives, -np.inf)
    terms = sigmoid(negatives - positive[..., None]) + regularization * sigmoid(negatives**2)
    return np.sum(softmax(masked) * terms, axis=-1)


def test_by_hand(losses_and_gradients):
    loss, *_ = losses_and_gradients(TOP1Max(), np.array([2.0]), np.array([[1.0, 1.0]]))
    np.testing.assert_allclose(loss, 1 / (1 + np.e) + 1 / (1 + np.exp(-1.0)), rtol=1e-6)


@pytest.mark.parametrize("regularization", [0.0, 1.0, 0.3])
@pytest.mark.parametrize("elu", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_equals_the_paper(losses_and_gradients, numeric_gradients, shape, elu, regularization):
    positive, negatives = RNG.normal(size=shape) * 2, RNG.normal(size=(*shape, 9)) * 2
    settings = {"regularization": regularization, "elu": elu}
    loss, d_positive, d_negatives = losses_and_gradients(TOP1Max(**settings), positive, negatives)
    np.testing.assert_allclose(loss, reference(positive, negatives, **settings), rtol=1e-5)
    expected = numeric_gradients(lambda p, n: reference(p, n, **settings), positive, negatives)
    np.testing.assert_allclose(d_positive, expected[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(d_negatives, expected[1], rtol=1e-4, atol=1e-6)


def test_gradient_scales_with_the_upstream_gradient(losses_and_gradients, numeric_gradients):
    positive, negatives = RNG.normal(size=3), RNG.normal(size=(3, 4))
    upstream = np.array([2.0, 0.0, 1.0], "f")
    _, d_positive, d_negatives = losses_and_gradients(TOP1Max(), positive, negatives, upstream=upstream)
    expected = numeric_gradients(reference, positive, negatives)
    np.testing.assert_allclose(d_positive, expected[0] * upstream, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(d_negatives, expected[1] * upstream[:, None], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("elu", [0.0, 0.5])
def test_masked_columns_have_neither_effect_nor_gradient(losses_and_gradients, elu):
    positive, negatives = RNG.normal(size=3), RNG.normal(size=(3, 6))
    keep = np.array([[1, 0, 1, 1, 0, 1], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]], bool)
    loss, d_positive, d_negatives = losses_and_gradients(TOP1Max(elu=elu), positive, negatives, keep)
    np.testing.assert_allclose(loss[:2], reference(positive[:2], negatives[:2], elu=elu, keep=keep[:2]), rtol=1e-5)
    assert not d_negatives[~keep].any()
    shorter = losses_and_gradients(TOP1Max(elu=elu), positive[:1], negatives[:1, keep[0]])
    np.testing.assert_allclose(d_negatives[0, keep[0]], shorter[2][0], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(d_positive[0], shorter[1][0], rtol=1e-5)
    assert loss[2] == 0 and d_positive[2] == 0  # no negatives: no loss and no gradient


@pytest.mark.parametrize("positive", [-1e4, 0.0, 1e4])
@pytest.mark.parametrize("negatives", [[-1e4, -1e4], [1e4, 1e4], [1e4, -1e4], [0.0, 300.0], [1e25, 0.0]])
def test_extreme_scores_stay_finite(losses_and_gradients, positive, negatives):
    positive, negatives = np.array([positive]), np.array([negatives])
    result = losses_and_gradients(TOP1Max(), positive, negatives)
    assert all(np.isfinite(part).all() for part in result)
    np.testing.assert_allclose(result[0], reference(positive, negatives), rtol=1e-5, atol=1e-7)


def test_the_weights_are_a_softmax_over_the_negatives_alone(losses_and_gradients):
    # with the target in the softmax, the penalty would depend on its score
    negatives = RNG.normal(size=(1, 5))
    with_penalty, without = (
        [losses_and_gradients(TOP1Max(regularization=r), np.array([p]), negatives)[0] for p in (-3.0, 0.0, 3.0)]
        for r in (1.0, 0.0)
    )
    penalty = np.ravel(with_penalty) - np.ravel(without)
    np.testing.assert_allclose(penalty, (softmax(negatives) * sigmoid(negatives**2)).sum(), rtol=1e-5)


def test_positions_are_independent(losses_and_gradients):
    positive, negatives = RNG.normal(size=4), RNG.normal(size=(4, 5))
    together = losses_and_gradients(TOP1Max(), positive, negatives)[0]
    apart = [losses_and_gradients(TOP1Max(), positive[i : i + 1], negatives[i : i + 1])[0][0] for i in range(4)]
    np.testing.assert_allclose(together, apart, rtol=1e-6)


def test_signs(losses_and_gradients):
    # the target rises, and the much stronger of two negatives bears the loss
    _, d_positive, _ = losses_and_gradients(TOP1Max(), RNG.normal(size=50), RNG.normal(size=(50, 8)))
    assert (d_positive < 0).all()
    _, _, d_negatives = losses_and_gradients(TOP1Max(), np.array([0.0]), np.array([[1.0, -9.0]]))
    assert d_negatives[0, 0] > 100 * abs(d_negatives[0, 1])


@pytest.mark.parametrize("settings", [{"regularization": -1.0}, {"elu": -0.5}])
def test_refuses_negative_settings(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        TOP1Max(**settings)
