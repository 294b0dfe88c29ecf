"""Fold-in of histories by least squares, with the item vectors fixed."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.events.id_texts import texts
from tfrecsession.layers import history_length, newest_items, newest_items_at, ridge
from tfrecsession.layers.items.gather import gather_rows

ID = str | bytes | int | float | np.number  # of one item, not of several
CELLS = 1 << 22  # numbers gathered at once, 16 MB: memory does not grow with the batch


class FoldInByLeastSquares:
    """The answering half of `ALS`. Histories are encoded in plain TensorFlow ops, which an export can hold.

    Padding, unknown items and the order change nothing. A repeated item counts as in training: once, or, with `alpha`
    and a sum of weights, as often as it occurs.
    """

    def encode(self, batch, training=False):
        """Returns the vector of the session so far, after each step: float32 [rows, steps, width]."""
        history = newest_items(batch, self.window)  # [rows, steps, events]
        rows, steps, events = tf.unstack(tf.shape(history))
        vectors = self._in_blocks(tf.reshape(history, [rows * steps, events]))  # [rows * steps, width]
        return tf.reshape(vectors, [rows, steps, self.width])

    def encoder(self, batch):
        newest = newest_items_at(batch, self.window)
        return lambda cells: self._in_blocks(newest(cells))

    def cells_of_an_event(self, batch):
        return 8 * history_length(batch, self.window)

    def encode_last(self, batch, length):
        items = batch["items"]
        if self.window is not None:
            step = tf.range(tf.shape(items)[1])[None]  # [1, events]
            items = tf.where(step >= length[:, None] - self.window, items, 0)
        return self._in_blocks(items)  # [rows, events] -> [rows, width]

    def _in_blocks(self, ids):
        """Computes `vectors` a block of rows at a time: int32 [n, events] -> float32 [n, width]."""
        n, events = tf.shape(ids)[0], tf.shape(ids)[1]
        cells = tf.maximum(events * self.width, tf.minimum(events, self.factors) ** 2)
        block = tf.minimum(tf.maximum(CELLS // tf.maximum(cells, 1), 1), tf.maximum(n, 1))
        blocks = tf.maximum((n + block - 1) // block, 1)
        ids = tf.reshape(tf.pad(ids, [[0, blocks * block - n], [0, 0]]), [blocks, block, events])
        signature = tf.TensorSpec((None, self.width), tf.float32)
        vectors = tf.map_fn(self.vectors, ids, fn_output_signature=signature, parallel_iterations=1)
        return tf.reshape(vectors, [-1, self.width])[:n]  # [blocks, block, width] -> [n, width]

    def vectors(self, ids):
        """Returns the least-squares vectors of histories in any order: int32 [n, events] -> float32 [n, width]."""
        ids, confidence, target, bias = self._targets(ids)
        features = gather_rows(self.item_table.value, ids)[..., : self.factors]  # [n, events, factors]
        if self.fold_in == "mean":
            known = tf.cast(ids > 1, tf.float32)
            total = tf.reduce_sum(features * known[..., None], axis=1)  # [n, factors]
            x = tf.math.divide_no_nan(total, tf.reduce_sum(known, axis=1, keepdims=True))
        else:
            x = ridge(features, confidence, target, self._background(ids))  # [n, factors]
        return tf.concat([x, tf.ones_like(bias), bias], axis=1) if self.explicit else x  # [n, width]

    def _targets(self, ids):
        """Returns sorted ids, confidence and target of each, 0 for none, all [n, events]; the user biases [n, 1]."""
        ids = tf.sort(tf.where(ids > 1, ids, 0), axis=1)
        first = tf.cast(_is_first(ids), tf.float32)
        bias = tf.zeros([tf.shape(ids)[0], 1])
        if self.explicit:
            item_bias = gather_rows(self.item_table.value, ids)[..., self.factors]  # [n, events]
            target = first * (self.default_value.value - self.mean.value - item_bias)
            count = tf.reduce_sum(first, axis=1, keepdims=True)  # [n, 1]
            bias = tf.math.divide_no_nan(tf.reduce_sum(target, axis=1, keepdims=True), count + self.damping)
            return ids, first, target - first * bias, bias
        if self.alpha is None:
            return ids, first, first, bias
        counted = tf.cast(ids > 1, tf.float32) if self.duplicates in (None, "sum") else first
        confidence = self.alpha * self.default_value.value * counted
        return ids, confidence, confidence + self.unobserved_weight * first, bias

    def _background(self, ids):
        """Returns the Gramian of all items plus the regularization, both diagonal: float32 [n, factors]."""
        count = tf.reduce_sum(tf.cast(_is_first(ids), tf.float32), axis=1, keepdims=True)  # [n, 1]
        if self.explicit:
            return self.regularization * tf.maximum(count, 1) ** self.exponent * tf.ones_like(self.spectrum.value)
        penalty = self.regularization * (count + self.unobserved_weight * (self.size - 2)) ** self.exponent
        return self.unobserved_weight * self.spectrum.value + penalty

    def parts_of_events(self, newest, items):
        """Returns the parts of `explain`; the events of an item share its part alike."""
        if self.fold_in != "solve":
            return None
        used = newest[:, : self.window]
        ids, confidence, target, _ = self._targets(used)  # [n, events] each, sorted by item
        features = gather_rows(self.item_table.value, ids)[..., : self.factors]  # [n, events, factors]
        explained = gather_rows(self.item_table.value, items)[..., : self.factors]  # [n, m, factors]
        matrix = tf.matmul(features * confidence[..., None], features, transpose_a=True)  # [n, factors, factors]
        matrix += tf.linalg.diag(self._background(ids))
        solved = tf.linalg.solve(matrix, tf.linalg.matrix_transpose(explained))  # [n, factors, m]
        parts = tf.matmul(solved, features, transpose_a=True, transpose_b=True) * target[:, None]  # [n, m, events]
        is_same = tf.cast((used[:, :, None] == ids[:, None]) & (used > 1)[..., None], tf.float32)  # [n, events, events]
        is_same = tf.math.divide_no_nan(is_same, tf.reduce_sum(is_same, axis=1, keepdims=True))
        parts = tf.matmul(parts, is_same, transpose_b=True)  # [n, m, events]
        return tf.pad(parts, [[0, 0], [0, 0], [0, tf.shape(newest)[1] - tf.shape(used)[1]]])

    def explain(self, history=None, item=None, k=5, *, histories=None, items=None, **more):
        """Splits the score of `item` into the parts of the history's items (Hu, Koren, Volinsky 2008, section 5).

        The folded-in vector is linear in the targets: x = A^-1 sum over the history of target(j) y_j, with A the matrix
        of its least squares. So score(item) = sum over j of target(j) y_item' A^-1 y_j, plus the biases of ratings.

        Args:
            history: item ids as they stand in the log; unknown ones are passed over. Or several histories.
            item: the recommended one. A list for each of several histories; None: their k best.
            k, histories, items, more: as in `Recommender.explain`, whose result several histories have.

        Returns:
            (item of the history, its part), the largest first; of several histories, the `Explanations`.

        Raises:
            InputError: `item` is unknown, `history` is a bare string, or fold_in="mean", which solves nothing.
        """
        if histories is not None or items is not None or item is None or not isinstance(item, ID):
            history, item = history if histories is None else histories, item if items is None else items
            return super().explain(history, item, k, **more)
        history = texts(history, "history")
        if self.fold_in != "solve":
            raise InputError(f"fold_in={self.fold_in!r}: must be 'solve' for explain, which needs its least squares")
        (recommended,) = self.items.encode([item])
        if recommended < 2:
            raise InputError(f"item={item!r}: must be in the catalogue")
        ids = self.items.encode(history)
        ids = ids[ids > 1]
        if self.window is not None:
            ids = ids[-self.window :]
        if not len(ids):
            return []
        ids, confidence, target, _ = self._targets(ids[None])  # [1, events] each
        rows = (tensor.numpy()[0].astype(np.float64) for tensor in (confidence, target, self._background(ids)))
        confidence, target, background = rows  # [events], [events], [factors]
        ids = ids.numpy()[0]
        table = self.item_vectors().numpy().astype(np.float64)
        features = table[ids]  # [events, factors]
        matrix = np.diag(background) + (features.T * confidence) @ features  # [factors, factors]
        parts = target * (features @ np.linalg.solve(matrix, table[recommended]))  # [events]
        items, index = np.unique(ids, return_inverse=True)
        parts = np.bincount(index, parts)  # [items]
        best = np.argsort(-parts, kind="stable")
        return list(zip(self.items.decode(items[best]).tolist(), parts[best].tolist(), strict=True))

    def predict_ratings(self, users, items) -> np.ndarray:
        """Predicts the rating (for implicit feedback, the score) of each pair of a user and an item: float32 [n].

        If one of the two is unknown, the prediction uses the other alone; if both are, it is the mean rating. It is
        clipped to `scale`.
        """
        rows, ids = self._rows(users), self.items.encode(items)
        unknown_user, unknown_item = np.zeros((2, self.width), np.float32)
        if self.explicit:
            unknown_user[-2] = unknown_item[-1] = 1
        x = np.vstack([self.user_vectors.numpy(), unknown_user])[rows]  # [n, width]; row -1: unknown
        y = np.where((ids > 1)[:, None], self.item_table.numpy()[ids], unknown_item)  # [n, width]
        predicted = np.einsum("nd,nd->n", x, y) + self.mean.numpy()
        return predicted if self.scale is None else np.clip(predicted, *self.scale)


def _is_first(ids):
    """Marks the first occurrence of each known item in sorted histories: int32 [n, events] -> bool [n, events]."""
    return (ids > 1) & (ids != tf.pad(ids, [[0, 0], [1, 0]])[:, :-1])
