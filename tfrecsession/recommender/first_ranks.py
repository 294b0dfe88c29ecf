"""Ranks of targets up to a limit: all that metrics of the first k places need, in half the time or less."""

from __future__ import annotations

import tensorflow as tf

from tfrecsession.layers.rounded_products import GROUP, RoundedProducts, rounded


class FirstRanks:
    """Ranks up to `most`; those above are `most` + 1.

    All scores are computed in bfloat16. A value that is further from the target's score than rounding explains is
    surely above or below it. Items in between are scored in float32, as the target is. So the ranks are those of all
    scores in float32, but for their own rounding.

    Args:
        most: the last rank that is told apart.
        vectors: float32 [size, width], rows 0 (padding) and 1 (unknown) never compete.
        table: of another one with these vectors, see `rounded`; None: it is computed.
    """

    MANY = 8192  # items from which on this is faster
    APART = 4 * GROUP  # items for each of the first places, or most groups would have to be looked at
    ROWS = 512  # queries at a time, so that their products stay near the processor

    def __init__(self, most: int, vectors, table=None):
        self.most, self.vectors = most, vectors
        self.table = rounded(vectors, tf.range(tf.shape(vectors)[0]) > 1) if table is None else table

    def __call__(self, queries, targets):
        """Returns int32 [n], ties counted against the model: float32 [n, width], int32 [n]."""
        products = RoundedProducts(*self.table, queries)
        score = self._products(queries, targets)
        low, high = products.least(score), products.highest(score)
        above = tf.math.count_nonzero(products.maxima > high[:, None], axis=1, dtype=tf.int32)
        open_rows = (above < self.most) & (targets > 1) & tf.math.is_finite(score)
        cells = tf.where((products.maxima >= low[:, None]) & open_rows[:, None])  # (cells, 2): row and group
        row, group = cells[:, 0], tf.cast(cells[:, 1], tf.int32)
        ids = group[:, None] * GROUP + tf.range(GROUP)  # (cells, GROUP)
        values = products.of(ids, row[:, None])
        surely = values > tf.gather(high, row)[:, None]
        maybe = tf.where(~surely & (values >= tf.gather(low, row)[:, None]))  # (items in between, 2)
        again = tf.gather(row, maybe[:, 0])
        asked = tf.gather(queries, again)
        # Both in one shape, so that equal vectors have equal products.
        reached = self._products(asked, tf.gather_nd(ids, maybe)) >= self._products(asked, tf.gather(targets, again))
        n = tf.shape(queries, tf.int64)[0]
        ranks = tf.math.unsorted_segment_sum(tf.math.count_nonzero(surely, axis=1, dtype=tf.int32), row, n)
        ranks += tf.math.unsorted_segment_sum(tf.cast(reached, tf.int32), again, n)
        return tf.where(open_rows, tf.minimum(ranks, self.most + 1), self.most + 1)

    def are_numbers(self):
        """Returns whether all vectors are finite: where they are not, ranks follow other rules."""
        return tf.math.is_finite(self.table[1]) & tf.math.is_finite(self.table[2])

    def _products(self, queries, ids):
        return tf.reduce_sum(queries * tf.gather(self.vectors, ids), axis=1)
