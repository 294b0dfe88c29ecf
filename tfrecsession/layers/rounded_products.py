"""Products of vectors in bfloat16, and how far they may be from those in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

GROUP = 64  # items whose largest product stands for them
LOW = -3e38  # the product of items that never compete; finite in bfloat16
ROUNDING = 2.0**-8  # relative error of a number that was rounded to bfloat16, twice the largest
AT_A_TIME = 65_536  # items whose vectors are rounded at a time, so that no further copies of all are held
SUMS = 3e-5  # of the product of two lengths: more than what sums in float32 lose


class RoundedProducts:
    """Products of the vectors of all items with some queries, in bfloat16.

    They lie item by item, [items, n], so that the maxima of groups of items need no transposition of all of them.

    Args:
        vectors: bfloat16 [groups GROUP, width + 1], see `rounded`.
        longest, lost: float32 [], see `rounded`.
        queries: float32 [n, width].

    Attributes:
        values: bfloat16 [groups GROUP, n].
        maxima: float32 [n, groups], the largest of each group.
        slack: float32 [n], by how much a product in float32 may differ, besides the rounding of its value.
    """

    def __init__(self, vectors, longest, lost, queries):
        self.n = tf.shape(queries)[0]
        rounded_queries = tf.cast(queries, tf.bfloat16)
        asked = tf.pad(rounded_queries, [[0, 0], [0, 1]], constant_values=1)  # (n, width + 1)
        self.values = tf.matmul(vectors, asked, transpose_b=True)
        grouped = tf.reshape(self.values, (-1, GROUP, 1, self.n))
        maxima = tf.nn.max_pool2d(grouped, (GROUP, 1), (GROUP, 1), "VALID")  # several times faster than `reduce_max`
        maxima = tf.reshape(maxima, (tf.shape(vectors)[0] // GROUP, self.n))
        self.maxima = tf.ensure_shape(tf.transpose(tf.cast(maxima, tf.float32)), (None, groups_of(vectors)))
        # With rounded vectors q' and v' a product is q v = q' v' + (q - q') v' + q (v - v'). The second part is at most
        # |q - q'| times the longest |v'|, the third |q| times the largest |v - v'|. The product q' v' is a sum in
        # float32 that is rounded to bfloat16 at its end.
        length = tf.norm(queries, axis=1)
        lost_of_queries = tf.norm(queries - tf.cast(rounded_queries, tf.float32), axis=1)
        self.slack = lost_of_queries * longest + length * lost + SUMS * length * longest

    def of(self, ids, rows):
        """Returns the values of some items and queries: int32 [...] and int64 [...] -> float32 [...]."""
        cells = tf.cast(ids, tf.int64) * tf.cast(self.n, tf.int64) + rows
        return tf.cast(tf.gather(tf.reshape(self.values, [-1]), cells), tf.float32)

    def least(self, products, rows=None):
        """Returns the least values of items whose products in float32 may reach the given ones: float32 [m] -> [m].

        rows: int [m], the queries of these; None: one of each.
        """
        low = products - (self.slack if rows is None else tf.gather(self.slack, rows))
        return low / (1 + tf.sign(low) * ROUNDING)

    def highest(self, products):
        """Returns values above which products in float32 are surely above the given ones: float32 [n] -> [n]."""
        high = products + self.slack
        return high / (1 - tf.sign(high) * ROUNDING)

    def limit(self, values):
        """Returns an upper bound of products whose values are at most the given ones: float32 [n] -> [n]."""
        return values + ROUNDING * tf.abs(values) + self.slack


def rounded(vectors, competes):
    """Rounds the vectors of items to bfloat16, `AT_A_TIME` items at a time.

    Args:
        vectors: float32 [items, width], an array or an eager tensor.
        competes: bool [items]; the others get the value LOW.

    Returns:
        bfloat16 [groups GROUP, width + 1], the last column 0 or LOW; the longest rounded vector's length, and the
        largest length of what rounding took away, float32 [] each, NaN where a vector has what is not a number.
    """
    items, width = vectors.shape
    parts, squares = [], []
    for start in range(0, items, AT_A_TIME):
        in_part = competes[start : start + AT_A_TIME]
        exact = tf.where(in_part[:, None], vectors[start : start + AT_A_TIME], 0.0)
        near = tf.cast(exact, tf.bfloat16)
        back = tf.cast(near, tf.float32)
        squares.append([np.max(tf.reduce_sum(tf.square(part), axis=1)) for part in (back, exact - back)])
        last = tf.where(in_part, 0.0, LOW)[:, None]
        parts.append(tf.concat([near, tf.cast(last, tf.bfloat16)], axis=1))
    missing = -items % GROUP
    padding = tf.concat([tf.zeros((missing, width)), tf.fill((missing, 1), LOW)], axis=1)
    parts.append(tf.cast(padding, tf.bfloat16))
    longest, lost = np.sqrt(np.max(squares, axis=0))
    return tf.concat(parts, axis=0), tf.constant(longest), tf.constant(lost)


def groups_of(vectors):
    """Returns the number of groups of a table, None if it is not known in the graph."""
    return None if vectors.shape[0] is None else vectors.shape[0] // GROUP


def multiplies_bfloat16() -> bool:
    """Returns whether this machine's processor multiplies bfloat16; others take longer than for float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags
