"""Quantiles: numbers as the index of their quantile in a log."""

import keras
import numpy as np
import tensorflow as tf

MISSING, FIRST = 0, 2  # codes: 0 missing, 2.. the quantiles


@keras.saving.register_keras_serializable(package="tfrecsession")
class Quantiles(keras.layers.Layer):
    """Code and feature of a number by the quantile of a log that it lies in (arXiv 1606.07792, section 4.1).

        i = 1 + (edges <= value),   code = i + 1,   feature = (i - 1) / (count - 1)    for the i-th of `count` quantiles

    A missing number, NaN, has the code 0 and the feature 0.

    Args:
        names: of the columns of numbers.
        count: of the quantiles, at least 2.
    """

    def __init__(self, names, count=16, **kwargs):
        super().__init__(**{"trainable": False, "dtype": "float32", **kwargs})
        self.names = list(names)
        self.count = count
        shape = (len(self.names), count - 1)
        self.edges = self.add_weight(name="edges", shape=shape, initializer="zeros", trainable=False, autocast=False)
        self.built = True

    @property
    def codes(self) -> int:
        """The count of codes."""
        return FIRST + self.count

    def learn(self, values: dict) -> None:
        """Learns the quantiles of columns: name -> numbers of any shape; NaN is left out, other columns stay."""
        edges = self.edges.numpy()
        for name, numbers in values.items():
            known = np.asarray(numbers, np.float64).reshape(-1)
            known = known[np.isfinite(known)]
            inner = np.linspace(0, 1, self.count + 1)[1:-1]
            edges[self.names.index(name)] = np.quantile(known, inner) if len(known) else 0.0
        self.edges.assign(edges)

    def codes_of(self, name: str, values):
        """Returns the codes of one column: float [...] -> int32 [...]."""
        edges = tf.convert_to_tensor(self.edges.value)[self.names.index(name)]  # (count - 1,)
        values = tf.cast(values, tf.float32)
        reached = tf.reduce_sum(tf.cast(values[..., None] >= edges, tf.int32), axis=-1)  # (...,)
        return tf.where(tf.math.is_finite(values), FIRST + reached, MISSING)

    def features(self, codes):
        """Returns the feature of codes, and 1 where the number is missing: int32 [...] -> float32 [..., 2]."""
        missing = codes < FIRST
        feature = tf.cast(codes - FIRST, tf.float32) / (self.count - 1)
        return tf.stack([tf.where(missing, 0.0, feature), tf.cast(missing, tf.float32)], axis=-1)

    def get_config(self):
        return {**super().get_config(), "names": self.names, "count": self.count}
