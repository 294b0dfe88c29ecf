"""Compressed item tables: lookups and scores against NumPy, and the rows that a gradient touches."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrecsession import InputError
from tfrecsession.layers import CodedItems, CodeTable
from tfrecsession.layers.items import coded_items
from tfrecsession.optimizers import LazyAdagrad
from tfrecsession.sessions.item_codes import ItemCodes

JOINS = ("concatenate", "sum", "shared")
ITEMS, COUNT, VALUES, DIM = 40, 3, 5, 6


def made(join, **settings):
    """A layer with random weights, and the vectors of all ids as they follow from its definition."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(1)
    table = CodeTable(ITEMS + 2, COUNT, VALUES)
    codes = rng.integers(0, VALUES, (ITEMS, COUNT)).astype(np.uint8)
    table.take(ItemCodes("jpq", codes, VALUES, ""))
    layer = CodedItems(table, DIM, join, **settings)
    small = rng.normal(size=layer.table.shape).astype("float32")
    layer.table.assign(small)
    vectors = np.zeros((ITEMS + 2, DIM), np.float32)
    for item, row in enumerate(codes, 2):
        parts = [small[code + (0 if join == "shared" else VALUES * index)] for index, code in enumerate(row)]
        vectors[item] = np.concatenate(parts) if join == "concatenate" else np.sum(parts, axis=0)
    return layer, vectors, rng


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("join", JOINS)
def test_lookups_and_factored_scores_are_those_of_the_whole_table(join, normalize, monkeypatch):
    monkeypatch.setattr(coded_items, "CELLS", 1)
    monkeypatch.setattr(coded_items, "LEAST", 11)  # several blocks, the last one not full
    layer, vectors, rng = made(join, bias=True, normalize=normalize, temperature=0.5)
    biases = rng.normal(size=ITEMS + 2).astype("float32")
    layer.biases.assign(biases)
    hidden = rng.normal(size=(7, DIM)).astype("float32")
    lengths = np.linalg.norm(vectors, axis=1)
    unit = vectors / np.maximum(lengths, 1e-12)[:, None] if normalize else vectors
    queries = hidden / np.linalg.norm(hidden, axis=1)[:, None] / 0.5 if normalize else hidden
    expected = queries @ unit.T + biases
    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(layer(np.array([[2, 41], [0, 1]])), unit[[[2, 41], [0, 1]]], **close)
    np.testing.assert_allclose(layer.score_all(hidden), expected, **close)
    np.testing.assert_allclose(layer.score_all(hidden[:3]), expected[:3], **close)  # few: from the small tables
    np.testing.assert_allclose(layer.scorer()(hidden), expected, **close)
    np.testing.assert_allclose(layer.score(hidden, [9, 3, 3]), expected[:, [9, 3, 3]], **close)
    np.testing.assert_allclose(layer.score_each(hidden, range(2, 9)), expected[range(7), range(2, 9)], **close)
    np.testing.assert_allclose(layer.squares(), lengths**2, **close)
    np.testing.assert_allclose(layer.products(hidden), hidden @ vectors.T, **close)
    np.testing.assert_allclose(layer.rows([5, 2]), vectors[[5, 2]], **close)
    again = CodedItems.from_config(layer.get_config())
    assert (again.join, again.dim, again.codes.count, again.size) == (join, DIM, COUNT, ITEMS + 2)


@pytest.mark.parametrize("join", JOINS)
def test_training_touches_only_the_rows_of_the_items_read(join):
    layer, _, rng = made(join)
    hidden, ids = tf.constant(rng.normal(size=(4, DIM)), tf.float32), [7, 9]
    optimizer = LazyAdagrad(0.1)
    optimizer.build([layer.table])
    before = layer.table.numpy()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer.score(hidden, ids) ** 2) + tf.reduce_sum(layer(tf.constant([7, 0, 1])) ** 2)
    gradient = tape.gradient(loss, layer.table.value)
    assert isinstance(gradient, tf.IndexedSlices)
    optimizer.apply([gradient], [layer.table])
    changed = set(np.flatnonzero((layer.table.numpy() != before).any(axis=1)))
    codes = layer.codes.codes.numpy()[ids].astype(int)
    assert changed == set((codes + (0 if join == "shared" else VALUES * np.arange(COUNT))).ravel())


def test_bad_tables_are_named():
    table = CodeTable(12, 3, 5)
    with pytest.raises(InputError, match="codes=3: must divide the width of the item vectors, 8"):
        CodedItems(table, 8)
    with pytest.raises(InputError, match="join='product': must be one of concatenate, sum, shared"):
        CodedItems(table, 6, "product")
    with pytest.raises(InputError, match=r"codes: must be \[10, 3\] below 5, not \[9, 3\] below 5"):
        table.take(ItemCodes("jpq", np.zeros((9, 3), np.uint8), 5, ""))
