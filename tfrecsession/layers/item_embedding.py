"""The table of item vectors, read and scored at a cost that follows the rows touched."""

import keras
import tensorflow as tf
from keras import ops

from tfrecsession.errors import InputError


@keras.saving.register_keras_serializable(package="tfrecsession")
class ItemEmbedding(keras.layers.Layer):
    """Item vectors (and biases): looked up as inputs, scored against as outputs, or both (tied).

    Keras' `Embedding` reads the whole table at every step. Here every method but `score_all` gathers straight from
    the variable, and the gradient is a `tf.IndexedSlices` of the rows gathered: with a lazy optimizer
    (`tfrecsession.optimizers`) a step costs the same at ten thousand items and at ten million. The table stays float32
    under mixed precision; rows are cast to the compute dtype after they are gathered.

    Args:
        size: rows of the table: the items + 2. Row 0 is padding, row 1 the unknown item.
        dim: width of a vector.
        bias: whether every item also has a learned offset, starting at zero, that is added to its score.
        initializer: of the table. The default, uniform within sqrt(3 / dim), gives rows a length near 1 whatever the
            size of the catalogue. `"glorot_uniform"` is what GRU4Rec's authors use (arXiv 1706.03847): uniform within
            sqrt(6 / (size + dim)), so that the vectors of a large catalogue start close to zero.

    Raises:
        InputError: `size` below 3 (no item) or `dim` below 1.
    """

    def __init__(self, size, dim, bias=False, initializer=None, **kwargs):
        super().__init__(**kwargs)
        if size < 3:
            raise InputError(f"size={size}: an item table needs at least 3 rows (padding, unknown, one item)")
        if dim < 1:
            raise InputError(f"dim={dim}: an item vector needs at least 1 number")
        self.size = size
        self.dim = dim
        self.bias = bias
        self.initializer = keras.initializers.get(initializer or _unit_rows(dim))
        self.build()

    def build(self, input_shape=None):
        # autocast would read and convert the whole table wherever one row is wanted
        self.table = self.add_weight(
            shape=(self.size, self.dim), initializer=self.initializer, dtype="float32", autocast=False, name="table"
        )
        self.biases = None
        if self.bias:
            self.biases = self.add_weight(
                shape=(self.size,), initializer="zeros", dtype="float32", autocast=False, name="biases"
            )

    def call(self, ids):
        """ids int [...] -> vectors [..., dim] in the compute dtype."""
        return self._rows(ids)

    def score(self, hidden, ids):
        """Every hidden vector against the same items: hidden [n, dim], ids int [m] -> [n, m] in the compute dtype."""
        return self._with_bias(self._matmul(hidden, self._rows(ids)), ids)

    def score_each(self, hidden, ids):
        """Every hidden vector against the item beside it: hidden [..., dim], ids int [...] -> [...], compute dtype."""
        return self._with_bias(ops.sum(ops.cast(hidden, self.compute_dtype) * self._rows(ids), axis=-1), ids)

    def score_all(self, hidden):
        """Every hidden vector against the whole table, which it reads: hidden [n, dim] -> [n, size], compute dtype."""
        return self.scorer()(hidden)

    def scorer(self):
        """`score_all` for many blocks of vectors: reads the table now, once. (After a sparse update every read of a
        variable copies it.)"""
        table = ops.cast(tf.convert_to_tensor(self.table.value), self.compute_dtype)
        if not self.bias:
            return lambda hidden: self._matmul(hidden, table)
        biases = ops.cast(tf.convert_to_tensor(self.biases.value), self.compute_dtype)
        return lambda hidden: self._matmul(hidden, table) + biases

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.dim)

    def get_config(self):
        return super().get_config() | {
            "size": self.size,
            "dim": self.dim,
            "bias": self.bias,
            "initializer": keras.initializers.serialize(self.initializer),
        }

    def _rows(self, ids):
        return ops.cast(_gather(self.table, ids), self.compute_dtype)

    def _with_bias(self, scores, ids):
        return scores + ops.cast(_gather(self.biases, ids), scores.dtype) if self.bias else scores

    def _matmul(self, hidden, vectors):
        return tf.matmul(ops.cast(hidden, self.compute_dtype), vectors, transpose_b=True)


def _gather(variable, ids):
    # on the tf.Variable itself this is a resource gather, which reads the rows and nothing else
    return tf.gather(variable.value, ids)


def _unit_rows(dim):
    limit = (3.0 / dim) ** 0.5
    return keras.initializers.RandomUniform(-limit, limit)
