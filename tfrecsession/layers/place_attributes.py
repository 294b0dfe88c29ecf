"""Attributes of places: distance, stay time, popularity and category of each event's place."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfrecsession.sessions.places import EARTH, HOURS, MOST, Places

CATEGORY_WIDTH = 8


@keras.saving.register_keras_serializable(package="tfrecsession")
class PlaceAttributes(keras.layers.Layer):
    """The attribute vector of the place of each event.

        a = [ (d ; known ; stay ; popularity ; profile) / 2 ; category ]        [width]

    d is the distance from the place of the event before it in its session, log(1 + km) with mean 0 and deviation 1; it
    is 0, and so is `known`, where there is none. Stay, popularity and the 24-hour profile are those of
    `tfrecsession.sessions.places.Places`, counted on the train split and fixed; category is a trained vector. So a is
    about as long as the vector of an item, and one learning rate suits both. The state is the position of the last
    place, float32 [rows, 3].

    Args:
        size: the items + 2.
    """

    state_width = 3
    width = 2 + 2 + HOURS + CATEGORY_WIDTH

    def __init__(self, size: int, **kwargs):
        super().__init__(**kwargs)
        self.size = size
        for name, table in Places.unknown(size)._asdict().items():
            weight = self.add_weight(
                name=name,
                shape=table.shape,
                dtype=table.dtype.name,
                initializer="ones" if name in ("distance", "frame") else "zeros",
                trainable=False,
                autocast=False,
            )
            setattr(self, name, weight)
        self.category_table = self.add_weight(
            name="category_table", shape=(MOST + 2, CATEGORY_WIDTH), initializer=_neutral_first
        )
        self.seed_generator = keras.random.SeedGenerator()  # of what `trips` hides in training
        self.built = True

    def take(self, places: Places) -> None:
        """Takes what a log knows of the places."""
        for name, table in places._asdict().items():
            getattr(self, name).assign(table)

    def call(self, items, starts, state=None):
        """Returns the attributes of events, and the position of the last place.

        Args:
            items: int32 [rows, steps].
            starts: bool [rows, steps], true where a session starts.
            state: float32 [rows, 3], the position before the first step; None: unknown.

        Returns:
            float [rows, steps, width], and float32 [rows, 3].
        """
        here = self.position(items)  # (rows, steps, 3)
        if state is None:
            state = tf.zeros([tf.shape(items)[0], 3], tf.float32)
        before = tf.concat([tf.cast(state, tf.float32)[:, None], here[:, :-1]], axis=1)  # (rows, steps, 3)
        before = tf.where(starts[..., None], tf.zeros_like(before), before)
        numbers = tf.gather(self.numbers.value, items)  # (rows, steps, 26)
        fixed = tf.concat([self.distance_between(before, here), numbers], axis=-1) / 2  # (rows, steps, 28)
        attributes = ops.concatenate([ops.cast(fixed, self.compute_dtype), self.category(items)], axis=-1)
        return attributes, here[:, -1]  # (rows, steps, width), (rows, 3)

    def position(self, items):
        """Returns the unit vectors of places, int32 [...] -> float32 [..., 3]; zeros where unknown."""
        return tf.gather(self.positions.value, items)

    def in_frame(self, positions):
        """Standardizes positions by those of the log, float32 [..., 3] -> the same; zeros where unknown."""
        mean, deviation = tf.unstack(self.frame.value)
        known = tf.reduce_any(positions != 0, axis=-1, keepdims=True)
        return tf.where(known, (positions - mean) / deviation, 0.0)

    def distance_between(self, first, second):
        """Returns the standardized distance and whether it is known: float32 [..., 3] each -> float32 [..., 2]."""
        known = tf.reduce_any(first != 0, axis=-1) & tf.reduce_any(second != 0, axis=-1)  # (...)
        chord = tf.norm(first - second, axis=-1)
        kilometres = 2 * EARTH * tf.asin(tf.minimum(chord / 2, 1.0))
        mean, deviation = tf.unstack(self.distance.value)
        distance = (tf.math.log1p(kilometres) - mean) / deviation
        return tf.stack([tf.where(known, distance, 0.0), tf.cast(known, tf.float32)], axis=-1)

    def category(self, items):
        """Returns the vectors of the categories of places, int32 [...] -> [..., 8]."""
        codes = tf.gather(self.categories.value, items)
        return tf.gather(ops.cast(self.category_table, self.compute_dtype) * 1, codes)  # its gradient is dense

    def stay(self, items):
        """Returns the typical hours from a visit to the next event, int32 [...] -> float32 [...]; 0 where unknown."""
        return tf.gather(self.hours.value, items)

    def compute_output_shape(self, items_shape, starts_shape=None, state_shape=None):
        return (*items_shape, self.width), (items_shape[0], 3)

    def get_config(self):
        return super().get_config() | {"size": self.size}


def _neutral_first(shape, dtype=None):
    """Initializes a table whose rows 0 (missing) and 1 (rare) are zeros."""
    values = np.array(keras.random.normal(shape, stddev=0.1, dtype="float32"))
    values[:2] = 0
    return ops.convert_to_tensor(values, dtype)
