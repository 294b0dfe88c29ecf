"""A few neighbours of every item, each with a weight: what rules, item-kNN and pruned linear models score by."""

from __future__ import annotations

from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf
from scipy import sparse

from tfrecsession.errors import InputError
from tfrecsession.layers.session_window import STEP_DECAYS, newest_items, shares, step_weights


@keras.saving.register_keras_serializable(package="tfrecsession")
class NeighbourTable(keras.layers.Layer):
    """Scores items by the weights that the items of a session give them.

        score(j) = sum over the items i of the session of share(i) * weight(i, j)

    Weights: `ids` int32 and `strengths` float32 [size, neighbours], the strongest first; id 0 with strength 0 where an
    item has no more neighbours. Memory and the cost of a score follow the neighbours kept, not the catalogue squared.

    Args:
        size: rows of the table: the items + 2. Rows 0 (padding) and 1 (unknown) stay empty.
        neighbours: how many are kept per item, at most the items there are.
        history: which items of the session give their weights: "last", the last one alone; "mean", the newest
            `window` alike; or one of STEP_DECAYS, the newest `window` by their step back. Shares sum to 1.
        window: items of the session looked at, unless it is the last alone.

    Raises:
        InputError: an argument out of range.
    """

    def __init__(self, size, neighbours, history="last", window=20, **kwargs):
        super().__init__(**kwargs)
        for name, number in (("neighbours", neighbours), ("window", window)):
            if not isinstance(number, int | np.integer) or number < 1:
                raise InputError(f"{name}={number!r}: say a whole number, at least 1")
        self.size, self.neighbours, self.history, self.window = size, neighbours, history, window
        if history not in ("last", "mean", *STEP_DECAYS):
            raise InputError(f"history={history!r}: say one of last, mean, {', '.join(STEP_DECAYS)}")
        if history == "last":
            self.by_step = np.ones(1)
        else:
            self.by_step = step_weights("same" if history == "mean" else history, window)
        self.build()

    def build(self, input_shape=None):
        shape = (self.size, min(self.neighbours, self.size - 2))

        def table(name, dtype):
            return self.add_weight(
                name=name, shape=shape, dtype=dtype, initializer="zeros", trainable=False, autocast=False
            )

        self.ids, self.strengths = table("ids", "int32"), table("strengths", "float32")
        self.built = True

    def fill(self, blocks: Iterable) -> None:
        """Keep the strongest neighbours of every item.

        Args:
            blocks: matrices [rows, size], which together give all rows of the table in their order. SciPy sparse: what
                they hold is a neighbour, what they leave out is none. NumPy: every item is.
        """
        ids, strengths = (np.zeros(self.ids.shape, dtype) for dtype in (np.int32, np.float32))
        first = 0
        for block in blocks:
            row, place, neighbour, strength = strongest(block, ids.shape[1])
            ids[first + row, place], strengths[first + row, place] = neighbour, strength
            first += block.shape[0]
        self.ids.assign(ids)
        self.strengths.assign(strengths)

    def call(self, batch):
        """A batch of packed rows -> int32 [rows, steps, 1 or window]: the items that a step is scored by."""
        return newest_items(batch, len(self.by_step))

    def score_all(self, items):
        """What `call` said of n events, int32 [n, window], newest first -> float32 [n, size]."""
        return self.score(items, shares(items, self.by_step))

    def score(self, items, share):
        """items int32 [n, window], 0 where there is none, and what each counts, float32 [n, window]; -> [n, size]."""
        events = tf.shape(items)[0]
        there = tf.where(items > 0)  # (m, 2): what histories lack costs nothing
        known = tf.gather_nd(items, there)
        given = tf.gather(self.strengths.value, known) * tf.gather_nd(share, there)[:, None]  # (m, neighbours)
        cells = tf.cast(tf.gather(self.ids.value, known), tf.int64) + there[:, :1] * self.size
        # not unsorted_segment_sum, which counts the rows of every cell beside: four times slower in large blocks
        flat = tf.scatter_nd(
            tf.reshape(cells, [-1, 1]), tf.reshape(given, [-1]), [tf.cast(events, tf.int64) * self.size]
        )
        return tf.reshape(flat, (events, self.size))

    def get_config(self):
        own = ("size", "neighbours", "history", "window")
        return super().get_config() | {name: getattr(self, name) for name in own}


def strongest(block, neighbours: int):
    """The strongest entries of every row of a matrix; of equal ones the lower column, the more popular item.

    Returns:
        row, place in the row (0 is the strongest), column and value of each, all of one shape.
    """
    if not sparse.issparse(block):
        strength, item = tf.math.top_k(tf.cast(block[:, 2:], tf.float32), neighbours)  # equal ones by their column
        return np.arange(len(block))[:, None], np.arange(neighbours)[None], item.numpy() + 2, strength.numpy()
    block = sparse.csr_matrix(block, dtype=np.float32)  # rounded: what is equal in exact sums is equal here
    block.sum_duplicates()
    block.eliminate_zeros()
    length = np.diff(block.indptr)
    row = np.repeat(np.arange(block.shape[0]), length)
    order = np.lexsort((-block.data, row))  # stable, and the columns of a row rise
    place = np.arange(len(row)) - np.repeat(block.indptr[:-1], length)
    kept = place < neighbours
    order = order[kept]
    return row[kept], place[kept], block.indices[order], block.data[order]
