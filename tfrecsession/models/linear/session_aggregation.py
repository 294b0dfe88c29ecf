"""SessionAggregation: items near the mean of the session's item vectors, found without training."""

from __future__ import annotations

import math

import keras
import numpy as np
import tensorflow as tf
from scipy import sparse

from tfrecsession.batches.co_occurrence import counted_events, session_items
from tfrecsession.layers import (
    history_length,
    last_items,
    newest_items,
    newest_items_at,
    shares,
    shares_by_item,
    window_of,
)
from tfrecsession.layers.blocks import in_blocks
from tfrecsession.layers.items.gather import gather_rows
from tfrecsession.layers.items.matmul import products
from tfrecsession.recommender.arguments import check_number, check_whole
from tfrecsession.recommender.counting_model import CountingModel
from tfrecsession.recommender.search_space import Float, Int

EXACT = 1 << 24  # numbers of a table of vectors up to which sums are in float64, 128 MB


@keras.saving.register_keras_serializable(package="tfrecsession")
class SessionAggregation(CountingModel):
    """Items near the discounted mean of the session's item vectors, which are random projections of co-occurrence.

        h        = sum over the items i of the session of share(i) v_i,  share ~ discount^(events since), of sum 1
        score(j) = h . v_j

    The v_j are the rows, each of length 1, of

        (A'A)^hops G,  A(s, i) = (1 if i is in s) / sqrt(items of s * support_i),  G ~ N(0, 1) [items, dim]

    A'A(i, j) relates how often i and j occur together to how often each occurs. Its square also relates items that
    never shared a session but occurred with the same others. G projects its rows, as long as the catalogue, on `dim`
    numbers and keeps their cosines to about 1/sqrt(dim) (FastRP, Chen et al., arXiv 1908.11512). That costs events *
    dim * hops and needs no decomposition. The first singular vectors of A cost more and score lower on yoochoose1_64,
    the lower the more exactly they are computed, because small clusters of rare items fill them. A dense table is small
    to export and answers `similar_items`.

    In a log of weighted events A(s, i) is multiplied by the root of the largest weight of the events of i in s, and
    support_i is the sum of the weights. So a session of weight 2 is the session twice.

    Args:
        items: the vocabulary.
        dim: width of an item vector.
        discount: 0 to 1, the weight of an event relative to the one after it. 1 is the plain mean, 0 the last item
            alone.
        hops: 1 relates items that shared a session, 2 also those that occurred with the same others.
        window: newest events of the session that count; None: all.

    Raises:
        InputError: an argument out of range.

    Example:

        model = trs.models.SessionAggregation(data.items, dim=200, discount=0.5)
        model.fit(data.train)
        model.similar_items(["item-17"], k=5)
    """

    # Declarations
    weighs_events = True
    searched_by_products = True
    search_space = {
        "dim": Int(50, 800, log=True),
        "discount": Float(0.0, 1.0),
        "hops": Int(1, 3),
    }

    def __init__(self, items, dim=200, discount=0.5, hops=2, window=None, **kwargs):
        # Arguments
        check_whole("dim", dim)
        check_number("discount", discount, 0, 1)
        check_whole("hops", hops)
        check_whole("window", window, optional=True)
        super().__init__(items, **kwargs)
        self.dim = dim
        self.discount = discount
        self.hops = hops
        self.window = window

        # Weights
        self.vectors = self.add_weight(
            name="vectors",
            shape=(self.size, dim),
            dtype="float32",
            initializer="zeros",
            trainable=False,
            autocast=False,
        )
        self.build()

    # Training

    def count(self, sessions):
        counts = session_items(sessions, self.size, targets=True)  # (sessions, size)
        support = np.asarray(counts.sum(axis=0)).ravel()  # (size,)
        lengths = np.diff(counts.indptr)  # (sessions,)
        counts.data[:] = 1 if sessions.weights is None else np.sqrt(self._largest(sessions))
        row_norm, column_norm = (
            sparse.diags(np.where(degree > 0, degree, 1.0) ** -0.5) for degree in (lengths, support)
        )
        # float32 would round the sums of a weighted log and those of the log with repeated sessions differently
        precision = np.float64 if self.size * self.dim <= EXACT else np.float32
        a = (row_norm @ counts @ column_norm).astype(precision).tocsr()  # (sessions, size)
        transposed = a.T.tocsr()  # (size, sessions)
        # a fixed seed: the same log gives the same vectors
        vectors = np.random.default_rng(0).standard_normal((self.size, self.dim), np.float32).astype(precision)
        for _ in range(self.hops):
            vectors = transposed @ (a @ vectors)  # (size, dim)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)  # (size, 1)
        self.vectors.assign(np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0))

    def _largest(self, sessions):
        """Returns the largest weight of each item's targets in each session, float [pairs], by session and item."""
        values, offsets, _, weight = counted_events(sessions)
        kept = weight.astype(np.float32) > 0
        session = np.repeat(np.arange(len(sessions)), np.diff(offsets))[kept]
        key = session * self.size + values[kept]
        order = np.argsort(key, kind="stable")
        begins = np.flatnonzero(np.diff(key[order], prepend=-1))
        return np.maximum.reduceat(weight[kept][order], begins) if len(begins) else np.zeros(0)

    # Recommendations

    def encode(self, batch, training=False):
        """Returns h: float32 [rows, steps, dim]."""
        items = newest_items(batch, self._counted)  # (rows, steps, events)
        shape = tf.shape(items)
        mean = self._mean(tf.reshape(items, (-1, shape[2])))  # (rows * steps, dim)
        return tf.reshape(mean, (shape[0], shape[1], self.dim))

    def encoder(self, batch):
        newest = newest_items_at(batch, self._counted)
        return lambda cells: self._mean(newest(cells))

    def cells_of_an_event(self, batch):
        return 8 * history_length(batch, self._counted)

    def encode_last(self, batch, length):
        return self._mean(last_items(batch, length, self._counted))  # (rows, events) -> (rows, dim)

    @property
    def _counted(self) -> int | None:
        """The newest events whose weight is not 0; None: all."""
        if self.discount == 0:
            return 1
        return window_of(-math.log(self.discount), self.window)

    def _mean(self, items):
        """Averages the vectors of histories: int32 [n, events], newest first -> float32 [n, dim]."""
        events = tf.shape(items, tf.int64)[1]
        row_cells = 16 * events + tf.minimum(events, self.size) * 2 * self.dim
        return in_blocks(self._mean_of_block, [items], row_cells, tf.TensorSpec((None, self.dim), tf.float32))

    def _mean_of_block(self, items):
        ago = tf.cast(tf.range(tf.shape(items)[1]), tf.float32)  # (events,)
        share = shares(items, tf.pow(float(self.discount), ago))  # (n, events)

        def by_event():
            cells = tf.where(items > 0)  # (m, 2): row and column of each event
            vectors = gather_rows(self.vectors.value, tf.gather_nd(items, cells))  # (m, dim)
            weighted = vectors * tf.gather_nd(share, cells)[:, None]  # (m, dim)
            return tf.math.unsorted_segment_sum(weighted, cells[:, 0], tf.shape(items)[0])  # (n, dim)

        def by_item():
            return tf.matmul(shares_by_item(items, share, self.size)[1], self.item_vectors())  # (n, dim)

        return tf.cond(tf.shape(items)[1] > self.size, by_item, by_event)

    def score_all(self, encoded):
        return products(encoded, tf.convert_to_tensor(self.vectors.value))  # (n, dim) -> (n, size)

    def item_vectors(self):
        return tf.convert_to_tensor(self.vectors.value)  # (size, dim)

    def score_vectors(self, ids):
        return gather_rows(self.vectors.value, ids)  # (..., dim)

    def parts_of_events(self, newest, items):
        used, rest = newest[:, : self._counted], tf.shape(newest)[1]
        ago = tf.cast(tf.range(tf.shape(used)[1]), tf.float32)
        share = shares(used, tf.pow(float(self.discount), ago))  # (n, events)
        products = tf.einsum("nmd,ned->nme", *(gather_rows(self.vectors.value, ids) for ids in (items, used)))
        return tf.pad(products * share[:, None], [[0, 0], [0, 0], [0, rest - tf.shape(used)[1]]])

    # Configuration

    def get_config(self):
        return {
            **super().get_config(),
            "dim": self.dim,
            "discount": self.discount,
            "hops": self.hops,
            "window": self.window,
        }
