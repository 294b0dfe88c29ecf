"""SessionPopularity: what this session took most often, it takes again."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.layers import last_items, newest_items
from tfrecsession.recommender.counting_model import CountingModel


@keras.saving.register_keras_serializable(package="tfrecsession")
class SessionPopularity(CountingModel):
    """S-POP, a baseline of the GRU4Rec paper (arXiv 1511.06939, section 4).

        score(i) = events of i in the session so far + support_i / (1 + support_i)

    The second term is below 1: popularity in train, as the number of events, decides among items that the session took
    equally often, and so among all that it did not take.

    Args:
        items: the vocabulary.

    Example:

        model = trs.models.SessionPopularity(data.items)
        model.fit(data.train)
    """

    search_space = {}

    def count(self, sessions):
        self.item_counts.assign(np.bincount(sessions.values, minlength=self.size) * (np.arange(self.size) > 1))

    def encode(self, batch, training=False):
        return newest_items(batch)  # (rows, steps, steps)

    def encode_last(self, batch, length):
        return last_items(batch, length)

    def score_all(self, encoded):
        events = tf.shape(encoded)[0]
        cells = tf.cast(encoded, tf.int64) + tf.cast(tf.range(events) * self.size, tf.int64)[:, None]
        there = tf.cast(encoded > 0, tf.float32)
        taken = tf.math.unsorted_segment_sum(
            tf.reshape(there, [-1]), tf.reshape(cells, [-1]), tf.cast(events, tf.int64) * self.size
        )
        support = tf.cast(self.item_counts.value, tf.float32)
        return tf.reshape(taken, (events, self.size)) + support / (1 + support)
