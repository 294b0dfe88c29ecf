"""Training losses of sequence models against NumPy: samplers, ranking losses and the full softmax."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tfrecsession import InputError
from tfrecsession.models import GRU4Rec
from tfrecsession.negatives import InBatch, LogUniform, Mixture, Popularity, Uniform
from tfrecsession.recommender import sequence_model

LOSSES = trs.losses


def compiled(items, negatives, loss=None, **settings):
    model = GRU4Rec(items, negatives=negatives, **{"units": [6], "dropout": 0.0} | settings)
    model.compile(trs.optimizers.LazyAdagrad(0.1), loss or LOSSES.CrossEntropy())
    return model


def packed(shop, rows=2, steps=5):
    batch, targets = next(iter(shop.train.batches(rows=rows, steps=steps)))
    targets = targets.numpy()
    targets[0, :2] = [0, 1]  # one cell without a target and one with an unknown item
    return batch, targets


def scores_of(model, encoded):
    """Returns the scores of every cell, float64 [cells, size]."""
    table, bias = model.output_items.table.numpy(), model.output_items.biases.numpy()
    return np.reshape(encoded, (-1, table.shape[1])).astype(float) @ table.T.astype(float) + bias


def test_in_batch_and_sampled_negatives_with_the_authors_correction(shop):
    keras.utils.set_random_seed(0)
    sampled = Popularity(4, alpha=0.3, mask_hits=False)
    model = compiled(shop.items, Mixture([InBatch(mask_hits=False), sampled]), LOSSES.CrossEntropy(logq=1.0))
    model.output_items.biases.assign(np.random.default_rng(0).normal(size=model.size))
    batch, targets = packed(shop)
    encoded = model.encode(batch)
    drawn = np.array([4, 9, 9, 17], np.int32)
    sampled.draw = lambda targets=None: tf.constant(drawn)
    loss, events = model.training_loss(encoded, targets)

    support = np.concatenate([[1, 1], shop.items.counts]).astype(float)
    flat, scores, each = targets.ravel(), scores_of(model, encoded), []
    for cell in np.flatnonzero(flat > 1):
        others = [flat[other] for other in np.flatnonzero(flat > 1) if other != cell]
        columns = [(flat[cell], 1.0), *((item, 1.0) for item in others), *((item, 0.3) for item in drawn)]
        logits = np.array([scores[cell, item] - power * np.log(support[item]) for item, power in columns])
        each.append(np.logaddexp.reduce(logits) - logits[0])
    assert events == len(each) == (targets > 1).sum()
    np.testing.assert_allclose(loss, np.mean(each), rtol=1e-5)


@pytest.mark.parametrize("mask_hits", [True, False])
def test_in_batch_ranking_loss_skips_cells_without_target(shop, mask_hits):
    keras.utils.set_random_seed(0)
    model = compiled(shop.items, InBatch(mask_hits=mask_hits), LOSSES.TOP1())
    batch, targets = packed(shop)
    targets[1, -1] = targets[1, 0]  # two events with the same target
    encoded = model.encode(batch)
    loss, _ = model.training_loss(encoded, targets)

    flat, scores, each = targets.ravel(), scores_of(model, encoded), []
    for cell in np.flatnonzero(flat > 1):
        others = [
            scores[cell, item]
            for other, item in enumerate(flat)
            if item > 1 and other != cell and not (mask_hits and item == flat[cell])
        ]
        ahead = 1 / (1 + np.exp(scores[cell, flat[cell]] - others)) + 1 / (1 + np.exp(-np.square(others)))
        each.append(ahead.mean())
    np.testing.assert_allclose(loss, np.mean(each), rtol=1e-5)


def test_cells_without_target_neither_cause_nor_receive_gradients(shop):
    keras.utils.set_random_seed(0)
    model = compiled(shop.items, Mixture([InBatch(), Uniform(5)]))
    batch, targets = packed(shop)
    targets[1, 3:] = 0
    hidden = tf.convert_to_tensor(model.encode(batch))
    table = model.output_items.table.value
    with tf.GradientTape() as tape:
        tape.watch(hidden)
        loss, _ = model.training_loss(hidden, targets)
    d_hidden, d_table = tape.gradient(loss, [hidden, table])
    assert not d_hidden.numpy()[targets < 2].any() and d_hidden.numpy()[targets > 1].any()
    assert not tf.convert_to_tensor(d_table).numpy()[:2].any()


def test_an_in_batch_step_touches_only_the_rows_it_reads(shop):
    # only the compared items are scored
    keras.utils.set_random_seed(0)
    model = compiled(shop.items, InBatch())
    before = model.output_items.table.numpy()
    batch, targets = packed(shop)
    model.train_step((batch, targets))
    changed = np.flatnonzero((model.output_items.table.numpy() != before).any(axis=1))
    assert set(changed) <= {*np.ravel(batch["items"]), *targets.ravel()} and set(targets[targets > 1]) <= set(changed)
    np.testing.assert_array_equal(model.output_items.table.numpy()[1], before[1])


def test_all_targets_share_one_sample(shop):
    # new negatives per target would be another, slower algorithm
    model = compiled(shop.items, Mixture([InBatch(), Popularity(8)]))
    draws = []
    inner = model.negatives.draws[1].draw
    model.negatives.draws[1].draw = lambda targets=None: draws.append(inner(targets)) or draws[-1]
    model.train_step(packed(shop))
    assert [draw.shape for draw in draws] == [(8,)]


@pytest.mark.parametrize("embedding", ["tied", "separate"])
def test_without_negatives_the_whole_catalogue_is_compared(shop, embedding):
    keras.utils.set_random_seed(0)
    # logq corrects for the sampling probability, which is 1 for every item here
    model = compiled(shop.items, None, LOSSES.CrossEntropy(logq=1.0), embedding=embedding)
    batch, targets = packed(shop)
    encoded = model.encode(batch)
    loss, events = model.training_loss(encoded, targets)
    flat, scores = targets.ravel(), scores_of(model, encoded)
    real = np.flatnonzero(flat > 1)
    each = np.logaddexp.reduce(scores[:, 2:], axis=1)[real] - scores[real, flat[real]]
    assert events == len(real)
    np.testing.assert_allclose(loss, each.mean(), rtol=1e-5)


@pytest.mark.parametrize("embedding", ["tied", "separate"])
def test_a_full_step_is_adagrad_on_the_gradient_of_the_definition(shop, embedding):
    """One step against TensorFlow's own softmax cross-entropy, differentiated by TensorFlow."""
    keras.utils.set_random_seed(0)
    model = compiled(shop.items, None, embedding=embedding)
    batch, targets = packed(shop)
    before = model.output_items.table.numpy()
    is_target = targets > 1
    with tf.GradientTape() as tape:
        scores = model.score_all(tf.boolean_mask(model.encode(batch, training=True), is_target))[:, 2:]
        each = tf.nn.sparse_softmax_cross_entropy_with_logits(targets[is_target] - 2, scores)
        loss = tf.reduce_sum(each) / targets.size  # a batch that is not full makes a smaller step
    gradient = tf.convert_to_tensor(tape.gradient(loss, model.output_items.table.value)).numpy()
    model.train_step((batch, targets))
    step = -0.1 * gradient / np.sqrt(gradient**2 + 1e-7)
    change = model.output_items.table.numpy() - before
    np.testing.assert_allclose(change, step, rtol=1e-3, atol=1e-4)
    assert not change[:1].any()


