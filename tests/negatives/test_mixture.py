import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.negatives import InBatch, LogUniform, Mixture, Popularity, Uniform

COUNTS = np.array([0, 9, 100, 50, 20, 20, 5, 1])
TARGETS = np.array([4, 0, 2, 4], np.int32)
SUPPORT = np.concatenate([[1, 9], COUNTS[2:]]).astype(float)


def mixture(*draws, **kwargs):
    negatives = Mixture(draws, **kwargs)
    negatives.build_from(COUNTS)
    return negatives


def test_draws_are_concatenated():
    drawn = mixture(InBatch(), Popularity(30, seed=1), Uniform(5, seed=2)).draw(TARGETS).numpy()
    np.testing.assert_array_equal(drawn[:4], TARGETS)
    alone = Popularity(30, seed=1)
    alone.build_from(COUNTS)
    np.testing.assert_array_equal(drawn[4:34], alone.draw())
    assert len(drawn) == 39 and drawn[4:].min() >= 2


def test_draws_follow_the_pooled_probability():
    negatives = mixture(Popularity(20_000, alpha=1.0, seed=1), Uniform(5_000, seed=2), LogUniform(15_000, seed=3))
    draw = tf.function(negatives.draw)
    drawn = np.concatenate([draw().numpy() for _ in range(5)])
    expected = np.exp(negatives.log_probability(np.arange(2, 8))) * len(drawn)
    np.testing.assert_allclose(expected.sum(), len(drawn), rtol=1e-5)
    assert ((np.bincount(drawn, minlength=8)[2:] - expected) ** 2 / expected).sum() < 25.7


@pytest.mark.parametrize("mask_hits", [True, False])
def test_keep_is_that_of_every_sampler(mask_hits):
    negatives = mixture(Uniform(3, mask_hits=mask_hits), InBatch(mask_hits=False))
    keep = np.array(negatives.keep(TARGETS, np.array([4, 2, 7, *TARGETS])))
    assert keep.shape == (4, 7)
    drawn = [[False, True, True], [True, True, True], [True, False, True], [False, True, True]]
    np.testing.assert_array_equal(keep[:, :3], drawn if mask_hits else np.ones((4, 3), bool))
    np.testing.assert_array_equal(keep[:, 3:], (TARGETS > 1) & ~np.eye(4, dtype=bool))


def test_keep_with_targets_in_rows_and_with_nothing_to_mask():
    rows = TARGETS.reshape(2, 2)
    negatives = mixture(InBatch(), Popularity(3))
    drawn = negatives.draw(rows)
    np.testing.assert_array_equal(np.reshape(negatives.keep(rows, drawn), (4, 7)), negatives.keep(TARGETS, drawn))
    assert mixture(Uniform(3, mask_hits=False), Popularity(2, mask_hits=False)).keep(TARGETS, np.arange(5)) is None


@pytest.mark.parametrize("order", [1, -1])
def test_the_authors_correction(order):
    """log support for the targets of the step, alpha log support for sampled items, neither normalized."""
    negatives = mixture(*[InBatch(), Popularity(3, alpha=0.3)][::order])
    drawn = np.array([[*TARGETS, 2, 5, 7], [2, 5, 7, *TARGETS]][order < 0])
    of_targets, of_drawn = negatives.log_q(TARGETS, drawn)
    np.testing.assert_allclose(of_targets, np.log(SUPPORT[TARGETS]), rtol=1e-5, atol=1e-6)
    parts = [np.log(SUPPORT[TARGETS]), 0.3 * np.log(SUPPORT[[2, 5, 7]])]
    np.testing.assert_allclose(of_drawn, np.concatenate(parts[::order]), rtol=1e-5, atol=1e-6)


def test_the_pooled_correction_is_how_often_an_item_is_expected():
    negatives = mixture(InBatch(), Popularity(6, alpha=0.5), Uniform(2), correction="pooled")
    drawn = np.array([*TARGETS, 2, 5, 7, 3, 3, 2, 6, 4])
    of_targets, of_drawn = negatives.log_q(TARGETS, drawn)
    root = np.sqrt(COUNTS[2:])
    expected = 3 * COUNTS[2:] / COUNTS[2:].sum() + 6 * root / root.sum() + 2 / 6  # the step has three targets
    expected = np.log(np.concatenate([[np.nan, np.nan], expected]))
    is_target = TARGETS > 1
    np.testing.assert_allclose(of_targets[is_target], expected[TARGETS[is_target]], rtol=1e-5)
    np.testing.assert_allclose(of_drawn[drawn > 1], expected[drawn[drawn > 1]], rtol=1e-5)
    assert np.isfinite(of_targets).all() and np.isfinite(of_drawn).all()


