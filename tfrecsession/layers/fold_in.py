"""Vectors of new users from their history alone: a ridge regression after every event."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.layers.items.gather import gather_rows

STEPS = 64  # events of a history that are solved together
SCALE_USERS = 4096  # training users sampled to scale folded-in vectors


@keras.saving.register_keras_serializable(package="tfrecsession")
class FoldIn(keras.layers.Layer):
    """`fold_in` with weights that `settle` computes from trained tables.

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
        """Folds in packed rows with the item table: float32 [rows, steps, dim], `fold_in` times `scale`."""
        return self.scale * fold_in(batch, table, tf.convert_to_tensor(self.whitening.value))

    def settle(self, vectors, weight: float, ridge: float, histories=None, learned=None) -> None:
        """Computes M = weight sum_i v_i v_i' + ridge I from a trained table.

        Args:
            vectors: float [size, dim], the item table; rows 0 and 1 are no items.
            weight: pull of every item, in the history or not, towards score 0.
            ridge: penalty on the length of the vector.
            histories: SciPy CSR [users, size] of 0 and 1, and `learned` float [users, dim], the users' trained vectors:
                `scale` gives folded-in vectors the length of these, in the root mean square over SCALE_USERS of them.
                (The least-squares scale is smaller, the more so the less the history predicts the vector, and leaves
                too much to the biases.) None: 1.
        """
        vectors = np.asarray(vectors, np.float64)
        gram = vectors[2:].T @ vectors[2:]
        least = 1e-6 * max(np.trace(gram) / self.dim, 1e-6)  # keeps the prior positive definite
        prior = weight * gram + max(ridge, least) * np.eye(self.dim)
        self.whitening.assign(np.linalg.inv(np.linalg.cholesky(prior)).T)
        scale = 1.0
        if histories is not None:
            users = np.unique(np.linspace(0, histories.shape[0] - 1, SCALE_USERS).astype(int))
            rows = [vectors[histories.indices[histories.indptr[user] : histories.indptr[user + 1]]] for user in users]
            folded = np.stack([np.linalg.solve(row.T @ row + prior, row.sum(axis=0)) for row in rows])  # (users, dim)
            scale = ((np.asarray(learned)[users] ** 2).sum() / max((folded**2).sum(), 1e-12)) ** 0.5
        self.scale.assign(scale if scale > 0 else 1.0)

    def get_config(self):
        return super().get_config() | {"dim": self.dim}


def fold_in(batch: dict, table, whitening):
    """Computes the vector of a user or session after every event of packed rows.

        x_t = argmin_x  sum over the distinct known items i up to t of (1 - x . v_i)^2 + x' M x
            = (sum v_i v_i' + M)^-1 sum v_i,       M = (A A')^-1, A being `whitening`

    With w_i = A' v_i the same is x_t = A W_t' (W_t W_t' + I)^-1 1, W_t the rows w_i up to t. The Cholesky factor L of
    W W' + I of a whole history contains those of all its prefixes, so one factorization answers all events: with
    Y = L^-1 W and z = L^-1 1, x_t = A sum_{s <= t} z_s Y_s. Longer histories are solved STEPS at a time, with the
    result so far as the prior of the next piece: events * dim * (dim + STEPS) operations in all, plus STEPS^2 an event.

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
    counts = tf.cast(first_of_its_session(items, position, segment), tf.float32)  # (rows, steps)

    def in_pieces(array):  # (rows, steps) -> (pieces, rows, piece)
        array = tf.pad(array, [[0, 0], [0, pieces * piece - steps]])  # (rows, pieces * piece)
        return tf.transpose(tf.reshape(array, (rows, pieces, piece)), (1, 0, 2))

    index = tf.range(piece)
    past = index[:, None] >= index[None, :]  # (piece, piece)
    identity = tf.eye(dim)[None]  # (1, dim, dim)

    def solve(carried, elements):
        _, mean, covariance = carried  # of the session so far: (rows, dim), (rows, dim, dim)
        item, counts, position, segment = elements  # (rows, piece) each
        w = tf.matmul(gather_rows(table, item) * counts[..., None], whitening)  # (rows, piece, dim)
        continued = (position > index)[..., None]  # (rows, piece, 1): of the session that began before this piece
        same = segment[:, :, None] == segment[:, None, :]  # (rows, piece, piece)
        weighed = tf.where(continued, tf.matmul(w, covariance), w)  # (rows, piece, dim)
        kernel = tf.where(same, tf.matmul(weighed, w, transpose_b=True), 0.0) + tf.eye(piece)  # (rows, piece, piece)
        factor = tf.linalg.cholesky(kernel)
        prior_mean = tf.where(continued, mean[:, None, :], 0.0)  # (rows, piece, dim)
        residual = counts[..., None] - tf.reduce_sum(w * prior_mean, axis=2, keepdims=True)  # (rows, piece, 1)
        solved = tf.linalg.triangular_solve(factor, tf.concat([residual, weighed], axis=2))  # (rows, piece, 1 + dim)
        updates = solved[..., :1] * solved[..., 1:]  # (rows, piece, dim)
        means = prior_mean + tf.matmul(tf.cast(same & past, tf.float32), updates)  # (rows, piece, dim)
        in_last = tf.cast(same[:, -1], tf.float32)[..., None]  # (rows, piece, 1): of the session that may continue
        last = solved[..., 1:] * in_last  # (rows, piece, dim)
        start = tf.where(continued[:, -1:], covariance, identity)  # (rows, dim, dim)
        covariance = start - tf.matmul(last, last, transpose_a=True)  # (rows, dim, dim)
        return means, means[:, -1], covariance

    initial = tf.zeros((rows, piece, dim)), tf.zeros((rows, dim)), tf.tile(identity, (rows, 1, 1))
    elements = tuple(in_pieces(array) for array in (items, counts, position, segment))  # (pieces, rows, piece) each
    means = tf.scan(solve, elements, initial, parallel_iterations=1)[0]  # (pieces, rows, piece, dim)
    means = tf.reshape(tf.transpose(means, (1, 0, 2, 3)), (rows, pieces * piece, dim))[:, :steps]  # (rows, steps, dim)
    return tf.matmul(means, whitening, transpose_b=True)  # (rows, steps, dim)


def first_of_its_session(items, position, segment):
    """Marks known items that are new in their session: bool [rows, steps]. It sorts, so no cost grows as steps^2."""
    steps = tf.shape(items)[1]
    begin = tf.range(steps)[None] - position  # (rows, steps): its session's first step, which identifies the session
    key = tf.cast(begin, tf.int64) * (tf.cast(tf.reduce_max(items), tf.int64) + 1) + tf.cast(items, tf.int64)
    order = tf.argsort(key, axis=1, stable=True)  # (rows, steps)
    ordered = tf.gather(key, order, batch_dims=1)  # (rows, steps)
    new = tf.concat([tf.ones_like(ordered[:, :1], tf.bool), ordered[:, 1:] != ordered[:, :-1]], axis=1)  # (rows, steps)
    return tf.gather(new, tf.argsort(order, axis=1), batch_dims=1) & (items > 1) & (segment > 0)
