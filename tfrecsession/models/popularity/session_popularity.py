"""SessionPopularity: the most frequent items of the session so far, then popular items."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.layers import history_length, last_items, newest_items, newest_items_at
from tfrecsession.recommender.counting_model import CountingModel


@keras.saving.register_keras_serializable(package="tfrecsession")
class SessionPopularity(CountingModel):
    """The most frequent items of the session so far, then popular items (S-POP, arXiv 1511.06939, section 4).

        score(i) = events of i in the session so far + support_i / (1 + support_i)

    support_i is the number of events of i in train. The second term is below 1: it orders items that are equally
    frequent in the session, and so all items that are not in it. S-POP is a baseline of the GRU4Rec paper.

    Args:
        items: the vocabulary.

    Example:

        model = trs.models.SessionPopularity(data.items)
        model.fit(data.train)
    """

    # Declarations
    search_space = {}

    def __init__(self, items, **kwargs):
        super().__init__(items, **kwargs)
        self.build()

    # Training

    def count(self, sessions):
        support = np.bincount(sessions.values, minlength=self.size)  # (events,) -> (size,)
        self.item_counts.assign(support * (np.arange(self.size) > 1))

    # Recommendations

    def encode(self, batch, training=False):
        return newest_items(batch)  # (rows, steps, events)

    def encoder(self, batch):
        return newest_items_at(batch)

    def cells_of_an_event(self, batch):
        return 16 * history_length(batch) + 2 * self.size

    def encode_last(self, batch, length):
        return last_items(batch, length)  # (rows, events)

    def score_all(self, encoded):
        histories = tf.shape(encoded)[0]
        row_starts = tf.cast(tf.range(histories) * self.size, tf.int64)[:, None]  # (n, 1)
        cells = tf.cast(encoded, tf.int64) + row_starts  # (n, events): indices into the flat (n, size)
        is_event = tf.cast(encoded > 0, tf.float32)  # (n, events)
        frequency = tf.math.unsorted_segment_sum(
            tf.reshape(is_event, [-1]), tf.reshape(cells, [-1]), tf.cast(histories, tf.int64) * self.size
        )  # (n * size,)
        support = tf.cast(self.item_counts.value, tf.float32)  # (size,)
        return tf.reshape(frequency, (histories, self.size)) + support / (1 + support)  # (n, size)
