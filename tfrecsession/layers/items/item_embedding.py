"""The table of item vectors, read and scored at a cost that follows the rows touched."""

import math

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfrecsession.errors import InputError
from tfrecsession.layers.items.gather import gather_rows
from tfrecsession.layers.items.item_scores import ItemScores
from tfrecsession.layers.items.matmul import products

LEARNED = "learned"
START = 0.07  # the temperature of CORE and CLIP
UNSEEN_BIAS = -20.0  # of items that training never sees; scores of items differ by less


@keras.saving.register_keras_serializable(package="tfrecsession")
class ItemEmbedding(ItemScores):
    """Item vectors (and biases): looked up as inputs, scored against as outputs, or both (tied).

    Keras' `Embedding` reads the whole table at every step. Here every method but `score_all` gathers straight from
    the variable, and the gradient is a `tf.IndexedSlices` of the rows gathered: with a lazy optimizer
    (`tfrecsession.optimizers`) a step costs the same at ten thousand items and at ten million. The table stays float32
    under mixed precision; rows are cast to the compute dtype after they are gathered.

    Args:
        size: rows of the table: the items + 2. Row 0 is padding, row 1 the unknown item.
        dim: width of a vector.
        bias: whether every item also has a trained bias, starting at zero, that is added to its score.
        initializer: of the table. The default, uniform within sqrt(3 / dim), gives rows a length near 1 whatever the
            size of the catalogue. `"glorot_uniform"` is what GRU4Rec's authors use (arXiv 1706.03847): uniform within
            sqrt(6 / (size + dim)), so that the vectors of a large catalogue start close to zero.

        normalize: whether vectors and states count by their directions alone: score = cos(hidden, e_i) / temperature
            (+ bias). Looked up as inputs, the vectors have length 1 too (NISER, arXiv 1909.04276; CORE, 2204.11067).
        temperature: of normalized scores, above 0; "learned": trained, starting at 0.07.

    Raises:
        InputError: `size` below 3 (no item), `dim` below 1, or a temperature that is not above 0.
    """

    by_products = True

    def __init__(self, size, dim, bias=False, initializer=None, normalize=False, temperature=START, **kwargs):
        super().__init__(**kwargs)
        number = isinstance(temperature, int | float) and not isinstance(temperature, bool)
        if temperature != LEARNED and not (number and 0 < temperature < float("inf")):
            raise InputError(f"temperature={temperature!r}: must be a number above 0, or {LEARNED!r}")
        if size < 3:
            raise InputError(f"size={size}: must be at least 3, the rows of padding, the unknown item and one item")
        if dim < 1:
            raise InputError(f"dim={dim}: must be at least 1")
        self.size = size
        self.dim = dim
        self.bias = bias
        self.normalize = normalize
        self.temperature = temperature
        self.initializer = keras.initializers.get(initializer or _unit_rows(dim))
        self.build()

    def build(self, input_shape=None):
        # autocast would read and convert the whole table to gather one row
        self.table = self.add_weight(
            shape=(self.size, self.dim), initializer=self.initializer, dtype="float32", autocast=False, name="table"
        )
        self.build_rest()

    def build_rest(self):
        """Creates the weights beside the table."""
        self.biases = None
        if self.bias:
            self.biases = self.add_weight(
                shape=(self.size,), initializer="zeros", dtype="float32", autocast=False, name="biases"
            )
        self.log_scale = None
        if self.normalize and self.temperature == LEARNED:
            start = keras.initializers.Constant(-math.log(START))
            self.log_scale = self.add_weight(
                shape=(), initializer=start, dtype="float32", autocast=False, name="log_scale"
            )

    def rank_unseen_last(self, counts) -> None:
        """Starts the biases of items without events, counts int [items] of 0, at UNSEEN_BIAS.

        Sampled negatives never reach such items, so they would keep random scores, above those of known ones.
        """
        counts = np.asarray(counts)
        if self.bias and (counts > 0).any() and not counts.all():
            self.biases.assign(np.where(np.concatenate([[1, 1], counts]) > 0, 0.0, UNSEEN_BIAS))

    def call(self, ids):
        """Gathers item vectors: ids int [...] -> [..., dim] in the compute dtype."""
        return self._rows(ids)

    def query(self, hidden):
        """Returns the vectors whose products with `vectors` are the scores: hidden, or its direction / temperature."""
        if not self.normalize:
            return hidden
        if self.log_scale is None:
            scale = 1 / self.temperature
        else:  # at most 100, as in CLIP (arXiv 2103.00020)
            scale = tf.exp(tf.minimum(tf.convert_to_tensor(self.log_scale), math.log(100.0)))
        unit = tf.math.l2_normalize(tf.cast(hidden, tf.float32), axis=-1, epsilon=1e-12)
        return tf.cast(unit * scale, self.compute_dtype)

    def score(self, hidden, ids, shift=None, dtype=None):
        """Scores the same items for every hidden vector.

        Args:
            hidden: [n, dim].
            ids: int [m].
            shift: float [m], added to every score of the item besides its bias; None: nothing.
            dtype: of the product and the scores; None: the compute dtype. "bfloat16" takes half the time on hardware
                that multiplies it, and keeps three digits of every score.

        Returns:
            [n, m] in `dtype`.
        """
        offsets = _gather(self.biases, ids) if self.bias else None
        if shift is not None:
            offsets = shift if offsets is None else offsets + shift
        return _product(self.query(hidden), self._unit(self._gathered(ids)), offsets, dtype or self.compute_dtype)

    def score_each(self, hidden, ids):
        """Scores one item for each hidden vector: hidden [..., dim], ids int [...] -> [...], compute dtype."""
        scores = ops.sum(ops.cast(self.query(hidden), self.compute_dtype) * self._rows(ids), axis=-1)  # (...)
        return scores + ops.cast(_gather(self.biases, ids), scores.dtype) if self.bias else scores

    def score_all(self, hidden):
        """Scores all items for every hidden vector: hidden [n, dim] -> [n, size], compute dtype.

        For the few vectors of a request: biases are added to the scores. `scorer` copies the table to avoid that.
        """
        table = ops.cast(self._unit(self._whole()), self.compute_dtype)
        scores = products(ops.cast(self.query(hidden), self.compute_dtype), table)  # (n, size)
        return scores + ops.cast(self.biases.value, self.compute_dtype) if self.bias else scores

    def scorer(self):
        """Returns `score_all` for many blocks of vectors; reads the table once, now.

        After a sparse update, every read of a variable copies it.
        """
        table = self._unit(self._whole())
        offsets = tf.convert_to_tensor(self.biases.value) if self.bias else None
        columns = ops.cast(_with_offsets(table, offsets), self.compute_dtype)  # (size, dim, or more with biases)
        return lambda hidden: _matmul(_with_ones(ops.cast(self.query(hidden), self.compute_dtype), offsets), columns)

    def vectors(self, ids):
        """Gathers vectors: int [n] -> float32 [n, dim], with biases [n, dim + 1], the bias last."""
        vectors = self._unit(self._gathered(ids))  # (n, dim)
        return tf.concat([vectors, _gather(self.biases, ids)[:, None]], axis=1) if self.bias else vectors

    def all_vectors(self):
        biases = tf.convert_to_tensor(self.biases.value) if self.bias else None
        return self._unit(self._whole()), biases

    def compute_output_shape(self, input_shape):
        return (*input_shape, self.dim)

    def get_config(self):
        return super().get_config() | {
            "size": self.size,
            "dim": self.dim,
            "bias": self.bias,
            "initializer": keras.initializers.serialize(self.initializer),
            "normalize": self.normalize,
            "temperature": self.temperature,
        }

    def _gathered(self, ids):
        """Gathers rows of the table: int [...] -> float32 [..., dim]."""
        return _gather(self.table, ids)

    def _whole(self):
        """Returns the whole table, float32 [size, dim]."""
        return tf.convert_to_tensor(self.table.value)

    def _rows(self, ids):
        return ops.cast(self._unit(self._gathered(ids)), self.compute_dtype)

    def _unit(self, vectors):
        return tf.math.l2_normalize(vectors, axis=-1, epsilon=1e-12) if self.normalize else vectors


