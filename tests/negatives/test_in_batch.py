import numpy as np
import pytest
import tensorflow as tf

from tests.numpy_reference import softmax
from tfrecsession.errors import InputError
from tfrecsession.losses import BPRMax
from tfrecsession.negatives import InBatch

COUNTS = np.array([0, 9, 100, 50, 20, 20, 5, 0])
TARGETS = np.array([[4, 0, 2], [4, 1, 7]], np.int32)


def sampler(**kwargs):
    negatives = InBatch(**kwargs)
    negatives.build_from(COUNTS)
    return negatives


def test_the_targets_of_the_step_are_the_negatives():
    np.testing.assert_array_equal(sampler().draw(TARGETS), [4, 0, 2, 4, 1, 7])
    draw = tf.function(sampler().draw)
    assert draw(TARGETS).dtype == tf.int32


@pytest.mark.parametrize("mask_hits", [True, False])
def test_padding_and_unknown_are_masked_for_all_and_a_target_for_itself(mask_hits):
    keep = np.array(sampler(mask_hits=mask_hits).keep(TARGETS, sampler().draw(TARGETS)))
    assert keep.shape == (2, 3, 6)
    flat = TARGETS.ravel()
    for cell, row in enumerate(keep.reshape(6, 6)):
        for other in range(6):
            same = flat[other] == flat[cell] if mask_hits else other == cell
            assert row[other] == (flat[other] > 1 and not same)


def test_log_probability_is_that_of_support():
    log_probability = sampler().log_probability(np.arange(2, 7))
    np.testing.assert_allclose(log_probability, np.log(COUNTS[2:7] / COUNTS[2:].sum()), rtol=1e-5)
    np.testing.assert_allclose(sampler().log_weight(np.arange(2, 7)), np.log(COUNTS[2:7]), rtol=1e-5, atol=1e-6)
    assert np.isfinite(sampler().log_probability(np.arange(8))).all()


def test_a_session_parallel_step_equals_the_paper():
    """B lanes, B x B scores with the targets on the diagonal: BPR-max over the other lanes' targets."""
    scores = np.random.default_rng(0).normal(size=(4, 4))
    targets = np.array([2, 3, 2, 5], np.int32)
    keep = sampler(mask_hits=False).keep(targets, sampler().draw(targets))
    loss = BPRMax(regularization=0.5).compare(np.diag(scores).astype("f"), scores.astype("f"), keep)
    for lane in range(4):
        others = np.delete(scores[lane], lane)
        s = softmax(others)
        expected = -np.log((s / (1 + np.exp(others - scores[lane, lane]))).sum()) + 0.5 * (s * others**2).sum()
        np.testing.assert_allclose(loss[lane], expected, rtol=1e-5)


def test_a_step_with_one_event_has_no_negatives():
    targets = np.array([0, 3, 0], np.int32)
    assert not np.array(sampler().keep(targets, sampler().draw(targets)))[1].any()


def test_config_round_trip():
    again = InBatch.from_config(sampler(mask_hits=False).get_config())
    assert again.mask_hits is False and again.count is None


def test_refuses_to_draw_without_targets_and_empty_counts():
    with pytest.raises(InputError, match="targets: InBatch"):
        sampler().draw()
    with pytest.raises(InputError, match="counts"):
        InBatch().build_from(np.zeros(5))
