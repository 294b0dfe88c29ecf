"""A history folded into a factorization: the vector of its person by least squares, the items held."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.events.id_texts import texts
from tfrecsession.layers import newest_items, ridge
from tfrecsession.layers.items.gather import gather_rows

CELLS = 1 << 22  # numbers gathered at once, 16 MB: memory does not grow with the batch


class FoldInByLeastSquares:
    """The half of `ALS` that answers; histories in plain TensorFlow ops, as it is exported.

    Padding and unknown items change nothing, nor does the order. An item that occurs twice counts as in training: once,
    or, with `alpha` and a sum of weights, twice as much.
    """

    def encode(self, batch, training=False):
        """The vector of the session so far, after each step: float32 [rows, steps, width]."""
        history = newest_items(batch, self.window)
        shape = tf.shape(history)
        found = self._in_blocks(tf.reshape(history, [-1, shape[2]]))
        return tf.reshape(found, [shape[0], shape[1], self.width])

    def encode_last(self, batch, length):
        items = batch["items"]
        if self.window is not None:
            step = tf.range(tf.shape(items)[1])[None]
            items = tf.where(step >= length[:, None] - self.window, items, 0)
        return self._in_blocks(items)

    def _in_blocks(self, ids):
        """int32 [n, events] -> float32 [n, width], a block at a time."""
        n, events = tf.shape(ids)[0], tf.shape(ids)[1]
        cells = tf.maximum(events * self.width, tf.minimum(events, self.factors) ** 2)
        block = tf.minimum(tf.maximum(CELLS // tf.maximum(cells, 1), 1), tf.maximum(n, 1))
        blocks = tf.maximum((n + block - 1) // block, 1)
        ids = tf.reshape(tf.pad(ids, [[0, blocks * block - n], [0, 0]]), [blocks, block, events])
        signature = tf.TensorSpec((None, self.width), tf.float32)
        found = tf.map_fn(self.vectors, ids, fn_output_signature=signature, parallel_iterations=1)
        return tf.reshape(found, [-1, self.width])[:n]

    def vectors(self, ids):
        """Histories in any order -> the vectors of least squares: int32 [n, events] -> float32 [n, width]."""
        ids, confidence, target, bias = self._weighed(ids)
        features = gather_rows(self.item_table.value, ids)[..., : self.factors]
        if self.fold_in == "mean":
            there = tf.cast(ids > 1, tf.float32)
            x = tf.math.divide_no_nan(
                tf.reduce_sum(features * there[..., None], axis=1), tf.reduce_sum(there, axis=1, keepdims=True)
            )
        else:
            x = ridge(features, confidence, target, self._background(ids))
        return tf.concat([x, tf.ones_like(bias), bias], axis=1) if self.explicit else x

    def _weighed(self, ids):
        """Sorted ids, and confidence and target of each, 0 where there is none; the person's bias, [n, 1]."""
        ids = tf.sort(tf.where(ids > 1, ids, 0), axis=1)
        first = tf.cast((ids > 1) & (ids != tf.pad(ids, [[0, 0], [1, 0]])[:, :-1]), tf.float32)
        bias = tf.zeros([tf.shape(ids)[0], 1])
        mean, value, _ = tf.unstack(self.known.value)
        if self.explicit:
            target = first * (value - mean - gather_rows(self.item_table.value, ids)[..., self.factors])
            number = tf.reduce_sum(first, axis=1, keepdims=True)
            bias = tf.math.divide_no_nan(tf.reduce_sum(target, axis=1, keepdims=True), number + self.damping)
            return ids, first, target - first * bias, bias
        if self.alpha is None:
            return ids, first, first, bias
        counted = tf.cast(ids > 1, tf.float32) if self.duplicates in (None, "sum") else first
        confidence = self.alpha * value * counted
        return ids, confidence, confidence + self.unobserved_weight * first, bias

    def _background(self, ids):
        """float32 [n, factors]: what is added to the diagonal, the Gramian of all items and the regularization."""
        first = (ids > 1) & (ids != tf.pad(ids, [[0, 0], [1, 0]])[:, :-1])
        number = tf.reduce_sum(tf.cast(first, tf.float32), axis=1, keepdims=True)
        if self.explicit:
            return self.regularization * tf.maximum(number, 1) ** self.exponent * tf.ones_like(self.spectrum.value)
        penalty = self.regularization * (number + self.unobserved_weight * (self.size - 2)) ** self.exponent
        return self.unobserved_weight * self.spectrum.value + penalty

    def explain(self, history, item) -> list[tuple[str, float]]:
        """What each item of a history adds to the score of `item` (Hu, Koren, Volinsky 2008, section 5).

        The folded-in vector is linear in the targets: x = A^-1 sum over the history of target(j) y_j, with A the matrix
        of its least squares. So score(item) = sum over j of target(j) y_item' A^-1 y_j, plus the biases of ratings.

        Args:
            history: item ids as they stand in the log; unknown ones are passed over.
            item: the recommended one.

        Returns:
            (item of the history, its part), the largest first.

        Raises:
            InputError: `item` is unknown, `history` is a bare string, or fold_in="mean", which solves nothing.
        """
        history = texts(history, "history")
        if self.fold_in != "solve":
            raise InputError(f"fold_in={self.fold_in!r}: explain needs the least squares of fold_in='solve'")
        (wanted,) = self.items.encode([item])
        if wanted < 2:
            raise InputError(f"item {item!r} is not in the catalogue")
        ids = self.items.encode(history)
        ids = ids[ids > 1]
        if self.window is not None:
            ids = ids[-self.window :]
        if not len(ids):
            return []
        ids, *weighed = self._weighed(ids[None])
        found = (part.numpy()[0].astype(np.float64) for part in (*weighed, self._background(ids)))
        confidence, target, _, background = found
        ids = ids.numpy()[0]
        table = self.item_vectors().numpy().astype(np.float64)
        features = table[ids]
        matrix = np.diag(background) + (features.T * confidence) @ features
        parts = target * (features @ np.linalg.solve(matrix, table[wanted]))
        items, place = np.unique(ids, return_inverse=True)
        parts = np.bincount(place, parts)
        best = np.argsort(-parts, kind="stable")
        return list(zip(self.items.decode(items[best]).tolist(), parts[best].tolist(), strict=True))

    def predict_ratings(self, users, items) -> np.ndarray:
        """float32 [n]: the rating (or, of implicit feedback, the score) of each pair of a person and an item.

        Of an unknown person or item what is known of the other is used, of neither the mean rating. Clipped to `scale`.
        """
        rows, ids = self._rows(users), self.items.encode(items)
        nobody = np.zeros(self.width, np.float32)
        nothing = nobody.copy()
        if self.explicit:
            nobody[-2] = nothing[-1] = 1
        x = np.vstack([self.user_vectors.numpy(), nobody])[rows]  # row -1: nobody
        y = np.where((ids > 1)[:, None], self.item_table.numpy()[ids], nothing)
        predicted = np.einsum("nd,nd->n", x, y) + self.known.numpy()[0]
        return predicted if self.scale is None else np.clip(predicted, *self.scale)