def _gather(variable, ids):
    return gather_rows(variable.value, ids)


def _product(hidden, vectors, offsets, dtype):
    """Returns hidden [n, dim] . vectors [m, dim] + offsets [m] (or None), [n, m], multiplied in `dtype`."""
    hidden, vectors = _with_ones(ops.cast(hidden, dtype), offsets), ops.cast(_with_offsets(vectors, offsets), dtype)
    return _matmul(hidden, vectors)


def _matmul(hidden, vectors):
    return tf.matmul(hidden, vectors, transpose_b=True)


# Offsets are one more column of the vectors, with a 1 in every hidden vector: adding them afterwards would cost a pass
# over all scores, and their gradient another. The width is padded to a multiple of 16, which multiplies fastest.


def _with_offsets(vectors, offsets):
    if offsets is None:
        return vectors
    vectors_and_offsets = tf.concat([vectors, offsets[:, None]], axis=1)  # (n, dim + 1)
    return tf.pad(vectors_and_offsets, [[0, 0], [0, _padding(vectors)]])  # (n, 16 m)


def _with_ones(hidden, offsets):
    if offsets is None:
        return hidden
    hidden_and_ones = tf.pad(hidden, [[0, 0], [0, 1]], constant_values=1)  # (n, dim + 1)
    return tf.pad(hidden_and_ones, [[0, 0], [0, _padding(hidden)]])  # (n, 16 m)


def _padding(vectors):
    return -(vectors.shape[-1] + 1) % 16


def _unit_rows(dim):
    limit = (3.0 / dim) ** 0.5
    return keras.initializers.RandomUniform(-limit, limit)
