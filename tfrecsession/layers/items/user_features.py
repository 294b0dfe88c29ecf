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

    def call(self, users):
        """Returns vectors: codes int [...] -> float32 [..., dim]; each user is encoded once."""
        distinct, index = tf.unique(tf.reshape(users, [-1]))  # (m,), (n,)
        content = {key: gather_rows(weight.value, distinct) for key, weight in self.stored.items()}  # (m, ...) each
        vectors = tf.gather(self.encoder(content), tf.reshape(index, tf.shape(users)))  # (..., dim)
        return tf.ensure_shape(vectors, [*users.shape, self.dim])

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.dim)
