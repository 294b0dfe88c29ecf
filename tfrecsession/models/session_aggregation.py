"""SessionAggregation: the session is the mean of its items' vectors."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from scipy import sparse

from tfrecsession.errors import InputError
from tfrecsession.layers import newest_items, shares
from tfrecsession.models.counting_model import CountingModel
from tfrecsession.models.pairs import session_items
from tfrecsession.models.search_space import Float, Int

ROUNDS = 4  # of the subspace iteration: a fifth changes no digit of the scores that is reported
SPARE = 20  # directions iterated beyond those kept


@keras.saving.register_keras_serializable(package="tfrecsession.models")
class SessionAggregation(CountingModel):
    """Items near the discounted mean of the session's item vectors.

        h        = sum over the items i of the session of share(i) v_i,  share ~ discount^(events since), of sum 1
        score(j) = h . v_j

    The v_j are the rows, each of length 1, of the first `dim` right singular vectors of the session-item matrix

        A(s, i) = (1 if i is in s) / sqrt(items of s * support_i)

    Why these: the plain matrix gives its largest directions to the popular items; divided by both degrees (the
    normalization of spectral clustering, Dhillon, KDD 2001) the cosine of two vectors says who comes with whom. A dense
    table of `dim` numbers per item is small to export, answers `similar_items`, and finds items that never stood
    in one session, which neighbours cannot. The cost is that of events * dim, by randomized subspace iteration (Halko,
    Martinsson, Tropp, arXiv 0909.4061, algorithm 4.4).

    Args:
        items: the vocabulary.
        dim: width of an item vector, at most the items.
        discount: 1 is the plain mean, 0 the last item alone.
        window: newest events of the session that count; None: all.

    Raises:
        InputError: an argument out of range.

    Example:

        model = trs.models.SessionAggregation(data.items, dim=100, discount=0.5)
        model.fit(data.train)
        model.similar_items(["item-17"], k=5)
    """

    search_space = {
        "dim": Int(25, 400, log=True),
        "discount": Float(0.0, 1.0),
    }

    def __init__(self, items, dim=100, discount=0.5, window=None, **kwargs):
        super().__init__(items, **kwargs)
        for name, number in (("dim", dim), ("window", window)):
            if not (number is None and name == "window") and (not isinstance(number, int | np.integer) or number < 1):
                raise InputError(f"{name}={number!r}: say a whole number, at least 1")
        if not 0 <= discount <= 1:
            raise InputError(f"discount={discount!r}: an earlier event counts 0 to 1 times as much as the one after it")
        self.dim, self.discount, self.window = dim, discount, window
        self.vectors = self.add_weight(
            name="vectors",
            shape=(self.size, min(dim, self.size - 2)),
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
        vectors = leading_directions((rows @ counts @ columns).astype(np.float32).tocsr(), self.vectors.shape[1])
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        self.vectors.assign(np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 1e-6))

    def encode(self, batch, training=False):
        """h: float32 [rows, steps, dim]."""
        items = newest_items(batch, self.window)
        shape = tf.shape(items)
        items = tf.reshape(items, (-1, shape[2]))
        share = shares(items, tf.pow(float(self.discount), tf.cast(tf.range(shape[2]), tf.float32)))
        there = tf.where(items > 0)
        rows = tf.gather(self.vectors.value, tf.gather_nd(items, there)) * tf.gather_nd(share, there)[:, None]
        mean = tf.math.unsorted_segment_sum(rows, there[:, 0], tf.shape(items)[0])
        return tf.reshape(mean, (shape[0], shape[1], self.vectors.shape[1]))

    def score_all(self, encoded):
        return tf.matmul(encoded, self.vectors.value, transpose_b=True)

    def item_vectors(self):
        return tf.convert_to_tensor(self.vectors.value)

    def get_config(self):
        return {**super().get_config(), "dim": self.dim, "discount": self.discount, "window": self.window}


def leading_directions(matrix, dim: int) -> np.ndarray:
    """The first `dim` right singular vectors of a sparse matrix [n, m], float32 [m, dim], the largest first.

    The start is drawn from a fixed seed: the same matrix gives the same vectors.
    """
    width = min(dim + SPARE, matrix.shape[1])
    transposed = matrix.T.tocsr()
    found = np.random.default_rng(0).standard_normal((matrix.shape[1], width)).astype(np.float32)
    for _ in range(ROUNDS):
        found, _ = np.linalg.qr(transposed @ (matrix @ found))
    image = matrix @ found
    squares, turn = np.linalg.eigh(image.T @ image)
    return found @ turn[:, np.argsort(-squares)[:dim]]
