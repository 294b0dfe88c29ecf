"""What the people of a log had, read by a training step that wants to know it without the item to be found."""

import keras
import numpy as np
import tensorflow as tf


class Past(tf.Module):
    """People's items, end to end, in variables whose length the data decides. They are no part of a saved model."""

    def __init__(self):
        super().__init__()
        empty = {"offsets": tf.int64, "counts": tf.int32, "values": tf.int32, "named": tf.bool}
        for name, dtype in empty.items():
            setattr(self, name, tf.Variable(tf.zeros([0], dtype), trainable=False, shape=[None]))

    def assign(self, people) -> None:
        """people: `batches.Interactions`."""
        self.offsets.assign(people.offsets[:-1])
        self.counts.assign(np.diff(people.offsets).astype(np.int32))
        self.values.assign(people.values)
        self.named.assign(people.named)

    def draw(self, users, items, window, seed):
        """What each person had beside the item to be found, at most `window` of it.

        Of a longer past an even draw, one item from each of `window` pieces of equal length.

        Args:
            users, items: int32 [rows].
            seed: a `keras.random.SeedGenerator`.

        Returns:
            int32 [rows, window], 0 for none.
        """
        first, count = tf.gather(self.offsets, users)[:, None], tf.gather(self.counts, users)[:, None]
        place = tf.range(window)[None]
        shift = keras.random.uniform((tf.size(users), 1), seed=seed)
        drawn = (tf.cast(place, tf.float32) + shift) * tf.cast(count, tf.float32) / window
        drawn = tf.where(count <= window, place, tf.cast(drawn, tf.int32))
        drawn = tf.clip_by_value(drawn, 0, tf.maximum(count - 1, 0))
        found = tf.gather(self.values, first + tf.cast(drawn, tf.int64))
        return tf.where((place < count) & (found != items[:, None]), found, 0)


def mean_of(vectors, there):
    """float32 [n, m, dim], bool [n, m] -> float32 [n, dim]: the mean of those that are there, 0 of none."""
    there = tf.cast(there, tf.float32)[..., None]
    return tf.math.divide_no_nan(tf.reduce_sum(vectors * there, axis=1), tf.reduce_sum(there, axis=1))
