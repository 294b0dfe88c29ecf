"""Variants of GRU4Rec: inputs, stacks, and bidirectional reading."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tfrecsession import InputError
from tfrecsession.models import GRU4Rec

BATCH = {
    "items": np.array([[5, 9, 12, 7, 3]], np.int32),
    "position": np.array([[0, 1, 2, 0, 1]], np.int32),
    "segment": np.array([[1, 1, 1, 2, 2]], np.int32),
}


def model_of(shop, **settings):
    keras.utils.set_random_seed(0)
    model = GRU4Rec(shop.items, negatives=trs.negatives.Popularity(32), **{"units": [6], "dropout": 0.0} | settings)
    model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0))
    return model


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
def test_a_one_hot_input_is_a_row_per_item_and_gate(shop, cell):
    model = model_of(shop, cell=cell, embedding="one_hot")
    (layer,) = model.recurrent
    assert model.input_items.table.shape == (model.size, layer.gates * 6)
    projecting = type(layer)(6)
    projecting.build((None, None, model.size))
    projecting.kernel.assign(model.input_items.table)
    projecting.recurrent_kernel.assign(layer.recurrent_kernel)
    projecting.bias.assign(layer.bias)
    one_hot = tf.one_hot(BATCH["items"], model.size)
    expected, _ = projecting(one_hot, tf.constant(BATCH["position"] == 0))
    np.testing.assert_allclose(model.encode(BATCH), expected, atol=1e-5)


def test_a_one_hot_input_trains_only_the_rows_of_its_items(shop):
    model = model_of(shop, embedding="one_hot")
    before = model.input_items.table.numpy()
    batch, targets = next(iter(shop.train.batches(rows=1, steps=3)))
    model.train_step((batch, targets))
    changed = np.flatnonzero((model.input_items.table.numpy() != before).any(axis=1))
    assert set(changed) <= {0, *np.ravel(batch["items"])} and len(changed)


@pytest.mark.parametrize("embedding", ["tied", "one_hot"])
def test_a_discounted_input_is_the_mean_of_the_session_so_far(shop, embedding):
    model = model_of(shop, embedding=embedding, discount=0.5)
    vectors = model.input_items.table.numpy()[BATCH["items"][0]]
    mean = [
        vectors[0],
        (vectors[1] + 0.5 * vectors[0]) / 1.5,
        (vectors[2] + 0.5 * vectors[1] + 0.25 * vectors[0]) / 1.75,
        vectors[3],
        (vectors[4] + 0.5 * vectors[3]) / 1.5,
    ]
    expected, _ = model.recurrent[0](np.array([mean], np.float32), tf.constant(BATCH["position"] == 0))
    np.testing.assert_allclose(model.encode(BATCH), expected, atol=1e-5)


@pytest.mark.parametrize("settings", [{"discount": 0.5}, {"cell": "lstm", "units": [6, 4]}])
def test_every_state_is_carried_over_lanes(shop, settings):
    """A session split over two batches is encoded as in one."""
    model = model_of(shop, lanes=1, **settings)
    whole = model.encode(BATCH)
    parts = [
        model.encode({name: array[:, cut] for name, array in BATCH.items()}, training=True)
        for cut in (slice(0, 2), slice(2, 5))
    ]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-5)


def test_lanes_keep_their_weights(shop):
    """One weight per layer; files saved with lanes depend on these names and shapes."""
    model = model_of(shop, lanes=4, units=[6, 6], discount=0.5, cell="lstm", embedding="one_hot")
    carried = [(weight.name, weight.shape) for weight in model.carried]
    assert carried == [("carried_0", (4, 25)), ("carried_1", (4, 12)), ("carried_2", (4, 12))]
    assert [weight.name for weight in model.weights[:4]] == ["item_counts", *(name for name, _ in carried)]
    assert model.state_width == 49
    with pytest.raises(InputError, match="lanes=4: must be the rows of the batches, 1;"):
        model.encode(BATCH, training=True)


def test_a_residual_layer_adds_its_input(shop):
    plain, residual = (model_of(shop, units=[6, 6], residual=residual) for residual in (False, True))
    first, _ = plain.recurrent[0](plain.input_items(BATCH["items"]), tf.constant(BATCH["position"] == 0))
    np.testing.assert_allclose(residual.encode(BATCH), first + plain.encode(BATCH), atol=1e-5)


def test_bidirectional_the_last_step_reads_the_whole_session(shop):
    model = model_of(shop, bidirectional=True)
    other = {**BATCH, "items": np.array([[8, 9, 12, 7, 4]], np.int32)}
    encoded, changed = np.asarray(model.encode(BATCH)), np.asarray(model.encode(other))
    assert model.output_items.dim == encoded.shape[-1] == 12 and model.reads.one_target
    assert (encoded[0, 2, :6] != changed[0, 2, :6]).any() and (encoded[0, 2, 6:] != changed[0, 2, 6:]).any()


def test_bidirectional_a_target_after_every_event_is_refused(shop):
    model = model_of(shop, bidirectional=True)
    with pytest.raises(InputError, match="one_target=True"):
        model.fit(shop.train.batches(rows=4, steps=8))
    with pytest.raises(InputError, match="one_target=True"):
        model.evaluate(shop.test.batches())
    custom = shop.train.batches(rows=4, steps=8).map(lambda batch, targets: (batch, targets))  # a plain dataset
    with pytest.raises(tf.errors.InvalidArgumentError, match="from both ends"):
        model.fit(custom, verbose=0)
    model.fit(shop.train.batches(rows=4, steps=8, one_target=True).take(3), verbose=0)
    model.fit(shop.train.batches(rows=4, steps=8, one_target=True).map(lambda *pair: pair).take(3), verbose=0)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"cell": "qrnn"}, "cell='qrnn'"),
        ({"embedding": "one_hot", "embedding_dropout": 0.2}, "embedding_dropout=0.2"),
        ({"units": [6, 4], "residual": True}, r"units=\[6, 4\]"),
        ({"bidirectional": True, "lanes": 4}, "lanes=4"),
        ({"discount": 2.0}, "discount=2.0"),
        ({"dropout": 1.5}, "dropout=1.5: must be a number from 0 to 1"),
    ],
)
def test_bad_arguments_are_refused_by_name(shop, settings, named):
    with pytest.raises(InputError, match=named):
        model_of(shop, **settings)


def test_half_precision_scores_are_close_and_only_in_training(shop):
    exact, half = (model_of(shop, units=[32], score_dtype=dtype) for dtype in (None, "bfloat16"))
    np.testing.assert_array_equal(exact.encode(BATCH), half.encode(BATCH))
    batch, targets = next(iter(shop.train.batches(rows=4, steps=8)))
    drawn = np.arange(5, 37, dtype=np.int32)
    losses = []
    for model in (exact, half):
        model.negatives.draw = lambda targets=None: tf.constant(drawn)
        losses.append(float(model.training_loss(model.encode(batch), targets)[0]))
    assert losses[0] != losses[1] and losses[1] == pytest.approx(losses[0], rel=1e-2)
    history = [[shop.items.ids[4]]]
    np.testing.assert_array_equal(exact.recommend(history, k=5).scores, half.recommend(history, k=5).scores)
