"""Item vectors from a few codes and small tables of vectors: compressed item tables."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfrecsession.errors import InputError
from tfrecsession.layers.items.gather import gather_rows
from tfrecsession.layers.items.item_embedding import ItemEmbedding, _gather, _matmul, _unit_rows
from tfrecsession.sessions.item_codes import ItemCodes, dtype_of

JOINS = ("concatenate", "sum", "shared")
CELLS, LEAST = 1 << 18, 1 << 12  # numbers that are computed at once, and items at least
FEW = 4  # queries, up to which the small tables are multiplied
EXPANDED_BYTES = 1 << 30  # of the vectors of all items, up to which they are computed for many blocks of scores


@keras.saving.register_keras_serializable(package="tfrecsession")
class CodeTable(keras.layers.Layer):
    """The codes of every item id, whole numbers [size, count] of one to four bytes; not trained.

    Args:
        size: rows: the items + 2. Those of padding and the unknown item are 0, and not read.
        count: codes of an item.
        values: how many values a code may have.
    """

    def __init__(self, size, count, values, **kwargs):
        super().__init__(**kwargs)
        self.size, self.count, self.values = size, count, values
        self.codes = self.add_weight(
            name="codes",
            shape=(size, count),
            dtype=dtype_of(values),
            initializer="zeros",
            trainable=False,
            autocast=False,
        )
        self.built = True

    def take(self, codes: ItemCodes) -> None:
        """Stores the codes of a catalogue."""
        expected = (self.size - 2, self.count)
        if codes.codes.shape != expected or codes.values > self.values:
            raise InputError(
                f"codes: must be {list(expected)} below {self.values}, not {list(codes.codes.shape)} "
                f"below {codes.values}"
            )
        self.codes.assign(np.pad(codes.codes, [[2, 0], [0, 0]]).astype(dtype_of(self.values)))

    def call(self, ids):
        """Returns codes: ids int [...] -> int32 [..., count]."""
        return tf.cast(gather_rows(self.codes.value, ids), tf.int32)

    def get_config(self):
        return super().get_config() | {"size": self.size, "count": self.count, "values": self.values}


@keras.saving.register_keras_serializable(package="tfrecsession")
class CodedItems(ItemEmbedding):
    """An `ItemEmbedding` without a vector per item: v_i = join_j T_j[code_j(i)], from small tables T_j.

        concatenate   v_i = [T_1[c_1] | ... | T_m[c_m]], T_j [values, dim / m]   product quantization (2312.06165)
        sum           v_i = sum_j T_j[c_j],              T_j [values, dim]       quotient and remainder (1909.02107)
        shared        v_i = sum_j T[c_j],                T [values, dim]         hashing (0902.2206), Bloom (1706.03993)

    The vectors of padding and of the unknown item are zero. Scores factorise: h . v_i = sum_j (h . T_j)[c_j], so that
    `score_all` multiplies the small tables alone, then gathers and adds `count` numbers per item. `score`, of a few
    sampled items, joins their vectors first. The gradient reaches the rows touched.

    Args:
        codes: the `CodeTable`; several layers may share one.
        dim: width of a vector; with "concatenate" a multiple of the number of codes.
        join: see above.
        initializer: of the small tables; None: such that v_i has a length near 1.
        bias, normalize, temperature: as in `ItemEmbedding`. Biases are one number for each item.

    Raises:
        InputError: `dim` is not a multiple of the number of codes, or `join` is unknown.
    """

    factored = True

    def __init__(self, codes, dim, join="concatenate", bias=False, initializer=None, **kwargs):
        if join not in JOINS:
            raise InputError(f"join={join!r}: must be one of {', '.join(JOINS)}")
        if join == "concatenate" and dim % codes.count:
            raise InputError(f"codes={codes.count}: must divide the width of the item vectors, {dim}")
        self.codes, self.join, self.count, self.values = codes, join, codes.count, codes.values
        if initializer is None:
            initializer = _unit_rows(dim if join == "concatenate" else dim * codes.count)
        super().__init__(codes.size, dim, bias=bias, initializer=initializer, **kwargs)

    def build(self, input_shape=None):
        tables = 1 if self.join == "shared" else self.count
        width = self.dim // self.count if self.join == "concatenate" else self.dim
        self.table = self.add_weight(
            shape=(tables * self.values, width),
            initializer=self.initializer,
            dtype="float32",
            autocast=False,
            name="table",
        )
        self.build_rest()

    # Scores of all items ---------------------------------------------------------------------------------------------

    def score_all(self, hidden):
        scores = self.products(self.query(hidden))  # (n, size)
        if self.normalize:
            scores *= tf.math.rsqrt(tf.maximum(self.squares(), 1e-24))
        if self.bias:
            scores += tf.convert_to_tensor(self.biases.value)
        return ops.cast(scores, self.compute_dtype)

    def scorer(self):
        if 4 * self.size * self.dim > EXPANDED_BYTES:
            return self.score_all
        return super().scorer()

    def products(self, queries):
        """Returns products with the vectors of all items, without biases: [n, dim] -> float32 [n, size].

        For a few queries the small tables are multiplied, and what they say of an item is added up. More than FEW share
        the vectors of a block of items, which cost as much to join as two or three sums.
        """
        queries = tf.cast(queries, tf.float32)
        count = tf.shape(queries)[0]

        def joined(ids):
            return tf.matmul(queries, self._gathered(ids), transpose_b=True)  # (n, block)

        return tf.cond(
            count <= FEW,
            lambda: self._summed(self._products_of_tables(queries), count),
            lambda: self._in_blocks(joined, count),
        )

    def squares(self):
        """Returns the squared lengths of the vectors of all items, float32 [size]."""
        if self.join == "concatenate":
            return self._summed(tf.reduce_sum(tf.convert_to_tensor(self.table.value) ** 2, axis=1)[:, None], 1)[0]
        return self._in_blocks(lambda ids: tf.reduce_sum(self._gathered(ids) ** 2, axis=1)[None], 1)[0]

    def rows(self, ids):
        """Returns vectors as they are stored, neither normalized nor with biases: int [...] -> float32 [..., dim]."""
        return self._gathered(ids)

    def item_variables(self):
        return [self.biases] if self.bias else []

    def get_config(self):
        config = super().get_config()
        config.pop("size")
        return config | {"codes": keras.saving.serialize_keras_object(self.codes), "join": self.join}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "codes": keras.saving.deserialize_keras_object(config["codes"])})

    def _products_of_tables(self, queries):
        """Multiplies queries with every row of the small tables: float32 [n, dim] -> [rows, n]."""
        table = tf.convert_to_tensor(self.table.value)
        if self.join != "concatenate":
            return _matmul(table, queries)
        parts = tf.reshape(queries, [-1, self.count, self.dim // self.count])  # (n, count, width)
        tables = tf.reshape(table, [self.count, self.values, -1])  # (count, values, width)
        return tf.reshape(tf.matmul(tables, tf.transpose(parts, [1, 2, 0])), [self.count * self.values, -1])

    def _summed(self, scores, count):
        """Adds up what the small tables say of each item: float32 [rows, count] -> [count, size], 0 for ids below 2."""

        def of_block(ids):
            codes = self.codes(ids)  # (block, codes of an item)
            rows = (codes[:, index] + self._first_row(index) for index in range(self.count))
            sums = tf.add_n([tf.gather(scores, row) for row in rows])  # (block, count)
            return tf.transpose(tf.where(ids[:, None] > 1, sums, 0.0))

        return self._in_blocks(of_block, count)

    def _in_blocks(self, of_block, count):
        """Computes `count` numbers of every id, a block of ids at a time, which stays in a processor's cache.

        Args:
            of_block: int32 [block] -> float32 [count, block].
            count: a number, or a tensor.

        Returns:
            float32 [count, size].
        """
        block = tf.minimum(tf.maximum(CELLS // tf.maximum(count, 1), LEAST), self.size)
        blocks = tf.map_fn(
            lambda first: of_block(tf.minimum(first + tf.range(block), self.size - 1)),
            tf.range(0, self.size, block),
            fn_output_signature=tf.TensorSpec((None, None), tf.float32),
        )  # (blocks, count, block)
        numbers = tf.reshape(tf.transpose(blocks, [1, 0, 2]), [count, -1])[:, : self.size]
        return tf.ensure_shape(numbers, [None, self.size])

    def _first_row(self, index):
        return 0 if self.join == "shared" else index * self.values

    def _gathered(self, ids):
        ids = tf.convert_to_tensor(ids)
        first = tf.constant([self._first_row(index) for index in range(self.count)])  # (count,)
        parts = _gather(self.table, self.codes(ids) + first)  # (..., count, width)
        if self.join == "concatenate":
            vectors = tf.reshape(parts, tf.concat([tf.shape(ids), [self.dim]], axis=0))  # (..., dim)
        else:
            vectors = tf.reduce_sum(parts, axis=-2)  # (..., dim)
        vectors = tf.where(ids[..., None] > 1, vectors, 0.0)
        return tf.ensure_shape(vectors, [*ids.shape, self.dim])

    def _whole(self):
        return self._gathered(tf.range(self.size))
