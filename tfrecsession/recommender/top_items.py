"""Turns encoded histories into top-k items: score, filter, select."""

from __future__ import annotations

import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.layers.items.gather import serving_index
from tfrecsession.layers.items.item_scores import ItemScores
from tfrecsession.metrics import top_k

CANDIDATE_COST = 8  # scoring one listed item costs about as much as 8 items of a full pass


class TopItems:
    """The last step of every recommendation: score, filter, select. Mixed into `Recommender`."""

    output_items: ItemScores | None = None  # scores the items, where a model has such a layer

    @property
    def scores_by_products(self) -> bool:
        """Whether scores are dot products of queries and `score_vectors`, so that an index may search them."""
        return self.output_items is not None and self.output_items.by_products

    def score_vectors(self, ids):
        """int32 [n] -> float32 [n, width], whose dot products with `queries` are the scores.

        A column more than `encode` has is added to the score, as biases are.

        Raises:
            InputError: scores are no dot products.
        """
        if self.output_items is None:
            raise InputError(
                f"{type(self).__name__} does not score by a dot product, so it has no vectors for a history"
            )
        return self.output_items.vectors(ids)

    def queries(self, encoded):
        """[n, dim] -> float32 [n, width], whose products with `score_vectors` are the scores."""
        encoded = tf.cast(encoded, tf.float32)
        if self.score_vectors([0]).shape[1] > encoded.shape[1]:
            encoded = tf.pad(encoded, [[0, 0], [0, 1]], constant_values=1)
        return encoded

    def find(self, encoded, known, k: int, out=None, allowed=None, only=None):
        """What was encoded -> ids and scores of the k best items.

        Args:
            encoded: [n, dim].
            known: bool [n], whether anything is known of the row; popular items answer the others.
            k: how many.
            out: int32 [pairs, 2], (row, item) to leave out; None: nothing.
            allowed: bool [size] or [n, size], the items that may be found; None: all.
            only: int32 [n, any], items to choose from, of a model that scores by products at a cost that follows
                them; 0 is padding, a row of nothing else stands for all items.

        Returns:
            int32 [n, k], 0 where nothing is left, and float32 [n, k].
        """
        index = serving_index()
        best = self.scan if index is None else index.best
        if only is None:
            return best(encoded, known, k, out, allowed)

        def among_all():
            named = tf.zeros((tf.shape(only)[0], self.size), tf.bool)
            named = tf.tensor_scatter_nd_update(named, pairs(only), tf.ones_like(tf.reshape(only, [-1]), tf.bool))
            named |= tf.reduce_all(only == 0, axis=1, keepdims=True)
            return best(encoded, known, k, out, named if allowed is None else named & allowed)

        if allowed is not None or not self.scores_by_products:
            return among_all()
        few = CANDIDATE_COST * tf.math.count_nonzero(only > 1, dtype=tf.int32) <= self.size
        every = tf.reduce_all(tf.reduce_any(only > 0, axis=1))
        return tf.cond(few & every, lambda: self._among(encoded, known, k, out, only), among_all)

    def scan(self, encoded, known, k: int, out=None, allowed=None):
        """`find` by the scores of all items."""
        return self.best_of(self.or_popular(self.score_all(encoded), known), k, out, allowed)

    def or_popular(self, scores, known):
        """[n, size] and bool [n] -> the scores as float32, those of popularity where nothing is known of the row."""
        scores = tf.cast(scores, tf.float32)
        return tf.cond(  # a pass over all scores, which hardly any request needs
            tf.reduce_all(known),
            lambda: scores,
            lambda: tf.where(known[:, None], scores, self.score_without_history()[None]),
        )

    def best_of(self, scores, k: int, out=None, allowed=None):
        """float32 [n, size] -> ids and scores of the k best, see `find`."""
        least = scores.dtype.min
        never = pairs(tf.broadcast_to(tf.range(2), [tf.shape(scores)[0], 2]))  # padding and unknown are no items
        out = never if out is None else tf.concat([never, out], axis=0)
        if allowed is not None:
            scores = tf.where(allowed, scores, least)
        scores = tf.tensor_scatter_nd_update(scores, out, tf.fill([tf.shape(out)[0]], least))  # in place
        values, ids = top_k(tf.ensure_shape(scores, [None, self.size]), k)
        return tf.where(values > least, ids, 0), values

    def _among(self, encoded, known, k, out, only):
        """`find` by the scores of the chosen items alone."""
        only = tf.sort(only, axis=1)
        again = tf.pad(only[:, 1:] == only[:, :-1], [[0, 0], [1, 0]])[:, : tf.shape(only)[1]]
        only = tf.where(again, 0, only)
        cells = tf.where(only > 1)
        ids, row = tf.gather_nd(only, cells), cells[:, 0]
        products = tf.reduce_sum(self.score_vectors(ids) * tf.gather(self.queries(encoded), row), axis=1)
        scores = tf.tensor_scatter_nd_update(tf.fill(tf.shape(only), tf.float32.min), cells, products)
        return self.best_among(only, self._or_popular_of(only, scores, known), k, out)

    def _or_popular_of(self, ids, scores, known):
        return tf.cond(
            tf.reduce_all(known),
            lambda: scores,
            lambda: tf.where(known[:, None], scores, tf.gather(self.score_without_history(), ids)),
        )

    def best_among(self, ids, scores, k: int, out=None):
        """int32 and float32 [n, m], items and their scores, none twice in a row -> ids and scores of the k best; ids
        below 2 are none, `out` as in `find`."""
        least = scores.dtype.min
        left = ids > 1
        if out is not None:
            left &= ~self._is_in(ids, out)
        scores = tf.pad(tf.where(left, scores, least), [[0, 0], [0, k]], constant_values=least)
        values, place = tf.math.top_k(scores, k)
        found = tf.gather(tf.pad(ids, [[0, 0], [0, k]]), place, batch_dims=1)
        return tf.where(values > least, found, 0), values

    def _is_in(self, ids, out):
        """bool [n, m]: which cells are among the pairs of `out`."""
        row = tf.range(tf.shape(ids)[0], dtype=tf.int64)[:, None]
        keys = tf.cast(out, tf.int64)
        keys = tf.sort(tf.pad(keys[:, 0] * self.size + keys[:, 1], [[0, 1]], constant_values=tf.int64.max))
        wanted = tf.reshape(row * self.size + tf.cast(ids, tf.int64), [-1])
        return tf.reshape(tf.gather(keys, tf.searchsorted(keys, wanted)) == wanted, tf.shape(ids))


def left_out(seen, exclude_seen: bool, exclude=None):
    """int32 [pairs, 2], what an answer leaves out: `exclude`, and, if so wanted, what was seen; None: nothing."""
    lists = ([seen] if exclude_seen else []) + ([] if exclude is None else [exclude])
    return pairs(tf.concat(lists, axis=1)) if lists else None


def pairs(ids):
    """int32 [n, m] -> int32 [n m, 2]: (row, id)."""
    rows = tf.broadcast_to(tf.range(tf.shape(ids)[0])[:, None], tf.shape(ids))
    return tf.reshape(tf.stack([rows, ids], axis=-1), [-1, 2])
