"""The table of user vectors and biases, read at a cost that follows the rows touched."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="tfrecsession")
class UserEmbedding(keras.layers.Layer):
    """User vectors and biases. The gradient of gathered rows is sparse.

    Unlike an `ItemEmbedding`, it is created before the number of users is known: `build(users)` creates the weights.

    Args:
        dim: width of a vector.
        deviation: standard deviation of the normal distribution of the initial vectors.
        bias: whether every user also has a bias, starting at zero.
    """

    def __init__(self, dim, deviation, bias=False, **kwargs):
        super().__init__(**kwargs)
        self.dim, self.deviation, self.bias = dim, deviation, bias
        self.table = self.biases = None

    def build(self, users):
        normal = keras.initializers.RandomNormal(stddev=self.deviation)
        self.table = self.add_weight(
            shape=(users, self.dim), initializer=normal, dtype="float32", autocast=False, name="table"
        )
        if self.bias:
            self.biases = self.add_weight(
                shape=(users,), initializer="zeros", dtype="float32", autocast=False, name="biases"
            )

    def call(self, users):
        """Gathers user vectors: int [...] -> float32 [..., dim]."""
        return tf.gather(self.table.value, users)  # a resource gather reads only these rows

    def offsets(self, users):
        """Gathers user biases: int [...] -> float32 [...]."""
        return tf.gather(self.biases.value, users)

    def get_config(self):
        return super().get_config() | {"dim": self.dim, "deviation": self.deviation, "bias": self.bias}
