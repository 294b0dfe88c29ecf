"""A few weighted neighbours of every item, as rules, item-kNN and pruned linear models score with."""

from __future__ import annotations

from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf
from scipy import sparse

from tfrecsession.errors import InputError
from tfrecsession.layers.blocks import in_blocks
from tfrecsession.layers.session_window import STEP_DECAYS, newest_items, shares, shares_by_item, step_weights


@keras.saving.register_keras_serializable(package="tfrecsession")
class NeighbourTable(keras.layers.Layer):
    """Scores items by the weights that the items of a session give them.

        score(j) = sum over the items i of the session of share(i) * weight(i, j)

    Weights: `ids` int32 and `strengths` float32 [size, neighbours], the strongest first; id 0 with strength 0 where an
    item has no more neighbours. Memory and the cost of a score follow the neighbours kept, not the catalogue squared.

    Args:
        size: rows of the table: the items + 2. Rows 0 (padding) and 1 (unknown) stay empty.
        neighbours: how many are kept per item, at most all items.
        history: which items of the session count: "last", the last one alone; "mean", the newest `window` equally; or
            one of STEP_DECAYS, the newest `window` by their step back. Shares sum to 1.
        window: how many items of the session count, unless `history` is "last".

    Raises:
        InputError: an argument out of range.
    """

    def __init__(self, size, neighbours, history="last", window=20, **kwargs):
        super().__init__(**kwargs)
        for name, value in (("neighbours", neighbours), ("window", window)):
            if not isinstance(value, int | np.integer) or value < 1:
                raise InputError(f"{name}={value!r}: must be a whole number, at least 1")
        self.size, self.neighbours, self.history, self.window = size, neighbours, history, window
        if history not in ("last", "mean", *STEP_DECAYS):
            raise InputError(f"history={history!r}: must be one of last, mean, {', '.join(STEP_DECAYS)}")
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
        """Keeps the strongest neighbours of every item.

        Args:
            blocks: matrices [rows, size], which together hold all rows of the table in order. SciPy sparse: only stored
                entries are neighbours. NumPy: every item is.
        """
        ids, strengths = (np.zeros(self.ids.shape, dtype) for dtype in (np.int32, np.float32))
        first = 0
        for block in blocks:
            row, rank, neighbour, strength = strongest(block, ids.shape[1])
            ids[first + row, rank], strengths[first + row, rank] = neighbour, strength
            first += block.shape[0]
        self.ids.assign(ids)
        self.strengths.assign(strengths)

    def call(self, batch):
        """Returns the items that each step is scored by: packed rows -> int32 [rows, steps, 1 or window]."""
        return newest_items(batch, len(self.by_step))

    def score_all(self, items):
        """Scores all items from rows of `call`, int32 [n, window], newest first -> float32 [n, size]."""
        return self.score(items, shares(items, self.by_step))

    def score(self, items, share):
        """Scores all items from items int32 [n, window], 0 for none, and shares float32 [n, window] -> [n, size].

        Memory is bounded by `layers.blocks.BLOCK_BYTES`.
        """
        window = tf.cast(tf.shape(items)[1], tf.int64)
        distinct = tf.minimum(window, self.size)
        row_cells = 8 * window + distinct * (8 + 8 * self.ids.shape[1]) + self.size
        return in_blocks(self._scores, [items, share], row_cells, tf.TensorSpec((None, self.size), tf.float32))

    def _scores(self, items, share):
        """Does the work of `score` for rows that fit into memory."""
        items, share = tf.cond(  # more events than items: every item once, with the sum of its shares
            tf.shape(items)[1] > self.size,
            lambda: shares_by_item(items, share, self.size),
            lambda: (items, share),
        )
        events = tf.shape(items)[0]
        filled = tf.where(items > 0)  # (m, 2): empty cells cost nothing
        known = tf.gather_nd(items, filled)  # (m,)
        terms = tf.gather(self.strengths.value, known) * tf.gather_nd(share, filled)[:, None]  # (m, neighbours)
        cells = tf.cast(tf.gather(self.ids.value, known), tf.int64) + filled[:, :1] * self.size  # (m, neighbours)
        # not unsorted_segment_sum, which also counts the rows of every cell: four times slower in large blocks
        flat = tf.scatter_nd(
            tf.reshape(cells, [-1, 1]), tf.reshape(terms, [-1]), [tf.cast(events, tf.int64) * self.size]
        )  # (n * size,)
        return tf.reshape(flat, (events, self.size))  # (n, size)

    def between(self, items, others):
        """Returns the weights that items give to others: int32 [n, window], [n, m] -> float32 [n, m, window]."""
        ids, strengths = (tf.gather(table.value, items)[:, None] for table in (self.ids, self.strengths))
        is_other = (ids == others[:, :, None, None]) & (ids > 1)  # (n, m, window, neighbours)
        return tf.reduce_sum(tf.where(is_other, strengths, 0.0), axis=3)

    def get_config(self):
        own = ("size", "neighbours", "history", "window")
        return super().get_config() | {name: getattr(self, name) for name in own}


def strongest(block, neighbours: int):
    """Selects the largest entries of every row of a matrix; ties: the lower column, the more popular item.

    Returns:
        row, rank in the row (0 is the strongest), column and value of each, of shapes that broadcast.
    """
    if not sparse.issparse(block):
        strength, item = tf.math.top_k(tf.cast(block[:, 2:], tf.float32), neighbours)  # ties by column
        return np.arange(len(block))[:, None], np.arange(neighbours)[None], item.numpy() + 2, strength.numpy()
    block = sparse.csr_matrix(block, dtype=np.float32)  # rounded: exactly equal sums are equal here
    block.sum_duplicates()
    block.eliminate_zeros()
    length = np.diff(block.indptr)
    row = np.repeat(np.arange(block.shape[0]), length)
    order = np.lexsort((-block.data, row))  # stable, and the columns of a row rise
    rank = np.arange(len(row)) - np.repeat(block.indptr[:-1], length)
    kept = rank < neighbours
    order = order[kept]
    return row[kept], rank[kept], block.indices[order], block.data[order]
