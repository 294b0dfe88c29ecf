"""The discriminator of RecGAN: tells real sequences of items from generated ones."""

from __future__ import annotations

from typing import NamedTuple

import keras
import tensorflow as tf

from tfrecsession.layers import ItemEmbedding


class Judged(NamedTuple):
    """The judged entries of vectors over all items.

    Attributes:
        target: float32 [rows, steps], the entry of the next item.
        zeros: float32 [rows, steps, zeros], those of the sampled items.
    """

    target: tf.Tensor
    zeros: tf.Tensor


class Discriminator(keras.layers.Layer):
    """D_t = sigmoid(V g_t + b), g_t = cell(W q_t, g_{t-1}), for vectors q_t over all items, of which few entries count.

    Args:
        cells: the recurrent layers, first to last; the first one does not project its input.
        size: the items + 2.
        dropout: share of each layer's output set to zero in training.
        initializer: of the item tables.
    """

    def __init__(self, cells, size, dropout=0.0, initializer=None, **kwargs):
        super().__init__(**{"name": "discriminator", **kwargs})
        self.cells = cells
        first, last = cells[0].gates * cells[0].units, cells[-1].units
        self.inputs = ItemEmbedding(size, first, initializer=initializer, name="judged_inputs")
        self.outputs = ItemEmbedding(size, last, bias=True, initializer=initializer, name="judged_items")
        self.dropout = keras.layers.Dropout(dropout)
        width = first
        for cell in cells:
            cell.build((None, None, width))
            width = cell.units
        self.built = True

    def call(self, starts, targets, zeros, generated=None, training=False):
        """Judges sequences.

        Args:
            starts: bool [rows, steps], where sessions start.
            targets: int32 [rows, steps], the next items; 0 where there is none.
            zeros: int32 [zeros], sampled items.
            generated: the `Judged` entries of generated vectors; None: the real ones, 1 and zeros.
            training: whether dropout acts.

        Returns:
            float32 [rows, steps, 1 + zeros], log(D / (1 - D)) of the target's entry and those of `zeros`; and float32
            of the same shape, 1 where the entry counts: not where there is no target, or a sampled item is the target.
        """
        hidden = self.inputs(targets)  # (rows, steps, gates * units)
        if generated is not None:
            vectors = tf.cast(self.inputs(zeros), tf.float32)  # (zeros, gates * units)
            other = tf.where(zeros == targets[..., None], 0.0, generated.zeros)  # (rows, steps, zeros)
            hidden = tf.cast(hidden, tf.float32) * generated.target[..., None] + tf.matmul(other, vectors)
            hidden = tf.cast(hidden, self.compute_dtype)
        for cell in self.cells:
            hidden, _ = cell(hidden, starts, training=training)  # (rows, steps, units)
            hidden = self.dropout(hidden, training=training)
        own = self.outputs.score_each(hidden, targets)  # (rows, steps)
        flat = self.outputs.score(tf.reshape(hidden, [-1, hidden.shape[-1]]), zeros)  # (rows * steps, zeros)
        others = tf.reshape(flat, [*tf.unstack(tf.shape(targets)), zeros.shape[0]])  # (rows, steps, zeros)
        logits = tf.cast(tf.concat([own[..., None], others], axis=-1), tf.float32)
        known = targets[..., None] > 1  # (rows, steps, 1)
        mask = tf.concat([known, known & (zeros != targets[..., None])], axis=-1)
        return logits, tf.cast(mask, tf.float32)
