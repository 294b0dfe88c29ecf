"""Popularity: everybody gets what most people took."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfrecsession.models.counting_model import CountingModel


@keras.saving.register_keras_serializable(package="tfrecsession.models")
class Popularity(CountingModel):
    """Scores an item by the logarithm of its number of events in train, whatever the history.

        score(i) = log(1 + support_i)

    Example:

        model = trs.models.Popularity(data.items)
        model.fit(data.train)
        model.recommend([["item-17"]], k=20)
    """

    search_space = {}

    def count(self, sessions):
        self.item_counts.assign(np.bincount(sessions.values, minlength=self.size) * (np.arange(self.size) > 1))

    def encode(self, batch, training=False):
        return ops.zeros_like(batch["items"])[..., None]  # nothing is known of a session

    def score_all(self, encoded):
        scores = tf.math.log1p(tf.cast(self.item_counts.value, tf.float32))
        return tf.broadcast_to(scores[None], (tf.shape(encoded)[0], self.size))
