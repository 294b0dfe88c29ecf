import numpy as np
import pytest

from tests.numpy_reference import activated, softplus
from tfrecsession.errors import InputError
from tfrecsession.losses import BPR

RNG = np.random.default_rng(3)


def reference(positive, negatives, elu=0.0, keep=None):
    """-1/n sum_j log sigmoid(r_i - r_j), in float64, over the columns kept."""
    positive, negatives = activated(positive, elu), activated(negatives, elu)
    keep = np.ones(negatives.shape, bool) if keep is None else np.broadcast_to(keep, negatives.shape)
    log_sigmoid = -softplus(negatives - positive[..., None])
    return -np.where(keep, log_sigmoid, 0.0).sum(-1) / np.maximum(keep.sum(-1), 1)


def test_by_hand(losses_and_gradients):
    loss, *_ = losses_and_gradients(BPR(), np.array([2.0]), np.array([[1.0, 2.0]]))
    np.testing.assert_allclose(loss, (np.log1p(np.exp(-1.0)) + np.log(2.0)) / 2, rtol=1e-6)


@pytest.mark.parametrize("elu", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_equals_the_paper(losses_and_gradients, numeric_gradients, shape, elu):
    positive, negatives = RNG.normal(size=shape) * 2, RNG.normal(size=(*shape, 9)) * 2
    loss, d_positive, d_negatives = losses_and_gradients(BPR(elu=elu), positive, negatives)
    np.testing.assert_allclose(loss, reference(positive, negatives, elu), rtol=1e-5)
    expected = numeric_gradients(lambda p, n: reference(p, n, elu), positive, negatives)
    np.testing.assert_allclose(d_positive, expected[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(d_negatives, expected[1], rtol=1e-4, atol=1e-6)
    if not elu:  # the textbook gradient
        behind = 1 / (1 + np.exp(positive[..., None] - negatives)) / 9
        np.testing.assert_allclose(d_negatives, behind, rtol=1e-5)
        np.testing.assert_allclose(d_positive, -behind.sum(-1), rtol=1e-5)


def test_the_authors_mean_over_all_columns_is_this_loss_scaled_and_shifted():
    """B x B scores of a step, with the targets on the diagonal."""
    scores = RNG.normal(size=(7, 7))
    batch = len(scores)
    authors = np.mean(np.logaddexp(0.0, scores - np.diag(scores)[:, None]), axis=1)
    others = scores[~np.eye(batch, dtype=bool)].reshape(batch, batch - 1)
    ours = BPR().compare(np.diag(scores), others)
    np.testing.assert_allclose(authors, (batch - 1) / batch * ours + np.log(2) / batch, rtol=1e-5)


@pytest.mark.parametrize("elu", [0.0, 0.5])
def test_masked_columns_have_neither_effect_nor_gradient(losses_and_gradients, elu):
    positive, negatives = RNG.normal(size=3), RNG.normal(size=(3, 6))
    keep = np.array([[1, 0, 1, 1, 0, 1], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]], bool)
    loss, d_positive, d_negatives = losses_and_gradients(BPR(elu=elu), positive, negatives, keep)
    np.testing.assert_allclose(loss, reference(positive, negatives, elu, keep), rtol=1e-5)
    assert not d_negatives[~keep].any()
    shorter = losses_and_gradients(BPR(elu=elu), positive[:1], negatives[:1, keep[0]])
    np.testing.assert_allclose(d_negatives[0, keep[0]], shorter[2][0], rtol=1e-5)
    np.testing.assert_allclose(d_positive[0], shorter[1][0], rtol=1e-5)
    assert loss[2] == 0 and d_positive[2] == 0  # no negatives: no loss and no gradient


def test_a_mask_of_one_row_is_broadcast(losses_and_gradients):
    positive, negatives = RNG.normal(size=(2, 3)), RNG.normal(size=(2, 3, 4))
    keep = np.array([True, False, True, True])
    loss, *_ = losses_and_gradients(BPR(), positive, negatives, keep)
    np.testing.assert_allclose(loss, reference(positive, negatives, keep=keep), rtol=1e-5)


@pytest.mark.parametrize("positive", [-1e4, -200.0, 0.0, 1e4])
@pytest.mark.parametrize("negatives", [[-1e4, -1e4], [1e4, 1e4], [1e4, -1e4], [0.0, 300.0]])
def test_extreme_scores_stay_finite(losses_and_gradients, positive, negatives):
    positive, negatives = np.array([positive]), np.array([negatives])
    result = losses_and_gradients(BPR(), positive, negatives)
    assert all(np.isfinite(part).all() for part in result)
    np.testing.assert_allclose(result[0], reference(positive, negatives), rtol=1e-5, atol=1e-7)
    # log(sigmoid) that underflows to log(0 + tiny) would lose the gradient of a hopeless positive
    assert (result[1] == 0) == (positive - negatives.min() > 100 and positive - negatives.max() > 100)


def test_signs(losses_and_gradients):
    _, d_positive, d_negatives = losses_and_gradients(BPR(), RNG.normal(size=50), RNG.normal(size=(50, 8)))
    assert (d_positive < 0).all() and (d_negatives > 0).all()


def test_refuses_a_negative_elu():
    with pytest.raises(InputError, match="elu=-0.5"):
        BPR(elu=-0.5)
