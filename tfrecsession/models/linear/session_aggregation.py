"""SessionAggregation: the session is the mean of its items' vectors."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from scipy import sparse

from tfrecsession.batches.co_occurrence import session_items
from tfrecsession.errors import InputError
from tfrecsession.layers import last_items, newest_items, shares
from tfrecsession.layers.items.gather import gather_rows
from tfrecsession.layers.items.matmul import products
from tfrecsession.recommender.counting_model import CountingModel
from tfrecsession.recommender.search_space import Float, Int


@keras.saving.register_keras_serializable(package="tfrecsession")
class SessionAggregation(CountingModel):
    """Items near the discounted mean of the session's item vectors.

        h        = sum over the items i of the session of share(i) v_i,  share ~ discount^(events since), of sum 1
        score(j) = h . v_j

    The v_j are the rows, each of length 1, of

        (A'A)^hops G,  A(s, i) = (1 if i is in s) / sqrt(items of s * support_i),  G ~ N(0, 1) [items, dim]

    Why these: A'A(i, j) says how much i and j come together beside how often each comes at all, and its square also
    knows items that never stood in one session but with the same others. G projects its rows, as long as the
    catalogue, on `dim` numbers and keeps their cosines to about 1/sqrt(dim) (FastRP, Chen et al., arXiv 1908.11512).
    That costs events * dim * hops and no decomposition; the first singular vectors of A, its costlier relatives, score
    lower on yoochoose1_64 the more exactly they are found, because the small clusters of rare items fill them. A dense
    table is small to export and answers `similar_items`.

    Args:
        items: the vocabulary.
        dim: width of an item vector.
        discount: 1 is the plain mean, 0 the last item alone.
        hops: 1 relates items that stood in one session, 2 also those that share companions.
        window: newest events of the session that count; None: all.

    Raises:
        InputError: an argument out of range.

    Example:

        model = trs.models.SessionAggregation(data.items, dim=200, discount=0.5)
        model.fit(data.train)
        model.similar_items(["item-17"], k=5)
    """

    scores_by_products = True
    search_space = {
        "dim": Int(50, 800, log=True),
        "discount": Float(0.0, 1.0),
        "hops": Int(1, 3),
    }

    def __init__(self, items, dim=200, discount=0.5, hops=2, window=None, **kwargs):
        super().__init__(items, **kwargs)
        for name, number in (("dim", dim), ("hops", hops), ("window", window)):
            if not (number is None and name == "window") and (not isinstance(number, int | np.integer) or number < 1):
                raise InputError(f"{name}={number!r}: say a whole number, at least 1")
        if not 0 <= discount <= 1:
            raise InputError(f"discount={discount!r}: an earlier event counts 0 to 1 times as much as the one after it")
        self.dim, self.discount, self.hops, self.window = dim, discount, hops, window
        self.vectors = self.add_weight(
            name="vectors",
            shape=(self.size, dim),
            dtype="float32",
            initializer="zeros",
            trainable=False,
            autocast=False,
        )

    def count(self, sessions):
        counts = session_items(sessions, self.size)
        support = np.asarray(counts.sum(axis=0)).ravel()
        counts.data[:] = 1
        length = np.asarray(counts.sum(axis=1)).ravel()
        rows, columns = (sparse.diags(np.maximum(degree, 1) ** -0.5) for degree in (length, support))
        a = (rows @ counts @ columns).astype(np.float32).tocsr()
        back = a.T.tocsr()
        # drawn from a fixed seed: the same log gives the same vectors
        vectors = np.random.default_rng(0).standard_normal((self.size, self.dim), np.float32)
        for _ in range(self.hops):
            vectors = back @ (a @ vectors)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        self.vectors.assign(np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0))

    def encode(self, batch, training=False):
        """h: float32 [rows, steps, dim]."""
        items = newest_items(batch, self.window)
        shape = tf.shape(items)
        return tf.reshape(self._mean(tf.reshape(items, (-1, shape[2]))), (shape[0], shape[1], self.dim))

    def encode_last(self, batch, length):
        return self._mean(last_items(batch, length, self.window))

    def _mean(self, items):
        """int32 [n, events], newest first -> float32 [n, dim]."""
        share = shares(items, tf.pow(float(self.discount), tf.cast(tf.range(tf.shape(items)[1]), tf.float32)))
        there = tf.where(items > 0)
        rows = gather_rows(self.vectors.value, tf.gather_nd(items, there)) * tf.gather_nd(share, there)[:, None]
        return tf.math.unsorted_segment_sum(rows, there[:, 0], tf.shape(items)[0])

    def score_all(self, encoded):
        return products(encoded, tf.convert_to_tensor(self.vectors.value))

    def item_vectors(self):
        return tf.convert_to_tensor(self.vectors.value)

    def score_vectors(self, ids):
        return gather_rows(self.vectors.value, ids)

    def get_config(self):
        own = ("dim", "discount", "hops", "window")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