def test_a_full_softmax_model_is_restored(shop, tmp_path):
    keras.utils.set_random_seed(0)
    model = compiled(shop.items, None)
    history = model.fit(shop.train.batches(rows=16, steps=8), epochs=2, verbose=0).history["loss"]
    assert history[1] < history[0]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.negatives is None
    batch, targets = packed(shop)
    losses = [each.training_loss(each.encode(batch), targets) for each in (model, again)]
    np.testing.assert_array_equal(*losses)


def test_the_full_softmax_accepts_cross_entropy_only(shop):
    with pytest.raises(InputError, match="BPRMax needs a sampler"):
        compiled(shop.items, None, LOSSES.BPRMax())


def test_the_full_softmax_of_a_large_catalogue_warns_once(shop, monkeypatch):
    monkeypatch.setattr(sequence_model, "SLOW_FROM", 100)
    with pytest.warns(UserWarning, match=f"scores all {len(shop.items)} items") as caught:
        GRU4Rec(shop.items, units=[4], negatives=None)
    assert len(caught) == 1


@pytest.mark.parametrize(
    "negatives",
    [
        InBatch,
        lambda: Mixture([InBatch(), Popularity(32)], correction="pooled"),
        pytest.param(lambda: LogUniform(32), marks=pytest.mark.slow),
        pytest.param(lambda: None, marks=pytest.mark.slow),
    ],
    ids=["in_batch", "mixture", "log_uniform", "full"],
)
def test_trains_in_half_precision_and_is_restored(shop, tmp_path, negatives):
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = compiled(shop.items, negatives(), LOSSES.CrossEntropy(logq=1.0))
        history = model.fit(shop.train.batches(rows=16, steps=8), epochs=2, verbose=0).history["loss"]
        assert np.isfinite(history).all() and history[1] < history[0]
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        assert type(again.negatives) is type(model.negatives)
        histories = [shop.items.ids[:3].tolist()]
        np.testing.assert_array_equal(again.recommend(histories, k=5).items, model.recommend(histories, k=5).items)
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(
    "loss",
    [
        pytest.param(LOSSES.BPR(), marks=pytest.mark.slow),
        pytest.param(LOSSES.TOP1(), marks=pytest.mark.slow),
        LOSSES.TOP1Max(elu=0.5),
        LOSSES.BPRMax(),
    ],
    ids=lambda loss: loss.name,
)
def test_every_ranking_loss_learns_the_shop(shop, loss):
    keras.utils.set_random_seed(0)
    model = GRU4Rec(shop.items, units=[32], dropout=0.0, negatives=Mixture([InBatch(), Popularity(64)]))
    model.compile(trs.optimizers.LazyAdagrad(0.1), loss, [trs.metrics.Recall(20)])
    before = model.evaluate(shop.test, verbose=0, return_dict=True)["recall@20"]
    model.fit(shop.train.batches(rows=16, steps=8), epochs=3, verbose=0)
    assert model.evaluate(shop.test, verbose=0, return_dict=True)["recall@20"] > before + 0.15


@pytest.mark.slow
@pytest.mark.parametrize("make", [lambda: Popularity(16), lambda: Mixture([InBatch(), Uniform(8), Popularity(8)])])
def test_validation_does_not_change_the_negatives_of_training(shop, make):
    def trained(**validation):
        keras.utils.set_random_seed(3)
        model = GRU4Rec(shop.items, units=[4], dropout=0.2, negatives=make())
        model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0))
        part = shop.train.only(np.arange(len(shop.train)) < 300)
        history = model.fit(part.batches(rows=8, steps=8, seed=1), epochs=2, verbose=0, **validation)
        return model.get_weights(), history.history

    (weights, history), (validated_weights, validated) = trained(), trained(validation_data=shop.validation)
    assert history["loss"] == validated["loss"] and len(validated["val_loss"]) == 2
    for weight, validated_weight in zip(weights, validated_weights, strict=True):
        np.testing.assert_array_equal(weight, validated_weight)
