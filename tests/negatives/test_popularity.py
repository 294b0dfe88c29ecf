import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.negatives import Popularity

COUNTS = np.array([0, 0, 100, 50, 20, 20, 5, 1])


def sampler(count=1000, counts=COUNTS, **kwargs):
    negatives = Popularity(count, **kwargs)
    negatives.build_from(counts)
    return negatives


def probabilities(counts, alpha):
    weight = counts[2:].astype(float) ** alpha
    return weight / weight.sum()


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_draws_follow_support_to_the_alpha(alpha):
    draw = tf.function(sampler(20_000, alpha=alpha, seed=1).draw)
    drawn = np.concatenate([draw().numpy() for _ in range(10)])
    assert drawn.dtype == np.int32 and drawn.min() >= 2 and drawn.max() < len(COUNTS)
    expected = probabilities(COUNTS, alpha) * len(drawn)
    chi_square = ((np.bincount(drawn, minlength=len(COUNTS))[2:] - expected) ** 2 / expected).sum()
    assert chi_square < 25.7  # 5 degrees of freedom, one in ten thousand


def test_draws_of_a_long_tail():
    counts = np.concatenate([[0, 0], 1_000_000 // np.arange(1, 501)])
    drawn = sampler(500_000, counts, alpha=0.75, seed=3).draw().numpy()
    expected = probabilities(counts, 0.75) * len(drawn)
    chi_square = ((np.bincount(drawn, minlength=502)[2:] - expected) ** 2 / expected).sum()
    assert chi_square < 499 + 4 * np.sqrt(2 * 499)


def test_draws_are_independent_of_each_other():
    drawn = sampler(200_000, np.array([0, 0, 1, 1, 1]), seed=5).draw().numpy() - 2
    pairs = np.bincount(3 * drawn[0::2] + drawn[1::2], minlength=9)
    expected = len(drawn) / 2 / 9
    assert ((pairs - expected) ** 2 / expected).sum() < 32  # 8 degrees of freedom, one in ten thousand


def test_every_draw_differs_and_a_seed_repeats_them():
    first, second = (tf.function(sampler(seed=7).draw) for _ in range(2))
    one, two = first().numpy(), first().numpy()
    assert (one != two).any()
    np.testing.assert_array_equal(second(), one)
    np.testing.assert_array_equal(second(), two)
    assert (sampler(seed=8).draw().numpy() != one).any()


def test_set_random_seed_repeats_the_draws():
    keras.utils.set_random_seed(3)
    one = sampler().draw().numpy()
    keras.utils.set_random_seed(3)
    np.testing.assert_array_equal(sampler().draw(), one)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_log_probability(alpha):
    log_probability = sampler(alpha=alpha).log_probability(np.arange(2, len(COUNTS)).reshape(2, 3))
    assert log_probability.shape == (2, 3) and log_probability.dtype == "float32"
    np.testing.assert_allclose(np.ravel(log_probability), np.log(probabilities(COUNTS, alpha)), rtol=1e-5)


def test_items_without_events_are_never_drawn_and_have_a_finite_logarithm():
    counts = np.array([0, 0, 10, 0, 5, 1, 0])
    negatives = sampler(10_000, counts, alpha=0.5)
    assert set(negatives.draw().numpy()) == {2, 4, 5}
    log_probability = negatives.log_probability(np.arange(7)).numpy()
    assert np.isfinite(log_probability).all()
    # the logarithm of an item with a single event
    np.testing.assert_array_equal(log_probability[[0, 1, 3, 6]], log_probability[5])


def test_one_item():
    np.testing.assert_array_equal(sampler(5, np.array([0, 0, 9])).draw(), [2] * 5)


def test_the_unknown_item_is_never_sampled():
    assert sampler(1000, np.array([0, 10**9, 1, 1])).draw().numpy().min() == 2


def test_keep_masks_the_target_where_it_is_sampled():
    targets, drawn = np.array([[4, 2], [3, 7]]), np.array([4, 3, 4])
    keep = sampler().keep(targets, drawn)
    expected = [[[False, True, False], [True, True, True]], [[True, False, True], [True, True, True]]]
    np.testing.assert_array_equal(keep, expected)
    assert sampler(mask_hits=False).keep(targets, drawn) is None


@keras.saving.register_keras_serializable(package="tests")
class Holder(keras.Model):
    """A model with a sampler inside, as saved files have them."""

    def __init__(self, negatives, **kwargs):
        super().__init__(**kwargs)
        self.negatives = negatives
        self.built = True

    def call(self, ids):
        return self.negatives.log_probability(ids)

    def get_config(self):
        return super().get_config() | {"negatives": keras.saving.serialize_keras_object(self.negatives)}

    @classmethod
    def from_config(cls, config):
        return cls(**config | {"negatives": keras.saving.deserialize_keras_object(config["negatives"])})


def test_is_saved_and_loaded_with_its_model(tmp_path):
    model = Holder(sampler(alpha=0.3, seed=11, mask_hits=False))
    assert not model.trainable_variables
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras").negatives
    assert again.get_config() == model.negatives.get_config()
    ids = np.arange(len(COUNTS))
    np.testing.assert_array_equal(again.log_probability(ids), model.negatives.log_probability(ids))
    np.testing.assert_array_equal(again.draw(), model.negatives.draw())


def test_refuses_to_draw_before_build_from():
    with pytest.raises(InputError, match="build_from"):
        Popularity(3).draw()


def test_half_precision_leaves_the_probabilities_alone():
    for policy in ("mixed_float16", "float16"):
        negatives = sampler(dtype=policy)
        assert {weight.dtype for weight in negatives.weights if "float" in weight.dtype} == {"float32"}
        expected = np.log(probabilities(COUNTS, 0.5))
        np.testing.assert_allclose(negatives.log_probability(np.arange(2, 8)), expected, rtol=1e-5)


@pytest.mark.parametrize("counts", [[0, 0, 0, 0], [0, 0, 3, -1], [0, 0, np.nan, 1], [5, 5]])
def test_refuses_counts_that_give_nothing_to_draw(counts):
    with pytest.raises(InputError, match=r"counts|size"):
        sampler(counts=np.array(counts))


def test_refuses_another_catalogue_and_empty_draws():
    with pytest.raises(InputError, match="built for 8"):
        sampler().build_from(np.ones(9))
    with pytest.raises(InputError, match="count=0"):
        Popularity(0)
