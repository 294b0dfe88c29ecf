"""Popularity: the most popular items, the same for every history."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfrecsession.batches.co_occurrence import age_in_days
from tfrecsession.recommender.arguments import check_number
from tfrecsession.recommender.counting_model import CountingModel


@keras.saving.register_keras_serializable(package="tfrecsession")
class Popularity(CountingModel):
    """The most popular items of train, the same for every history.

        score(i) = log(1 + support_i),  support_i = sum over the events of i in train of weight(age)

    `age` is the time in days from an event to the last one of train. By default every event weighs 1, otherwise

        weight(age) = 2^(-age / half_life) where age < days, else 0

    Args:
        items: the vocabulary.
        days: only events younger than this count: 7 is what was popular in the last week. None: all.
        half_life: days in which the weight of an event falls to a half. None: no decay.

    Raises:
        InputError: `days` or `half_life` is not above 0; at `fit`, one of them on a log without times.

    Example:

        model = trs.models.Popularity(data.items, half_life=3)
        model.fit(data.train)
        model.recommend([["item-17"]], k=20)
    """

    # Declarations
    weighs_events = True
    search_space = {}

    def __init__(self, items, days=None, half_life=None, **kwargs):
        # Arguments
        check_number("days", days, 0, above=True, optional=True)
        check_number("half_life", half_life, 0, above=True, optional=True)
        super().__init__(items, **kwargs)
        self.days = days
        self.half_life = half_life

        # Weights
        self.support = self.add_weight(
            name="support", shape=(self.size,), dtype="float32", initializer="zeros", trainable=False, autocast=False
        )
        self.build()

    # Training

    def count(self, sessions):
        weights = np.ones(sessions.events) if sessions.weights is None else sessions.weights.example
        if self.days is not None:
            weights = weights * (age_in_days(sessions, "days") < self.days)
        if self.half_life is not None:
            weights = weights * 0.5 ** (age_in_days(sessions, "half_life") / self.half_life)
        support = np.bincount(sessions.values, weights, minlength=self.size)  # (events,) -> (size,)
        self.support.assign(support * (np.arange(self.size) > 1))

    # Recommendations

    def encode(self, batch, training=False):
        return ops.zeros_like(batch["items"])[..., None]  # (rows, steps, 1): the history is ignored

    def score_all(self, encoded):
        scores = self.score_without_history()[None]  # (1, size)
        return tf.broadcast_to(scores, (tf.shape(encoded)[0], self.size))  # (n, size)

    def score_without_history(self):
        return tf.math.log1p(self.support.value)  # (size,)

    # Configuration

    def get_config(self):
        return {**super().get_config(), "days": self.days, "half_life": self.half_life}
