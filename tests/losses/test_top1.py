import numpy as np
import pytest

from tests.numpy_reference import activated, sigmoid
from tfrecsession.errors import InputError
from tfrecsession.losses import TOP1

RNG = np.random.default_rng(4)


def reference(positive, negatives, regularization=1.0, elu=0.0, keep=None):
    """1/n sum_j sigmoid(r_j - r_i) + regularization sigmoid(r_j^2), in float64, over the columns kept."""
    positive, negatives = activated(positive, elu), activated(negatives, elu)
    keep = np.ones(negatives.shape, bool) if keep is None else np.broadcast_to(keep, negatives.shape)
    terms = sigmoid(negatives - positive[..., None]) + regularization * sigmoid(negatives**2)
    return np.where(keep, terms, 0.0).sum(-1) / np.maximum(keep.sum(-1), 1)


def test_by_hand(losses_and_gradients):
    loss, *_ = losses_and_gradients(TOP1(), np.array([2.0]), np.array([[1.0, 2.0]]))
    by_hand = (1 / (1 + np.e) + 1 / (1 + np.exp(-1.0)) + 1 / 2 + 1 / (1 + np.exp(-4.0))) / 2
    np.testing.assert_allclose(loss, by_hand, rtol=1e-6)


@pytest.mark.parametrize("regularization", [0.0, 1.0, 0.3])
@pytest.mark.parametrize("elu", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_equals_the_paper(losses_and_gradients, numeric_gradients, shape, elu, regularization):
    positive, negatives = RNG.normal(size=shape) * 2, RNG.normal(size=(*shape, 9)) * 2
    settings = {"regularization": regularization, "elu": elu}
    loss, d_positive, d_negatives = losses_and_gradients(TOP1(**settings), positive, negatives)
    np.testing.assert_allclose(loss, reference(positive, negatives, **settings), rtol=1e-5)
    expected = numeric_gradients(lambda p, n: reference(p, n, **settings), positive, negatives)
    np.testing.assert_allclose(d_positive, expected[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(d_negatives, expected[1], rtol=1e-4, atol=1e-6)


def test_the_authors_mean_over_all_columns_is_this_loss_scaled_and_shifted():
    """B x B scores of a step, with the targets and their penalty on the diagonal."""
    scores = RNG.normal(size=(7, 7))
    batch, target = len(scores), np.diag(scores)
    authors = np.mean(sigmoid(scores - target[:, None]) + sigmoid(scores**2), axis=1) - sigmoid(target**2) / batch
    others = scores[~np.eye(batch, dtype=bool)].reshape(batch, batch - 1)
    np.testing.assert_allclose(
        authors, (batch - 1) / batch * TOP1().compare(target, others) + 1 / (2 * batch), rtol=1e-5
    )


@pytest.mark.parametrize("elu", [0.0, 0.5])
def test_masked_columns_have_neither_effect_nor_gradient(losses_and_gradients, elu):
    # the squared term of a masked column would be 1, not 0
    positive, negatives = RNG.normal(size=3), RNG.normal(size=(3, 6))
    keep = np.array([[1, 0, 1, 1, 0, 1], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]], bool)
    loss, d_positive, d_negatives = losses_and_gradients(TOP1(elu=elu), positive, negatives, keep)
    np.testing.assert_allclose(loss, reference(positive, negatives, elu=elu, keep=keep), rtol=1e-5)
    assert not d_negatives[~keep].any()
    shorter = losses_and_gradients(TOP1(elu=elu), positive[:1], negatives[:1, keep[0]])
    np.testing.assert_allclose(d_negatives[0, keep[0]], shorter[2][0], rtol=1e-5)
    np.testing.assert_allclose(d_positive[0], shorter[1][0], rtol=1e-5)
    assert loss[2] == 0 and d_positive[2] == 0  # no negatives: no loss and no gradient


def test_a_mask_of_one_row_is_broadcast(losses_and_gradients):
    positive, negatives = RNG.normal(size=(2, 3)), RNG.normal(size=(2, 3, 4))
    keep = np.array([True, False, True, True])
    loss, *_ = losses_and_gradients(TOP1(), positive, negatives, keep)
    np.testing.assert_allclose(loss, reference(positive, negatives, keep=keep), rtol=1e-5)


@pytest.mark.parametrize("positive", [-1e4, 0.0, 1e4])
@pytest.mark.parametrize("negatives", [[-1e4, -1e4], [1e4, 1e4], [1e4, -1e4], [0.0, 300.0], [1e25, 0.0]])
def test_extreme_scores_stay_finite(losses_and_gradients, positive, negatives):
    positive, negatives = np.array([positive]), np.array([negatives])
    result = losses_and_gradients(TOP1(), positive, negatives)
    assert all(np.isfinite(part).all() for part in result)
    np.testing.assert_allclose(result[0], reference(positive, negatives), rtol=1e-5, atol=1e-7)


def test_signs(losses_and_gradients):
    # the target rises, and the penalty pulls a negative towards zero from either side
    _, d_positive, _ = losses_and_gradients(TOP1(), RNG.normal(size=50), RNG.normal(size=(50, 8)))
    assert (d_positive < 0).all()
    _, _, pull = losses_and_gradients(TOP1(), np.array([40.0]), np.array([[0.5, -0.5]]))
    assert pull[0, 0] > 0 > pull[0, 1]


def test_the_penalty_covers_only_the_negatives(losses_and_gradients):
    # it has no sigmoid(r_i^2)
    negatives = RNG.normal(size=(1, 5))
    with_penalty, without = (
        [losses_and_gradients(TOP1(regularization=r), np.array([p]), negatives)[0] for p in (-3.0, 0.0, 3.0)]
        for r in (1.0, 0.0)
    )
    penalty = np.ravel(with_penalty) - np.ravel(without)
    np.testing.assert_allclose(penalty, sigmoid(negatives**2).mean(), rtol=1e-5)


@pytest.mark.parametrize("settings", [{"regularization": -1.0}, {"elu": -0.5}])
def test_refuses_negative_settings(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        TOP1(**settings)
