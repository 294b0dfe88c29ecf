"""User histories for training, with the target item removed."""

import keras
import numpy as np
import tensorflow as tf


class Past(tf.Module):
    """The users' items, concatenated, in variables as long as the data. They are not part of a saved model."""

    def __init__(self):
        super().__init__()
        empty = {"offsets": tf.int64, "counts": tf.int32, "values": tf.int32, "named": tf.bool}
        for name, dtype in empty.items():
            setattr(self, name, tf.Variable(tf.zeros([0], dtype), trainable=False, shape=[None]))

    def assign(self, people) -> None:
        """Stores the histories of `people`, a `batches.Interactions`."""
        self.offsets.assign(people.offsets[:-1])
        self.counts.assign(np.diff(people.offsets).astype(np.int32))
        self.values.assign(people.values)
        self.named.assign(people.named)

    def draw(self, users, items, window, seed):
        """Samples up to `window` items of each user's history, without the target item.

        A longer history is sampled evenly: one item from each of `window` pieces of equal length.

        Args:
            users, items: int32 [rows], the users and their target items.
            seed: a `keras.random.SeedGenerator`.

        Returns:
            int32 [rows, window], 0 for none.
        """
        first, count = tf.gather(self.offsets, users)[:, None], tf.gather(self.counts, users)[:, None]  # (rows, 1)
        column = tf.range(window)[None]  # (1, window)
        shift = keras.random.uniform((tf.size(users), 1), seed=seed)  # (rows, 1)
        index = (tf.cast(column, tf.float32) + shift) * tf.cast(count, tf.float32) / window  # (rows, window)
        index = tf.where(count <= window, column, tf.cast(index, tf.int32))
        index = tf.clip_by_value(index, 0, tf.maximum(count - 1, 0))
        past = tf.gather(self.values, first + tf.cast(index, tf.int64))  # (rows, window)
        return tf.where((column < count) & (past != items[:, None]), past, 0)


def mean_of(vectors, there):
    """Returns the mean of the vectors where `there`, else 0: float32 [n, m, dim], bool [n, m] -> float32 [n, dim]."""
    there = tf.cast(there, tf.float32)[..., None]  # (n, m, 1)
    return tf.math.divide_no_nan(tf.reduce_sum(vectors * there, axis=1), tf.reduce_sum(there, axis=1))  # (n, dim)
