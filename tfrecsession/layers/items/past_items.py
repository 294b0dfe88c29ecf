"""User histories for training, with the target item removed."""

import keras
import numpy as np
import tensorflow as tf


class Past(tf.Module):
    """The items of users, end to end, in variables whose lengths follow from the data; not saved with a model."""

    def __init__(self):
        super().__init__()
        empty = {"offsets": tf.int64, "counts": tf.int32, "values": tf.int32, "named": tf.bool}
        for name, dtype in empty.items():
            setattr(self, name, tf.Variable(tf.zeros([0], dtype), trainable=False, shape=[None]))

    def assign(self, interactions) -> None:
        """Stores the users of `batches.Interactions`."""
        self.offsets.assign(interactions.offsets[:-1])
        self.counts.assign(np.diff(interactions.offsets).astype(np.int32))
        self.values.assign(interactions.values)
        self.named.assign(interactions.named)

    def draw(self, users, items, window, seed):
        """Samples at most `window` items from each user's history, without the target item.

        A longer history is sampled evenly: one item from each of `window` parts of equal length.

        Args:
            users, items: int32 [rows], users and target items.
            seed: a `keras.random.SeedGenerator`.

        Returns:
            int32 [rows, window]; 0 is padding.
        """
        first, count = tf.gather(self.offsets, users)[:, None], tf.gather(self.counts, users)[:, None]  # (rows, 1)
        column = tf.range(window)[None]  # (1, window)
        shift = keras.random.uniform((tf.size(users), 1), seed=seed)
        index = (tf.cast(column, tf.float32) + shift) * tf.cast(count, tf.float32) / window  # (rows, window)
        index = tf.where(count <= window, column, tf.cast(index, tf.int32))
        index = tf.clip_by_value(index, 0, tf.maximum(count - 1, 0))
        past = tf.gather(self.values, first + tf.cast(index, tf.int64))  # (rows, window)
        return tf.where((column < count) & (past != items[:, None]), past, 0)


def mean_of(vectors, there):
    """Returns the mean of the vectors in the mask `there`: float32 [n, m, dim], bool [n, m] -> float32 [n, dim].

    The mean of no vector is 0.
    """
    mask = tf.cast(there, tf.float32)[..., None]  # (n, m, 1)
    return tf.math.divide_no_nan(tf.reduce_sum(vectors * mask, axis=1), tf.reduce_sum(mask, axis=1))
