"""Somebody new, from the items of their history alone: a ridge regression after every event."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.layers.items.gather import gather_rows

STEPS = 64  # of a history that are solved together


PEOPLE = 4096  # of training, that say how long a folded-in vector has to be


@keras.saving.register_keras_serializable(package="tfrecsession")
class FoldIn(keras.layers.Layer):
    """`fold_in` with what it takes from trained tables, kept beside them.

    Args:
        dim: width of the vectors.
    """

    def __init__(self, dim, **kwargs):
        super().__init__(trainable=False, dtype="float32", **kwargs)
        self.dim = dim
        self.whitening = self.add_weight(shape=(dim, dim), initializer="identity", autocast=False, name="whitening")
        self.scale = self.add_weight(shape=(), initializer="ones", autocast=False, name="scale")
        self.built = True

    def call(self, batch, table):
        """Packed rows and the item table -> float32 [rows, steps, dim], `scale` times what `fold_in` says."""
        return self.scale * fold_in(batch, table, tf.convert_to_tensor(self.whitening.value))

    def settle(self, vectors, weight: float, ridge: float, histories=None, learned=None) -> None:
        """Take M = weight sum_i v_i v_i' + ridge I from a trained table.

        Args:
            vectors: float [size, dim], the item table; rows 0 and 1 are no items.
            weight: of every item, whether or not it is in the history: towards score 0.
            ridge: of the vector's own length.
            histories: SciPy CSR [people, size] of 0 and 1, and `learned` float [people, dim], the vectors that people
                got in training: `scale` makes what is folded in as long as they are, in the root mean square over
                PEOPLE of them. (The number that brings it nearest to them is smaller, the more so the less of a vector
                can be foreseen, and leaves too much to the biases.) None: 1.
        """
        vectors = np.asarray(vectors, np.float64)
        gram = vectors[2:].T @ vectors[2:]
        least = 1e-6 * max(np.trace(gram) / self.dim, 1e-6)  # a factor there must be
        prior = weight * gram + max(ridge, least) * np.eye(self.dim)
        self.whitening.assign(np.linalg.inv(np.linalg.cholesky(prior)).T)
        share = 1.0
        if histories is not None:
            some = np.unique(np.linspace(0, histories.shape[0] - 1, PEOPLE).astype(int))
            rows = [vectors[histories.indices[histories.indptr[user] : histories.indptr[user + 1]]] for user in some]
            folded = np.stack([np.linalg.solve(row.T @ row + prior, row.sum(axis=0)) for row in rows])
            share = ((np.asarray(learned)[some] ** 2).sum() / max((folded**2).sum(), 1e-12)) ** 0.5
        self.scale.assign(share if share > 0 else 1.0)

    def get_config(self):
        return super().get_config() | {"dim": self.dim}


def fold_in(batch: dict, table, whitening):
    """The vector of a person or session after every event of packed rows.

        x_t = argmin_x  sum over the distinct known items i up to t of (1 - x . v_i)^2 + x' M x
            = (sum v_i v_i' + M)^-1 sum v_i,       M = (A A')^-1, A being `whitening`

    With w_i = A' v_i the same is x_t = A W_t' (W_t W_t' + I)^-1 1, W_t the rows w_i up to t. The Cholesky factor L of
    W W' + I of a whole history holds those of all its beginnings, so one factorization answers all events: with
    Y = L^-1 W and z = L^-1 1, x_t = A sum_{s <= t} z_s Y_s. Longer histories go STEPS at a time, with what is known so
    far as the prior of the next piece: events * dim * (dim + STEPS) operations in all, plus STEPS^2 an event.

    Args:
        batch: `items`, `position`, `segment` int [rows, steps].
        table: variable or tensor float32 [size, dim], the v_i; only the rows of the batch are read.
        whitening: float32 [dim, dim], A.

    Returns:
        float32 [rows, steps, dim]; 0 after a history without a known item.
    """
    items, position, segment = batch["items"], batch["position"], batch["segment"]
    rows, steps = tf.shape(items)[0], tf.shape(items)[1]
    dim = whitening.shape[-1]
    piece = tf.clip_by_value(steps, 1, STEPS)
    pieces = (steps + piece - 1) // piece
    counts = tf.cast(first_of_its_session(items, position, segment), tf.float32)

    def in_pieces(array):  # (rows, steps) -> (pieces, rows, piece)
        array = tf.pad(array, [[0, 0], [0, pieces * piece - steps]])
        return tf.transpose(tf.reshape(array, (rows, pieces, piece)), (1, 0, 2))

    place = tf.range(piece)
    past = place[:, None] >= place[None, :]
    one = tf.eye(dim)[None]

    def solve(carried, some):
        _, mean, covariance = carried  # of the session that comes from before: (rows, dim), (rows, dim, dim)
        item, counts, position, segment = some
        w = tf.matmul(gather_rows(table, item) * counts[..., None], whitening)  # (rows, piece, dim)
        old = (position > place)[..., None]  # of the session that began before this piece
        same = segment[:, :, None] == segment[:, None, :]
        weighed = tf.where(old, tf.matmul(w, covariance), w)
        kernel = tf.where(same, tf.matmul(weighed, w, transpose_b=True), 0.0) + tf.eye(piece)
        factor = tf.linalg.cholesky(kernel)
        known = tf.where(old, mean[:, None, :], 0.0)
        missing = counts[..., None] - tf.reduce_sum(w * known, axis=2, keepdims=True)
        solved = tf.linalg.triangular_solve(factor, tf.concat([missing, weighed], axis=2))
        steps_of = solved[..., :1] * solved[..., 1:]
        found = known + tf.matmul(tf.cast(same & past, tf.float32), steps_of)
        last = tf.cast(same[:, -1], tf.float32)[..., None]  # what the next piece may go on with
        of_last = solved[..., 1:] * last
        start = tf.where(old[:, -1:], covariance, one)
        return found, found[:, -1], start - tf.matmul(of_last, of_last, transpose_a=True)

    nothing = tf.zeros((rows, piece, dim)), tf.zeros((rows, dim)), tf.tile(one, (rows, 1, 1))
    elements = tuple(in_pieces(array) for array in (items, counts, position, segment))
    found = tf.scan(solve, elements, nothing, parallel_iterations=1)[0]  # (pieces, rows, piece, dim)
    found = tf.reshape(tf.transpose(found, (1, 0, 2, 3)), (rows, pieces * piece, dim))[:, :steps]
    return tf.matmul(found, whitening, transpose_b=True)


def first_of_its_session(items, position, segment):
    """bool [rows, steps]: a known item that its session has not had before. Sorted: a long row costs no square."""
    steps = tf.shape(items)[1]
    place = tf.range(steps)[None]
    begin = place - position  # where the session began tells sessions of a row apart
    key = tf.cast(begin, tf.int64) * (tf.cast(tf.reduce_max(items), tf.int64) + 1) + tf.cast(items, tf.int64)
    order = tf.argsort(key, axis=1, stable=True)
    ordered = tf.gather(key, order, batch_dims=1)
    new = tf.concat([tf.ones_like(ordered[:, :1], tf.bool), ordered[:, 1:] != ordered[:, :-1]], axis=1)
    return tf.gather(new, tf.argsort(order, axis=1), batch_dims=1) & (items > 1) & (segment > 0)
