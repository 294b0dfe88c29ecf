"""Vectors of items from their content alone, as inputs."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfrecsession.layers.items.gather import gather_rows, serving_state

BLOCK = 4096  # items that are encoded at once


class ContentVectors(keras.layers.Layer):
    """Vectors c_i, the encoded content of item i, without a vector of its id.

    Vectors of a few ids are computed each time, at a cost that follows them. Exports, and models whose vectors,
    images and sounds are not at hand, read a table that `settle` refreshes.

    Args:
        content: the `ItemContent` of the catalogue.
        encoder: a `ContentEncoder`.
    """

    def __init__(self, content, encoder, **kwargs):
        super().__init__(**kwargs)
        self.content, self.encoder = content, encoder
        self.size, self.dim = content.size, encoder.dim
        self.settled = self.add_weight(
            name="settled", shape=(self.size, self.dim), initializer="zeros", trainable=False, autocast=False
        )
        self.built = True

    @property
    def state(self) -> list:
        """The variables that follow from the catalogue and the learned weights."""
        return [self.settled]

    def take_counts(self, counts) -> None:
        """Does nothing: an item that training never saw is read as any other."""

    def settle(self, ids=None, content=None) -> None:
        """Computes the table: of all items, or of `ids`, int [n], from `content`, what `ItemContent` would return."""
        ids = np.arange(self.size, dtype=np.int32) if ids is None else np.asarray(ids, np.int32)
        table = self.settled.numpy()
        for first in range(0, len(ids), BLOCK):
            block = ids[first : first + BLOCK]
            given = content and {key: tf.constant(array[first : first + BLOCK]) for key, array in content.items()}
            table[block] = self.encoder(given or self.content(tf.constant(block)))
        self.settled.assign(table)

    def call(self, ids):
        """Returns vectors: ids int [...] -> [..., dim] in the compute dtype."""
        ids = tf.convert_to_tensor(ids)
        if serving_state() is not None or not self.content.is_complete:
            return ops.cast(gather_rows(self.settled.value, ids), self.compute_dtype)
        distinct, index = tf.unique(tf.reshape(ids, [-1]))  # (m,), (n,): each item is encoded once
        vectors = tf.gather(self.encoder(self.content(distinct)), tf.reshape(index, tf.shape(ids)))  # (..., dim)
        return ops.cast(tf.ensure_shape(vectors, [*ids.shape, self.dim]), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.dim)
