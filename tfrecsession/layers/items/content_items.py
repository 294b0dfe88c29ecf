"""Item vectors from ids and content: looked up as inputs, scored against as outputs."""

from __future__ import annotations

import functools
from contextvars import ContextVar

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfrecsession.layers.items.gather import gather_rows, serving_state
from tfrecsession.layers.items.item_embedding import _matmul, _product, _with_offsets, _with_ones
from tfrecsession.layers.items.item_scores import ItemScores
from tfrecsession.layers.items.matmul import products

BLOCK = 4096  # items that are encoded at once
UNKNOWN = 1
MASKED = -1e15  # a score below any other, as in the losses

_step: ContextVar[str | None] = ContextVar("step", default=None)


def _within(name: str):
    def decorate(method):
        @functools.wraps(method)
        def run(*args, **kwargs):
            token = _step.set(name if _step.get() != "training" else "training")
            try:
                return method(*args, **kwargs)
            finally:
                _step.reset(token)

        return run

    return decorate


drops_ids = _within("training")
"""Decorates a training step: `ContentItems` then replaces ids by the unknown one for a share of the items."""
computes_vectors = _within("loss")
"""Decorates a loss: `ContentItems` then computes the vectors of all items, so that gradients reach them."""


class ContentItems(ItemScores):
    """Item vectors v_i = e_i + c_i, with c_i the encoded content of the item, and biases as in `ItemEmbedding`.

    An item that training never saw has the row of the unknown item, v_i = e_1 + c_i. In training that row replaces e_i
    for a share `dropout` of the items, so that content learns to stand alone and e_1 to stand for any item.

    An encoder that is narrower than the items adds to their last entries, such as the last table of `JoinedItems`.

    Vectors of a few ids are computed each time, at a cost that follows them. Those of all items are read from a table
    that `settle` refreshes; an export reads that table alone, so content costs nothing there.

    Args:
        items: the `ItemEmbedding` of e and the biases.
        content: the `ItemContent` of the catalogue.
        encoder: a `ContentEncoder`, at most as wide as `items`.
        dropout: see above.
    """

    by_products = True

    def __init__(self, items, content, encoder, dropout=0.1, **kwargs):
        super().__init__(**kwargs)
        self.items, self.content, self.encoder, self.dropout = items, content, encoder, dropout
        self.size, self.dim = items.size, items.dim

        def state(name, shape, dtype="float32"):
            return self.add_weight(
                name=name, shape=shape, dtype=dtype, initializer="zeros", trainable=False, autocast=False
            )

        self.own_row = state("own_row", (self.size,), "int32")
        self.settled = state("settled", (self.size, self.dim))
        self.settled_biases = state("settled_biases", (self.size,)) if items.bias else None
        self.seed_generator = keras.random.SeedGenerator()
        self.built = True

    @property
    def state(self) -> list:
        """The variables that follow from the catalogue and the learned weights."""
        biases = [self.settled_biases] if self.settled_biases is not None else []
        return [self.own_row, self.settled, *biases]

    def take_counts(self, counts) -> None:
        """Learns which items have a row of their own: those with events in training; counts int [items]."""
        ids = np.arange(self.size, dtype=np.int32)
        ids[2:][np.asarray(counts) <= 0] = UNKNOWN
        self.own_row.assign(ids)

    def settle(self, ids=None, content=None) -> None:
        """Computes the vectors of all items for `score_all`, indexes and exports.

        Args:
            ids: int32 [n], the items whose vectors are computed; None: all.
            content: what `ItemContent` would return for `ids`, as arrays; None: it is asked.
        """
        ids = np.arange(self.size, dtype=np.int32) if ids is None else np.asarray(ids, np.int32)
        table = self.settled.numpy()
        for first in range(0, len(ids), BLOCK):
            block = ids[first : first + BLOCK]
            own = gather_rows(self.own_row.value, block)
            given = content and {key: tf.constant(array[first : first + BLOCK]) for key, array in content.items()}
            table[block] = self._vectors(block, own, given)
        self.settled.assign(table)
        if self.settled_biases is not None:
            self.settled_biases.assign(tf.gather(self.items.biases.value, self.own_row.value))

    # Without a column

    @property
    def content_columns(self) -> tuple:
        return tuple(column for column in self.encoder.columns if self.content.has(column))

    def part_of_column(self, column, ids):
        added = self.encoder.added_by(column, self.content.of_column(column, ids))  # (n, at most dim)
        added = tf.pad(added, [[0, 0], [self.dim - self.encoder.dim, 0]])  # (n, dim)
        whole = gather_rows(self.settled.value, ids)  # (n, dim)
        return self.items._unit(whole) - self.items._unit(whole - added)

    # As inputs

    def call(self, ids):
        """Returns item vectors: ids int [...] -> [..., dim] in the compute dtype."""
        return ops.cast(self.items._unit(self._rows(ids)[0]), self.compute_dtype)

    # As outputs

    def query(self, hidden):
        return self.items.query(hidden)

    def score(self, hidden, ids, shift=None, dtype=None):
        vectors, offsets = self._rows(ids)  # (m, dim), (m,) or None
        if shift is not None:
            offsets = shift if offsets is None else offsets + shift
        return _product(self.query(hidden), self.items._unit(vectors), offsets, dtype or self.compute_dtype)  # (n, m)

    def score_each(self, hidden, ids):
        vectors, biases = self._rows(ids)  # (..., dim), (...) or None
        vectors = ops.cast(self.items._unit(vectors), self.compute_dtype)
        scores = ops.sum(ops.cast(self.query(hidden), self.compute_dtype) * vectors, axis=-1)  # (...)
        return scores if biases is None else scores + ops.cast(biases, scores.dtype)

    def score_all(self, hidden):
        vectors, biases = self.all_vectors()
        vectors = ops.cast(vectors, self.compute_dtype)
        scores = products(ops.cast(self.query(hidden), self.compute_dtype), vectors)  # (n, size)
        return scores if biases is None else scores + ops.cast(biases, self.compute_dtype)

    def scorer(self):
        vectors, biases = self.all_vectors()
        columns = ops.cast(_with_offsets(vectors, biases), self.compute_dtype)  # (size, dim, or more with biases)
        return lambda hidden: _matmul(_with_ones(ops.cast(self.query(hidden), self.compute_dtype), biases), columns)

    def vectors(self, ids):
        vectors = self.items._unit(gather_rows(self.settled.value, ids))  # (n, dim)
        if self.settled_biases is None:
            return vectors
        return tf.concat([vectors, gather_rows(self.settled_biases.value, ids)[:, None]], axis=1)  # (n, dim + 1)

    def all_vectors(self):
        if _step.get() is not None:  # a loss over all items
            vectors, biases = self._rows(tf.range(self.size))
            if _step.get() != "training":
                return self.items._unit(vectors), biases
            unseen = tf.where(self.own_row.value == UNKNOWN, MASKED, 0.0)  # items without events teach nothing
            return self.items._unit(vectors), unseen if biases is None else biases + unseen
        biases = None if self.settled_biases is None else tf.convert_to_tensor(self.settled_biases.value)
        return self.items._unit(tf.convert_to_tensor(self.settled.value)), biases

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.dim)

    def _rows(self, ids):
        """Returns the vectors and biases of ids: int [...] -> float32 [..., dim], and [...] or None."""
        ids = tf.convert_to_tensor(ids)
        if serving_state() is not None or not self.content.is_complete:
            biases = None if self.settled_biases is None else gather_rows(self.settled_biases.value, ids)
            return gather_rows(self.settled.value, ids), biases
        distinct, index = tf.unique(tf.reshape(ids, [-1]))  # (m,), (n,): each item is encoded once
        index = tf.reshape(index, tf.shape(ids))
        own = self.own_ids(distinct)  # (m,)
        vectors = tf.gather(self._vectors(distinct, own), index)  # (..., dim)
        vectors = tf.ensure_shape(vectors, [*ids.shape, self.dim])
        if not self.items.bias:
            return vectors, None
        return vectors, tf.gather(gather_rows(self.items.biases.value, own), index)

    def own_ids(self, ids):
        """Replaces items without a row of their own, and those that a training step drops, by the unknown one."""
        own = gather_rows(self.own_row.value, ids)  # (...)
        if _step.get() == "training" and self.dropout:
            dropped = keras.random.uniform(ops.shape(ids), seed=self.seed_generator) < self.dropout
            own = tf.where(dropped & (ids > 1), UNKNOWN, own)
        return own

    def _vectors(self, ids, own, content=None):
        encoded = self.encoder(content or self.content(tf.convert_to_tensor(ids)))  # (m, at most dim)
        return self.items._gathered(own) + tf.pad(encoded, [[0, 0], [self.dim - self.encoder.dim, 0]])  # (m, dim)
