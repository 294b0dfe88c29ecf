"""Vectors of users from their features."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.layers.items.gather import gather_rows
from tfrecsession.layers.items.item_content import TENSORS, ContentEncoder


class UserFeatures(keras.layers.Layer):
    """Vectors c_u of users from their features, a sum over the columns, see `ContentEncoder`.

    All features are weights with a row per user, so that a saved model and an export need no table. Codes 0 and 1, no
    user and an unknown one, have no features: their vector is the sum of the trained vectors of missing values.

    Args:
        columns: tuple of `sessions.content_columns.ContentColumn`, none of them images.
        size: the users + 2.
        dim: width of a vector.
    """

    def __init__(self, columns, size, dim, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.columns, self.size, self.dim = tuple(columns), size, dim
        self.stored = {}
        for number, column in enumerate(self.columns):
            shapes = column.tensors()
            if column.kind in TENSORS:
                shapes = {column.name: (column.shape, "float32"), f"{column.name}/present": ((), "float32")}
            for key, (shape, dtype) in shapes.items():
                part = key[len(column.name) :].replace("/", "_")
                self.stored[key] = self.add_weight(
                    name=f"column_{number}{part}",
                    shape=(size, *shape),
                    dtype=dtype,
                    initializer="zeros",
                    trainable=False,
                    autocast=False,
                )
        self.encoder = ContentEncoder(self.columns, dim, name="encoder")
        self.built = True

    def hold(self, encoded: dict, tensors: dict) -> None:
        """Stores features: what `ContentColumns.encode` returned for the users, and their `Users.tensors`."""
        arrays = dict(encoded)
        for name, tensor in tensors.items():
            arrays |= {name: np.asarray(tensor.values), f"{name}/present": tensor.present.astype("float32")}
        for key, weight in self.stored.items():
            rows = arrays[key]
            weight.assign(np.concatenate([np.zeros((2, *rows.shape[1:]), rows.dtype), rows]))

    def call(self, users, given=None):
        """Returns vectors: codes int [...] -> float32 [..., dim].

        Args:
            users: codes of users.
            given: name -> int32 or float32 [...], features that a request gives, which replace the stored ones: codes
                of categories, 0 where missing, and standardized numbers, NaN where missing; None: there are none.
        """
        if given:
            present = [tf.reduce_any(_present(values)) for values in given.values()]
            vectors = tf.cond(tf.reduce_any(present), lambda: self._described(users, given), lambda: self._known(users))
        else:
            vectors = self._known(users)
        return tf.ensure_shape(vectors, [*users.shape, self.dim])

    def _known(self, users):
        """Encodes each user once."""
        distinct, index = tf.unique(tf.reshape(users, [-1]))  # (m,), (n,)
        content = {key: gather_rows(weight.value, distinct) for key, weight in self.stored.items()}  # (m, ...) each
        return tf.gather(self.encoder(content), tf.reshape(index, tf.shape(users)))  # (..., dim)

    def _described(self, users, given):
        """Encodes each cell, with what is given of its user."""
        flat = tf.reshape(users, [-1])  # (n,)
        content = {key: gather_rows(weight.value, flat) for key, weight in self.stored.items()}  # (n, ...) each
        for column in self.columns:
            if column.name in given:
                values = tf.reshape(given[column.name], [-1])  # (n,)
                read = _number(column, values) if column.kind == "number" else values[:, None]
                content[column.name] = tf.where(_present(values)[:, None], read, content[column.name])
        return tf.reshape(self.encoder(content), tf.concat([tf.shape(users), [self.dim]], axis=0))  # (..., dim)

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.dim)


def _present(values):
    """Returns where a request gives a value."""
    return ~tf.math.is_nan(values) if values.dtype.is_floating else values > 0


def _number(column, values):
    """Encodes standardized numbers as `ContentColumn` does: float32 [n] -> float32 [n, 3]."""
    quantiles = tf.constant(column.quantiles, tf.float64)  # (q,)
    number = tf.cast(values, tf.float64) * column.deviation + column.mean  # (n,)
    # numbers of training are multiples of something, often a quantile themselves, and float32 rounds them
    beyond = number[:, None] + 1e-5 * column.deviation - quantiles[:-1]  # (n, q - 1)
    width = quantiles[1:] - quantiles[:-1]
    share = tf.clip_by_value(tf.math.divide_no_nan(beyond, width), 0, 1)
    share = tf.where(width > 0, share, tf.cast(beyond >= 0, tf.float64))
    quantile = tf.cast(tf.reduce_mean(share, axis=1), tf.float32)  # (n,)
    return tf.stack([tf.clip_by_value(values, -5, 5), quantile, tf.ones_like(values)], axis=1)
