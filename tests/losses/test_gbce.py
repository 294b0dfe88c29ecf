import numpy as np
import pytest

import tfrecsession as trs
from tests.numpy_reference import sigmoid, softplus
from tfrecsession import InputError
from tfrecsession.losses import GBCE, CrossEntropy


def by_hand(positive, negatives, beta):
    """The authors' form: binary cross-entropy of the logit whose probability is sigmoid(r)^beta, in float64."""
    logit = np.log(1 / (sigmoid(positive) ** -beta - 1))
    return (softplus(-logit) + softplus(negatives).sum()) / (len(negatives) + 1)


@pytest.mark.parametrize("calibration", [0.0, 0.75, 1.0])
def test_it_equals_the_papers_equation(calibration):
    rng = np.random.default_rng(0)
    scores, rate = rng.normal(size=(5, 9)) * 3, 0.125
    alpha, t = rate, calibration
    beta = alpha * (t * (1 - 1 / alpha) + 1 / alpha)
    found = GBCE(calibration, rate=rate, reduction=None)(np.ones_like(scores), scores)
    np.testing.assert_allclose(found, [by_hand(row[0], row[1:], beta) for row in scores], rtol=1e-5)


def test_masked_columns_do_not_count():
    scores = np.array([[1.0, 0.5, 9.0, -2.0]], np.float32)
    found = GBCE(0.5, rate=0.2, reduction=None)(np.array([[1, 1, 0, 1]]), scores)
    np.testing.assert_allclose(found, [by_hand(1.0, np.array([0.5, -2.0]), 1 - 0.5 * 0.8)], rtol=1e-5)


def test_large_scores_stay_finite():
    scores = np.array([[200.0, -300.0], [-200.0, 300.0]], np.float32)
    found = np.asarray(GBCE(1.0, rate=0.01, reduction=None)(np.ones_like(scores), scores))
    np.testing.assert_allclose(found, [0.0, (0.01 * 200 + 300) / 2], rtol=1e-5, atol=1e-6)


def test_a_model_knows_the_sampling_rate(shop):
    """200 items, 20 negatives: rate 20 / 199, with the target masked where it is sampled."""
    model = trs.models.GRU4Rec(shop.items, units=[4], negatives=trs.negatives.Uniform(20, mask_hits=False))
    rng = np.random.default_rng(0)
    model.output_items.table.assign(rng.normal(size=model.output_items.table.shape))
    hidden, targets, drawn = rng.normal(size=(3, 4)).astype("float32"), np.array([5, 9, 7]), np.arange(30, 50)
    model.negatives.draw = lambda targets=None: drawn
    found = GBCE(0.75).losses(hidden, targets, model.output_items, model.negatives)
    scores, beta = np.asarray(model.score_all(hidden), float), 1 - 0.75 * (1 - 20 / (len(shop.items) - 1))
    expected = [by_hand(row[target], row[drawn], beta) for row, target in zip(scores, targets, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_top_keeps_the_highest_negatives_that_count():
    scores = np.array([[1.0, 0.5, 9.0, -2.0, 0.7, 0.1]], np.float32)
    counts = np.array([[1, 1, 0, 1, 1, 1]])
    for loss in (CrossEntropy, lambda **given: GBCE(0.5, rate=0.2, **given)):
        found = loss(top=2, reduction=None)(counts, scores)
        expected = loss(reduction=None)(np.ones((1, 3)), np.array([[1.0, 0.5, 0.7]], np.float32))
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        few = loss(top=5, reduction=None)(counts, scores)  # more than count
        np.testing.assert_allclose(few, loss(reduction=None)(counts, scores), rtol=1e-5)


def test_label_smoothing_is_cross_entropy_with_soft_targets():
    rng = np.random.default_rng(0)
    scores, counts = rng.normal(size=(4, 7)), np.ones((4, 7))
    counts[:, 3] = 0
    found = CrossEntropy(0.2, reduction=None)(counts, scores)
    kept = scores[:, counts[0] > 0]
    target = np.full(6, 0.2 / 6)
    target[0] += 0.8
    log = kept - np.log(np.exp(kept).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(found, -(log * target).sum(axis=1), rtol=1e-5)


def test_label_smoothing_of_the_full_softmax(shop):
    model = trs.models.GRU4Rec(shop.items, units=[4], negatives=None)
    rng = np.random.default_rng(0)
    for weight in (model.output_items.table, model.output_items.biases):
        weight.assign(rng.normal(size=weight.shape))
    hidden, targets = rng.normal(size=(3, 4)).astype("float32"), np.array([5, 9, 7])
    found = CrossEntropy(0.1).losses(hidden, targets, model.output_items)
    scores = np.asarray(model.score_all(hidden), float)[:, 2:]
    log = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    expected = -0.9 * log[np.arange(3), targets - 2] - 0.1 * log.mean(axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GBCE(calibration=2), "calibration=2: must be a number from 0 to 1"),
        (lambda: GBCE(rate=-1), "rate=-1: must be a number from 0 to 1"),
        (lambda: GBCE()(np.ones((1, 2)), np.ones((1, 2))), "rate=None: must be"),
        (lambda: CrossEntropy(top=0), "top=0: must be a whole number"),
        (lambda: CrossEntropy(smoothing=1.5), "smoothing=1.5: must be a number"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()
