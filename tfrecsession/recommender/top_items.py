"""Turns encoded histories into top-k items: score, filter, select."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.layers.items.gather import serving_index
from tfrecsession.layers.items.item_scores import ItemScores
from tfrecsession.metrics import top_k

CANDIDATE_COST = 8  # scoring one listed item costs about as much as 8 items of a full pass


class TopItems:
    """The last step of every recommendation: score, filter, select.

    Mixed into `Recommender`, which has `size`, `score_all` and `score_without_history`.
    """

    output_items: ItemScores | None = None  # scores the items, where a model has such a layer
    trend_head = None  # the layer that adds what each item's recent events say, `TrendHead`
    repeat_head = None  # the layer that mixes the scores with the items of the session, `RepeatHead`

    @property
    def scores_by_products(self) -> bool:
        """Whether scores are dot products of queries and `score_vectors`."""
        return self.searched_by_products and self.repeat_head is None

    @property
    def searched_by_products(self) -> bool:
        """Whether an index may search the best items by dot products of queries and `score_vectors`.

        They are the scores, or what a `RepeatHead` mixes with the items of the session.
        """
        return self.output_items is not None and self.output_items.by_products

    def check_k(self, k: int) -> None:
        """Checks that k is a number of items that the catalogue has."""
        if not isinstance(k, int | np.integer) or not 1 <= k <= self.size - 2:
            raise InputError(f"k={k!r}: must be a whole number from 1 to the size of the catalogue, {self.size - 2:,}")

    def score_vectors(self, ids):
        """Returns the vectors whose dot products with `queries` are the scores: int32 [n] -> float32 [n, width].

        With a `RepeatHead` the products are the scores before the mixture. One column more than `encode` has is added
        to the score, as biases are.

        Raises:
            InputError: the scores are not dot products.
        """
        if self.output_items is None:
            raise InputError(
                f"{type(self).__name__} does not score by a dot product, so it has no vectors for a history"
            )
        return self.output_items.vectors(ids)

    def fixed_vectors(self, ids):
        """Returns `score_vectors` without `item_shift`: what a served model keeps until its next export."""
        return self.score_vectors(ids)

    def item_shift(self):
        """Returns what `score_vectors` has besides `fixed_vectors`, added to the scores: float32 [size]; None: nothing.

        A served model reads it from a file that may be replaced.
        """
        return None

    def queries(self, encoded):
        """Returns the vectors whose products with `score_vectors` are the scores: [n, dim] -> float32 [n, width]."""
        if self.repeat_head is not None:
            encoded = self.repeat_head.split(encoded)[0]
        encoded = tf.cast(encoded if self.output_items is None else self.output_items.query(encoded), tf.float32)
        if self.score_vectors([0]).shape[1] > encoded.shape[1]:
            encoded = tf.pad(encoded, [[0, 0], [0, 1]], constant_values=1)  # (n, dim + 1)
        return encoded

    def score_items(self, encoded, ids):
        """Returns the scores of some items after each history: encodings [n, ...], int32 [n, m] -> float32 [n, m]."""
        if not self.scores_by_products:
            return tf.gather(tf.cast(self.score_all(encoded), tf.float32), ids, batch_dims=1)
        return self.products_with(self.queries(encoded), ids)

    def products_with(self, queries, ids):
        """Returns the products of `queries` with some items: float32 [n, width], int32 [n, m] -> float32 [n, m]."""
        vectors = self.score_vectors(tf.reshape(ids, [-1]))  # (n m, width)
        vectors = tf.reshape(vectors, [*tf.unstack(tf.shape(ids)), vectors.shape[1]])  # (n, m, width)
        return tf.einsum("nd,nmd->nm", queries, vectors)

    def find(self, encoded, known, k: int, out=None, allowed=None, only=None):
        """Returns ids and scores of the k best items for encoded histories.

        Args:
            encoded: [n, dim].
            known: bool [n], whether the row has a known item; the others get popular items.
            k: how many.
            out: int32 [pairs, 2], (row, item) to leave out; None: nothing.
            allowed: bool [size] or [n, size], the items that may be recommended; None: all.
            only: int32 [n, any], items to choose from; 0 is padding, a row of padding stands for all items. The cost
                follows the number of these items where scores are products.

        Returns:
            int32 [n, k], 0 where nothing is left, and float32 [n, k].
        """
        index = serving_index()
        best = self.scan if index is None else index.best
        if only is None:
            return best(encoded, known, k, out, allowed)

        def among_all():
            return best(encoded, known, k, out, self._listed(only) if allowed is None else self.among(only, allowed))

        if allowed is not None or not self.scores_by_products:
            return among_all()
        few = CANDIDATE_COST * tf.math.count_nonzero(only > 1, dtype=tf.int32) <= self.size
        in_every_row = tf.reduce_all(tf.reduce_any(only > 0, axis=1))
        return tf.cond(few & in_every_row, lambda: self.best_candidates(encoded, known, k, out, only), among_all)

    def among(self, only, allowed):
        """Returns which allowed items are in `only`, see `find`: int32 [n, any], bool [n, size] -> bool [n, size]."""
        return tf.cond(tf.reduce_any(only > 0), lambda: self._listed(only) & allowed, lambda: allowed)

    def _listed(self, only):
        is_listed = tf.zeros((tf.shape(only)[0], self.size), tf.bool)
        is_listed = tf.tensor_scatter_nd_update(is_listed, pairs(only), tf.ones_like(tf.reshape(only, [-1]), tf.bool))
        return is_listed | tf.reduce_all(only == 0, axis=1, keepdims=True)

    def scan(self, encoded, known, k: int, out=None, allowed=None):
        """Does the work of `find` by scoring all items."""
        return self.best_of(self.or_popular(self.score_all(encoded), known), k, out, allowed)

    def or_popular(self, scores, known):
        """Replaces the scores of rows without a known item by popularity: [n, size], bool [n] -> float32 [n, size]."""
        scores = tf.cast(scores, tf.float32)
        return tf.cond(  # tf.where passes over all scores, which few requests need
            tf.reduce_all(known),
            lambda: scores,
            lambda: tf.where(known[:, None], scores, self.score_without_history()[None]),
        )

    def best_of(self, scores, k: int, out=None, allowed=None):
        """Returns ids and scores of the k best, see `find`: float32 [n, size] -> int32 and float32 [n, k]."""
        least = scores.dtype.min
        if allowed is not None:
            scores = tf.where(allowed, scores, least)
        if out is not None:
            scores = tf.tensor_scatter_nd_update(scores, out, tf.fill([tf.shape(out)[0]], least))
        # Two more, as padding and unknown never count: to write into the scores takes longer.
        values, ids = top_k(tf.ensure_shape(scores, [None, self.size]), min(k + 2, self.size))
        return self.best_among(ids, values, k)

    def best_candidates(self, encoded, known, k, out, only):
        """Does the work of `find` by scoring the items of `only` alone, where scores are products."""
        only = distinct(only)  # (n, m)
        cells = tf.where(only > 1)  # (candidates, 2)
        ids, row = tf.gather_nd(only, cells), cells[:, 0]  # (candidates,) each
        products = tf.reduce_sum(self.score_vectors(ids) * tf.gather(self.queries(encoded), row), axis=1)
        scores = tf.tensor_scatter_nd_update(tf.fill(tf.shape(only), tf.float32.min), cells, products)  # (n, m)
        return self.best_among(only, self._candidates_or_popular(only, scores, known), k, out)

    def _candidates_or_popular(self, ids, scores, known):
        return tf.cond(
            tf.reduce_all(known),
            lambda: scores,
            lambda: tf.where(known[:, None], scores, tf.gather(self.score_without_history(), ids)),
        )

    def best_among(self, ids, scores, k: int, out=None):
        """Returns ids and scores of the k best of the given items.

        Args:
            ids, scores: int32 and float32 [n, m], items and their scores, no item twice in a row; ids below 2 are
                ignored.
            k, out: as in `find`.
        """
        least = scores.dtype.min
        is_left = ids > 1
        if out is not None:
            is_left &= ~self._is_in(ids, out)
        scores = tf.pad(tf.where(is_left, scores, least), [[0, 0], [0, k]], constant_values=least)  # (n, m + k)
        values, index = tf.math.top_k(scores, k)  # (n, k) each
        best = tf.gather(tf.pad(ids, [[0, 0], [0, k]]), index, batch_dims=1)  # (n, k)
        return tf.where(values > least, best, 0), values

    def _is_in(self, ids, out):
        """Returns bool [n, m]: which cells are among the pairs of `out`."""
        row = tf.range(tf.shape(ids)[0], dtype=tf.int64)[:, None]
        out = tf.cast(out, tf.int64)
        keys = out[:, 0] * self.size + out[:, 1]  # (pairs,)
        keys = tf.sort(tf.pad(keys, [[0, 1]], constant_values=tf.int64.max))  # (pairs + 1,)
        searched = tf.reshape(row * self.size + tf.cast(ids, tf.int64), [-1])  # (n m,)
        return tf.reshape(tf.gather(keys, tf.searchsorted(keys, searched)) == searched, tf.shape(ids))


def left_out(seen, exclude_seen: bool, exclude=None):
    """Returns the pairs to leave out, int32 [pairs, 2]: `exclude`, and `seen` with `exclude_seen`; None: nothing."""
    lists = ([seen] if exclude_seen else []) + ([] if exclude is None else [exclude])
    return pairs(tf.concat(lists, axis=1)) if lists else None


def distinct(ids):
    """Returns ids in rising order, 0 in place of those that a row has had before: int32 [n, m] -> int32 [n, m]."""
    ids = tf.sort(ids, axis=1)
    is_again = tf.pad(ids[:, 1:] == ids[:, :-1], [[0, 0], [1, 0]])[:, : tf.shape(ids)[1]]
    return tf.where(is_again, 0, ids)


def pairs(ids):
    """Returns the (row, id) of every cell: int32 [n, m] -> int32 [n m, 2]."""
    rows = tf.broadcast_to(tf.range(tf.shape(ids)[0])[:, None], tf.shape(ids))
    return tf.reshape(tf.stack([rows, ids], axis=-1), [-1, 2])


def pairs_of(out, chosen):
    """Returns the pairs of some rows, numbered anew: int32 [pairs, 2], bool [n] -> int32 [at most pairs, 2]."""
    number = tf.cumsum(tf.cast(chosen, tf.int32), exclusive=True)
    out = tf.boolean_mask(out, tf.gather(chosen, out[:, 0]))
    return tf.stack([tf.gather(number, out[:, 0]), out[:, 1]], axis=1)