def test_the_pooled_correction_leaves_the_full_softmax_unbiased():
    negatives = mixture(Popularity(40_000, alpha=1.0, seed=1), Uniform(20_000, seed=2), correction="pooled")
    scores = np.concatenate([[0, 0], np.random.default_rng(0).normal(size=6)])
    drawn = negatives.draw().numpy()
    estimate = np.exp(scores[drawn] - negatives.log_q(drawn, drawn)[1].numpy()).sum()
    np.testing.assert_allclose(estimate, np.exp(scores[2:]).sum(), rtol=0.02)


def test_the_same_in_a_graph_with_unknown_shapes():
    negatives = mixture(InBatch(), Popularity(3, seed=1))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])
    def step(targets):
        drawn = negatives.draw(targets)
        return drawn, negatives.keep(targets, drawn), *negatives.log_q(targets, drawn)

    drawn, keep, of_targets, of_drawn = step(TARGETS)
    assert drawn.shape == (7,) and keep.shape == (4, 7) and of_targets.shape == (4,) and of_drawn.shape == (7,)
    np.testing.assert_array_equal(keep, negatives.keep(TARGETS, drawn))


def test_a_seed_repeats_the_draws():
    one, two = (mixture(InBatch(), Popularity(50, seed=5), Uniform(50, seed=6)) for _ in range(2))
    np.testing.assert_array_equal(one.draw(TARGETS), two.draw(TARGETS))
    assert (one.draw(TARGETS).numpy() != one.draw(TARGETS).numpy()).any()


def test_config_round_trip_with_its_samplers():
    config = mixture(InBatch(mask_hits=False), Popularity(7, alpha=0.2, seed=3), correction="pooled").get_config()
    again = Mixture.from_config(config)
    assert again.get_config() == config and again.correction == "pooled"
    assert [type(part) for part in again.draws] == [InBatch, Popularity] and again.draws[1].alpha == 0.2


@keras.saving.register_keras_serializable(package="tests")
class MixtureHolder(keras.Model):
    """A model with a mixture inside, as saved files have them."""

    def __init__(self, negatives, **kwargs):
        super().__init__(**kwargs)
        self.negatives = negatives
        self.built = True

    def call(self, ids):
        return ids

    def get_config(self):
        return super().get_config() | {"negatives": keras.saving.serialize_keras_object(self.negatives)}

    @classmethod
    def from_config(cls, config):
        return cls(**config | {"negatives": keras.saving.deserialize_keras_object(config["negatives"])})


def test_is_saved_and_loaded_with_its_model(tmp_path):
    model = MixtureHolder(mixture(InBatch(), Popularity(50, seed=5), LogUniform(9, seed=1), Uniform(4, seed=2)))
    assert not model.trainable_variables
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras").negatives
    ids = np.arange(8)
    for before, after in zip(model.negatives.draws, again.draws, strict=True):
        np.testing.assert_array_equal(before.log_probability(ids), after.log_probability(ids))
    np.testing.assert_array_equal(model.negatives.draw(TARGETS), again.draw(TARGETS))


@pytest.mark.parametrize(
    ("draws", "settings", "named"),
    [
        ([], {}, "draws="),
        (["popularity"], {}, "draws="),
        ([InBatch(), InBatch()], {}, "InBatch once"),
        ([Uniform(3)], {"correction": "both"}, "correction='both'"),
        ([Uniform(3)], {"mask_hits": False}, "mask_hits"),
    ],
)
def test_bad_arguments_are_named(draws, settings, named):
    with pytest.raises(InputError, match=named):
        Mixture(draws, **settings)


def test_a_probability_that_depends_on_the_targets_is_refused():
    with pytest.raises(InputError, match="log_q"):
        mixture(InBatch(), Uniform(3)).log_probability(np.array([2]))
