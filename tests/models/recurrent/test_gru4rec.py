import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tfrecsession import InputError
from tfrecsession.models import GRU4Rec


def compiled(items, **settings):
    model = GRU4Rec(items, negatives=trs.negatives.Popularity(32), **settings)
    model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0))
    return model


def test_tied_embedding_is_one_table(shop):
    tied, separate = (compiled(shop.items, units=[8], embedding=kind) for kind in ("tied", "separate"))
    tables = [sum(weight.path.endswith("table") for weight in model.weights) for model in (tied, separate)]
    assert tables == [1, 2]


@pytest.mark.parametrize("embedding", ["tied", "separate"])
def test_several_layers_of_different_width_learn(shop, embedding):
    keras.utils.set_random_seed(0)
    model = compiled(shop.items, units=[12, 8], embedding=embedding, dim=5, dropout=0.1, embedding_dropout=0.1)
    history = model.fit(shop.train.batches(rows=16, steps=8), epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]


def test_the_training_loss_is_the_loss_over_the_sampled_items(shop):
    """Sampled cross-entropy with logQ, computed in NumPy from the model's weights."""
    keras.utils.set_random_seed(0)
    model = compiled(shop.items, units=[6], dropout=0.0)
    batch, targets = next(iter(shop.train.batches(rows=2, steps=5)))
    encoded = model.encode(batch)
    drawn = np.array([4, 9, 9, 17], np.int32)
    model.negatives.draw = lambda targets=None: tf.constant(drawn)
    loss, events = model.training_loss(encoded, targets)

    table, bias = model.output_items.table.numpy(), model.output_items.biases.numpy()
    weight = shop.items.counts**0.5
    log_q = np.log(np.concatenate([[1, 1], weight / weight.sum()]))
    each = []
    for hidden, target in zip(np.reshape(encoded, (-1, 6)), np.ravel(targets), strict=True):
        if target == 0:
            continue
        others = drawn[drawn != target]
        logits = np.array([hidden @ table[i] + bias[i] - log_q[i] for i in (target, *others)])
        each.append(np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[0])
    assert events == len(each)
    np.testing.assert_allclose(loss, np.mean(each), rtol=1e-4)


def test_a_step_touches_only_the_rows_it_reads(shop):
    keras.utils.set_random_seed(0)
    model = compiled(shop.items, units=[6])
    before = model.output_items.table.numpy()
    drawn = np.array([4, 9, 17], np.int32)
    model.negatives.draw = lambda targets=None: tf.constant(drawn)
    batch, targets = next(iter(shop.train.batches(rows=1, steps=3)))
    model.train_step((batch, targets))
    changed = np.flatnonzero((model.output_items.table.numpy() != before).any(axis=1))
    assert set(changed) <= {0, *drawn, *np.ravel(batch["items"]), *np.ravel(targets)}
    assert set(drawn) <= set(changed)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"units": []}, r"units=\[\]: must be a list of layer widths"),
        ({"units": [0]}, r"units=\[0\]: must be a list of layer widths"),
        ({"embedding": "shared"}, "embedding='shared': must be one of tied, separate, one_hot"),
    ],
)
def test_bad_arguments_are_refused_by_name(shop, settings, named):
    with pytest.raises(InputError, match=named):
        GRU4Rec(shop.items, **settings)


def test_a_keras_loss_is_refused_with_advice(shop):
    with pytest.raises(InputError, match=r"trs\.losses"):
        GRU4Rec(shop.items).compile("adam", "mse")


def test_keras_optimizers_train_it_too(shop):
    model = GRU4Rec(shop.items, units=[8], negatives=trs.negatives.Popularity(32))
    model.compile(keras.optimizers.Adam(1e-2, clipnorm=1.0), trs.losses.BPRMax(regularization=0.5))
    history = model.fit(shop.train.batches(rows=16, steps=8), epochs=2, verbose=0).history["loss"]
    assert history[1] < history[0]


def test_validation_reports_exact_metrics(shop):
    model = GRU4Rec(shop.items, units=[8], negatives=trs.negatives.Popularity(32))
    model.compile(
        trs.optimizers.LazyAdam(1e-2), trs.losses.CrossEntropy(), [trs.metrics.Recall(20), trs.metrics.MRR(5)]
    )
    history = model.fit(
        shop.train.batches(rows=16, steps=8), validation_data=shop.validation.batches(), verbose=0
    ).history
    assert set(history) == {"loss", "val_loss", "val_recall@20", "val_mrr@5"}
    again = model.evaluate(shop.validation.batches(), verbose=0, return_dict=True)
    assert history["val_recall@20"][0] == pytest.approx(again["recall@20"])


def test_similar_items_by_cosine(shop):
    model = compiled(shop.items, units=[6])
    item, k = shop.items.ids[10], 5
    similar = model.similar_items([item], k=k)
    vectors = model.output_items.table.numpy()[2:]
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = vectors @ vectors[10]
    cosine[10] = -2
    assert similar.items[0].tolist() == shop.items.ids[np.argsort(-cosine)[:k]].tolist()
    with pytest.raises(InputError, match="'no-such-item'"):
        model.similar_items(["no-such-item"])
