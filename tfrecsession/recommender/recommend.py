"""Recommendations from histories, and similar items."""

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

BLOCK_BYTES = 256 << 20  # scores held at once: bounds memory, which would be events x catalogue


class Recommendations(NamedTuple):
    """The k best items of each history, best first; `""` where fewer items are left.

    Attributes:
        items: object (str) [histories, k].
        scores: float32 [histories, k].
    """

    items: np.ndarray
    scores: np.ndarray

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.items.shape))
        rows = [
            " ".join(f"{str(item)[:20]} ({score:.4g})" for item, score in zip(items[:3], scores[:3], strict=True))
            for items, scores in zip(np.atleast_2d(self.items)[:4], np.atleast_2d(self.scores)[:4], strict=True)
        ]
        return "\n".join([f"<Recommendations [{shape}], best first", *(f"  {row} ..." for row in rows)]) + ">"


class Recommending(TopItems):
    """Recommendations from histories, and similar items.

    Mixed into `Recommender`, which has `items`, `size`, `reads`, `encode`, `score_all`, `score_without_history` and
    `item_vectors`.
    """

    def answer(self, ids, k: int, exclude_seen: bool = False, allowed=None, exclude=None, only=None):
        """Returns ids and scores of the k best next items of each history.

        Padding and unknown items are ignored wherever they stand. A history without a known item gets the most popular
        items.

        Args:
            ids: int32 [histories, events], oldest first.
            k: how many.
            exclude_seen: leave out the items of the history.
            allowed: bool [size] or [histories, size], the items that may be recommended; None: all.
            exclude: int32 [histories, any], further items to leave out; 0 and 1 are ignored.
            only: int32 [histories, any], items to choose from; 0 and 1 are ignored, a row of 0 stands for all.

        Returns:
            int32 [histories, k], 0 where nothing is left, and float32 [histories, k].
        """
        encoded, ids, length = self._encode_histories(ids)
        return self.find(encoded, length > 0, k, left_out(ids, exclude_seen, exclude), allowed, only)

    def query_vectors(self, ids):
        """Returns float32 [histories, width], whose products with `score_vectors` are the scores.

        Histories without a known item get all zeros; `answer` falls back to popular items.

        Args:
            ids: as in `answer`.
        """
        encoded, _, length = self._encode_histories(ids)
        return tf.where(length[:, None] > 0, self.queries(encoded), 0.0)

    def _encode_histories(self, ids):
        """Returns the encoded histories [histories, dim], their known ids, padded to the right, and their lengths."""
        known = tf.cast(ids > 1, tf.int32)
        (ids,) = wanted_first(ids > 1, ids * known)
        ids = tf.pad(ids, [[0, 0], [0, 1]])  # (histories, events + 1): at least one step, also without histories
        length = tf.reduce_sum(known, axis=1)  # (histories,)
        return self.encode_last(of_histories(ids, self.reads), length), ids, length

    def encode_last(self, batch: dict, length):
        """Encodes each row, one session from its first step, after its last event: `[rows, dim]`.

        A model whose steps are costly may override it.

        Args:
            batch: rows of one session each.
            length: int32 [rows], their numbers of events; results of empty rows are never used.
        """
        return tf.gather(self.encode(batch, training=False), tf.maximum(length - 1, 0), batch_dims=1)

    def recommend(self, histories, k: int = 20, *, exclude_seen: bool = False, candidates=None) -> Recommendations:
        """Returns the k best next items of each history.

        Args:
            histories: lists of item ids as in the log, oldest first: texts, bytes or numbers, in lists, generators,
                arrays, tensors, ragged tensors or columns. Unknown ids are skipped; a history without a known item
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
        """Runs `answer` over histories of any lengths, block by block.

        Args:
            answer: called with an int32 [histories, events] array for each of `columns`, the rest by keyword.
            columns: each an int32 [events] array per history; the first is of item ids.
            k, exclude_seen, candidates: as in `recommend`.
        """
        allowed = None
        if candidates is not None:
            chosen = self.items.encode(texts(candidates, "candidates"))
            allowed = np.zeros(self.size, bool)
            allowed[chosen[chosen > 1]] = True
            if not allowed.any():
                raise InputError("candidates: must hold an item of the catalogue, none of them is in it")
        padded = [np.zeros((len(column), max(map(len, column), default=0)), np.int32) for column in columns]
        for array, column in zip(padded, columns, strict=True):
            for row, history in zip(array, column, strict=True):
                row[: len(history)] = history
        # a model may hold the session so far at every step: the square of the longest history
        rows, longest = padded[0].shape
        block_rows = max(1, BLOCK_BYTES // (4 * max(self.size, (longest + 1) ** 2)))
        traced = self._traced(answer, len(columns), int(k), bool(exclude_seen), allowed is not None)
        chosen = [] if allowed is None else [tf.constant(allowed)]
        best = [
            traced(*(tf.constant(array[first : first + block_rows]) for array in padded), *chosen)
            for first in range(0, rows, block_rows)
        ]
        if not best:
            return Recommendations(np.empty((0, k), object), np.empty((0, k), np.float32))
        found, scores = (np.concatenate([part[i].numpy() for part in best]) for i in (0, 1))
        return Recommendations(self.items.decode(found), scores)

    def _traced(self, answer, columns: int, k: int, exclude_seen: bool, filtered: bool):
        """Returns `answer` as one graph for all shapes: a graph per shape would cost seconds each."""
        key = (answer.__name__, k, exclude_seen, filtered)
        if key not in self._answer_graphs:

            def of_any_shape(*arrays):
                allowed = arrays[columns] if filtered else None
                return answer(*arrays[:columns], k=k, exclude_seen=exclude_seen, allowed=allowed)

            spec = [tf.TensorSpec((None, None), tf.int32)] * columns + [tf.TensorSpec((None,), tf.bool)] * filtered
            graph = tf.function(of_any_shape, input_signature=spec, autograph=False)
            self._answer_graphs[key] = graph.get_concrete_function()
        return self._answer_graphs[key]

    def similar_items(self, items, k: int = 20) -> Recommendations:
        """Returns the k items nearest to each of `items` by cosine; the item itself is left out.

        Raises:
            InputError: an item is unknown, or the model has no item vectors.
        """
        self.check_k(k + 1)
        items = texts(items, "items")
        ids = self.items.encode(items)
        for item, row in zip(items, ids, strict=True):
            if row < 2:
                raise InputError(f"item {item!r} is not in the catalogue")
        best, scores = self.nearest()(tf.constant(ids), k)
        return Recommendations(self.items.decode(best.numpy()), scores.numpy())

    def nearest(self):
        """Returns `similar_items` on tensors, as a function that has measured the vectors' lengths once.

        It takes int32 [n] and k. It returns ids int32 [n, k], 0 where nothing is left or the item is unknown, and
        scores float32 [n, k].
        """
        squares = tf.reduce_sum(tf.cast(self.item_vectors(), tf.float32) ** 2, axis=1)
        inverse = tf.Variable(tf.math.rsqrt(tf.maximum(squares, 1e-12)), trainable=False)  # (size,)

        def nearest(ids, k):
            vectors = tf.cast(self.item_vectors(), tf.float32)
            inverses = tf.convert_to_tensor(inverse)
            normalized = tf.gather(vectors, ids) * tf.gather(inverses, ids)[:, None]  # (n, dim)
            scores = products(normalized, vectors) * inverses  # (n, size)
            return self.best_of(scores, k, pairs(ids[:, None]), allowed=(ids > 1)[:, None])

        return nearest

    def check_k(self, k: int) -> None:
        """Checks that k is a number of items that the catalogue has."""
        if not isinstance(k, int | np.integer) or not 1 <= k <= self.size - 2:
            raise InputError(f"k={k!r}: must be a whole number from 1 to the size of the catalogue, {self.size - 2:,}")
