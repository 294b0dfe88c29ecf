import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrecsession.losses import BPR, TOP1, BPRMax, CrossEntropy, Hits, TOP1Max

LOSSES = [
    CrossEntropy(logq=1.0),
    BPR(elu=0.5),
    BPRMax(regularization=0.5, elu=1.0, logq=0.25),
    TOP1(regularization=0.0, elu=0.5),
    TOP1Max(regularization=0.25, elu=1.0),
]
RNG = np.random.default_rng(2)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_as_a_keras_loss_it_compares_column_0_with_the_others(loss):
    scores, mask = RNG.normal(size=(4, 3, 6)).astype("f"), RNG.random((4, 3, 6)) < 0.7
    mask[..., 0] = True
    expected = loss.compare(scores[..., 0], scores[..., 1:], mask[..., 1:])
    np.testing.assert_allclose(loss(mask, scores), np.mean(expected), rtol=1e-6)
    np.testing.assert_allclose(loss(mask.astype("int32"), scores), np.mean(expected), rtol=1e-6)
    weight = RNG.random((4, 3)).astype("f")
    np.testing.assert_allclose(loss(mask, scores, sample_weight=weight), np.mean(expected * weight), rtol=1e-5)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_a_position_without_event_contributes_nothing(loss):
    scores, mask = RNG.normal(size=(2, 5)).astype("f"), np.ones((2, 5))
    mask[1, 0] = 0
    scores = tf.constant(scores)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        total = loss(mask, scores)
    np.testing.assert_allclose(total, loss(mask[:1], scores[:1]) / 2, rtol=1e-6)
    assert not tape.gradient(total, scores).numpy()[1].any()


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_trains_any_keras_model(loss):
    keras.utils.set_random_seed(0)
    inputs = RNG.normal(size=(64, 8)).astype("f")
    model = keras.Sequential([keras.layers.Dense(5)])
    model.compile(optimizer=keras.optimizers.Adam(0.05), loss=loss)
    history = model.fit(inputs, np.ones((64, 5)), epochs=15, verbose=0)
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_config_round_trip(loss):
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(again) is type(loss) and again.get_config() == loss.get_config()
    scores = RNG.normal(size=(3, 5)).astype("f")
    np.testing.assert_array_equal(again(np.ones((3, 5)), scores), loss(np.ones((3, 5)), scores))


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
def test_hits_equal_a_dense_mask(loss, losses_and_gradients):
    positive, negatives = RNG.normal(size=5), RNG.normal(size=(5, 7))
    keep = RNG.random((5, 7)) < 0.8
    dense = losses_and_gradients(loss, positive, negatives, keep)
    sparse = losses_and_gradients(loss, positive, negatives, Hits(tf.constant(np.argwhere(~keep), tf.int32)))
    for by_mask, by_hits in zip(dense, sparse, strict=True):
        np.testing.assert_allclose(by_mask, by_hits, rtol=1e-6)
    none = losses_and_gradients(loss, positive, negatives, Hits(tf.zeros((0, 2), tf.int32)))
    np.testing.assert_allclose(none[0], losses_and_gradients(loss, positive, negatives)[0], rtol=1e-6)
