"""The questions that people ask of a model: what next, and what is like this."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfrecsession.batches.batch import of_histories
from tfrecsession.errors import InputError
from tfrecsession.events.id_texts import text_lists, texts
from tfrecsession.layers.items.matmul import products
from tfrecsession.layers.ragged import wanted_first
from tfrecsession.recommender.top_items import TopItems, left_out, pairs

BLOCK_BYTES = 256 << 20  # scores held at once: memory does not grow with events x catalogue


class Recommendations(NamedTuple):
    """The k best items of each history, best first; `""` where the catalogue has no more to offer.

    Attributes:
        items: object (str) [histories, k].
        scores: float32 [histories, k].
    """

    items: np.ndarray
    scores: np.ndarray


class Recommending(TopItems):
    """The answering half of `Recommender`, on its `encode`, `score_all`, `items` and `item_counts`."""

    def answer(self, ids, k: int, exclude_seen: bool = False, allowed=None, exclude=None, only=None):
        """Histories of item ids -> ids and scores of the k best items.

        Padding and unknown items may stand anywhere and change nothing. A history without a known item gets the most
        popular ones.

        Args:
            ids: int32 [histories, events], oldest first.
            k: how many.
            exclude_seen: leave out the items of the history.
            allowed: bool [size] or [histories, size], the items that may be recommended; None: all.
            exclude: int32 [histories, any], further items to leave out; 0 and 1 stand for none.
            only: int32 [histories, any], items to choose from; 0 and 1 stand for none, a row of 0 for all items.

        Returns:
            int32 [histories, k], 0 where nothing is left, and float32 [histories, k].
        """
        encoded, ids, length = self._encode_histories(ids)
        return self.find(encoded, length > 0, k, left_out(ids, exclude_seen, exclude), allowed, only)

    def query_vectors(self, ids):
        """Histories of item ids -> float32 [histories, width], whose products with `score_vectors` are the scores.

        Of a history without a known item all zeros: the model says nothing of it, and `answer` names popular items.

        Args:
            ids: as in `answer`.
        """
        encoded, _, length = self._encode_histories(ids)
        return tf.where(length[:, None] > 0, self.queries(encoded), 0.0)

    def _encode_histories(self, ids):
        """`[histories, dim]`, the ids without what is unknown, padded to the right, and how many each history has."""
        known = tf.cast(ids > 1, tf.int32)
        (ids,) = wanted_first(ids > 1, ids * known)
        ids = tf.pad(ids, [[0, 0], [0, 1]])  # at least one step, also for no history at all
        length = tf.reduce_sum(known, axis=1)
        return self.encode_last(of_histories(ids, self.reads), length), ids, length

    def encode_last(self, batch: dict, length):
        """What is known after the last event of each row, a session that starts at its first step: `[rows, dim]`.

        A model whose steps cost much may override it.

        Args:
            batch: rows of one session each.
            length: int32 [rows], their numbers of events; of none, what is returned is never looked at.
        """
        return tf.gather(self.encode(batch, training=False), tf.maximum(length - 1, 0), batch_dims=1)

    def recommend(self, histories, k: int = 20, *, exclude_seen: bool = False, candidates=None) -> Recommendations:
        """The k best next items of each history.

        Args:
            histories: lists of item ids as in the log, oldest first: texts, bytes or numbers, in lists, generators,
                arrays, tensors, ragged tensors or columns. Unknown ids are passed over; a history without a known item
                gets the most popular items.
            k: how many items, at most the catalogue's.
            exclude_seen: leave out the items of the history.
            candidates: item ids to choose from; None: the whole catalogue.

        Raises:
            InputError: k is not in 1..catalogue, a history is a bare string, a value is not an id, or no candidate is
                known.
        """
        self.check_k(k)
        encoded = [self.items.encode(history) for history in text_lists(histories, "histories")]
        return self.recommend_ids(self.answer, [encoded], k, exclude_seen, candidates)

    def recommend_ids(self, answer, columns: list, k: int, exclude_seen: bool, candidates) -> Recommendations:
        """What `answer` says of some histories at a time.

        Args:
            answer: called with an int32 [histories, events] array for each of `columns`, and the rest by name.
            columns: each an int32 [events] array per history; the first is of item ids.
            k, exclude_seen, candidates: as in `recommend`.
        """
        allowed = None
        if candidates is not None:
            chosen = self.items.encode(texts(candidates, "candidates"))
            allowed = np.zeros(self.size, bool)
            allowed[chosen[chosen > 1]] = True
            if not allowed.any():
                raise InputError("candidates: none of them is in the catalogue")
        padded = [np.zeros((len(column), max(map(len, column), default=0)), np.int32) for column in columns]
        for array, column in zip(padded, columns, strict=True):
            for row, history in zip(array, column, strict=True):
                row[: len(history)] = history
        # a model may hold the session so far at every step, the square of the longest history
        number, longest = padded[0].shape
        some = max(1, BLOCK_BYTES // (4 * max(self.size, (longest + 1) ** 2)))
        traced = self._traced(answer, len(columns), int(k), bool(exclude_seen), allowed is not None)
        chosen = [] if allowed is None else [tf.constant(allowed)]
        best = [
            traced(*(tf.constant(array[i : i + some]) for array in padded), *chosen) for i in range(0, number, some)
        ]
        if not best:
            return Recommendations(np.empty((0, k), object), np.empty((0, k), np.float32))
        found, scores = (np.concatenate([part[i].numpy() for part in best]) for i in (0, 1))
        return Recommendations(self.items.decode(found), scores)

    def _traced(self, answer, columns: int, k: int, exclude_seen: bool, filtered: bool):
        """`answer` as a graph for histories of any number and length: a graph per shape would cost seconds each."""
        asked = (answer.__name__, k, exclude_seen, filtered)
        if asked not in self._answers:

            def of_any_shape(*given):
                allowed = given[columns] if filtered else None
                return answer(*given[:columns], k=k, exclude_seen=exclude_seen, allowed=allowed)

            spec = [tf.TensorSpec((None, None), tf.int32)] * columns + [tf.TensorSpec((None,), tf.bool)] * filtered
            graph = tf.function(of_any_shape, input_signature=spec, autograph=False)
            self._answers[asked] = graph.get_concrete_function()
        return self._answers[asked]

    def similar_items(self, items, k: int = 20) -> Recommendations:
        """The k items nearest to each of `items` by cosine; the item itself is left out.

        Raises:
            InputError: an item is unknown, or the model has no item vectors.
        """
        self.check_k(k + 1)
        items = texts(items, "items")
        ids = self.items.encode(items)
        for item, number in zip(items, ids, strict=True):
            if number < 2:
                raise InputError(f"item {item!r} is not in the catalogue")
        best, scores = self.nearest()(tf.constant(ids), k)
        return Recommendations(self.items.decode(best.numpy()), scores.numpy())

    def nearest(self):
        """`similar_items` in tensors, as a function that has measured its tables: int32 [n] and k -> ids int32 [n, k],
        0 where nothing is left and for an unknown item, and scores float32 [n, k]."""
        squares = tf.reduce_sum(tf.cast(self.item_vectors(), tf.float32) ** 2, axis=1)
        inverse = tf.Variable(tf.math.rsqrt(tf.maximum(squares, 1e-12)), trainable=False)  # of the vectors' lengths

        def nearest(ids, k):
            vectors = tf.cast(self.item_vectors(), tf.float32)
            length = tf.convert_to_tensor(inverse)
            mine = tf.gather(vectors, ids) * tf.gather(length, ids)[:, None]
            scores = products(mine, vectors) * length
            return self.best_of(scores, k, pairs(ids[:, None]), allowed=(ids > 1)[:, None])

        return nearest

    def check_k(self, k: int) -> None:
        if not isinstance(k, int | np.integer) or not 1 <= k <= self.size - 2:
            raise InputError(f"k={k!r}: say a whole number from 1 to the size of the catalogue, {self.size - 2:,}")
