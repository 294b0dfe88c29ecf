"""SessionPopularity: the most frequent items of the session so far, then popular items."""

from __future__ import annotations

from types import SimpleNamespace

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.layers import history_length, last_items, newest_items, newest_items_at
from tfrecsession.recommender.counting_model import CountingModel


@keras.saving.register_keras_serializable(package="tfrecsession")
class SessionPopularity(CountingModel):
    """The most frequent items of the session so far, then popular items (S-POP, arXiv 1511.06939, section 4).

        score(i) = events of i in the session so far + support_i / (1 + support_i)

    support_i is the number of events of i in train, each by its weight. The second term is below 1: it orders items
    that are equally frequent in the session, and so all items that are not in it. S-POP is a baseline of the GRU4Rec
    paper.

    Args:
        items: the vocabulary.

    Example:

        model = trs.models.SessionPopularity(data.items)
        model.fit(data.train)
    """

    # Declarations
    weighs_events = True
    search_space = {}

    def __init__(self, items, **kwargs):
        super().__init__(items, **kwargs)

        # Weights
        empty = np.zeros(0, np.float32)  # without weights the supports are the counts
        self._support = SimpleNamespace(value=tf.Variable(empty, trainable=False, shape=[None]))  # hidden from Keras
        self.build()

    # Training

    def count(self, sessions):
        counts = np.bincount(sessions.values, minlength=self.size)  # (events,) -> (size,)
        self.item_counts.assign(counts * (np.arange(self.size) > 1))
        support = np.zeros(0)
        if sessions.weights is not None:
            support = np.bincount(sessions.values, sessions.weights.example, minlength=self.size)  # (size,)
            support = support * (np.arange(self.size) > 1)
        self._support.value.assign(support.astype(np.float32))

    def save_own_variables(self, store):
        super().save_own_variables(store)
        store["support"] = self._support.value.numpy()

    def load_own_variables(self, store):
        super().load_own_variables({"0": store["0"]})  # item_counts, the only weight that Keras tracks
        weighted = "support" in set(store.keys())  # models saved by earlier versions do not have it
        self._support.value.assign(np.asarray(store["support"]) if weighted else np.zeros(0, np.float32))

    # Recommendations

    def _supports(self):
        support, counts = self._support.value, tf.cast(self.item_counts.value, tf.float32)
        return tf.cond(tf.size(support) > 0, lambda: tf.identity(support), lambda: counts)  # (size,)

    def score_without_history(self):
        return tf.math.log1p(self._supports())  # (size,)

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
        support = self._supports()  # (size,)
        return tf.reshape(frequency, (histories, self.size)) + support / (1 + support)  # (n, size)
