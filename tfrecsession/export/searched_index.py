"""The base of indexes that search a part of the items, with settings chosen by their measured recall."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.export.index import ExactIndex, answers, share_of
from tfrecsession.export.rest_of_items import RestOfItems
from tfrecsession.layers.items.gather import serving
from tfrecsession.layers.items.repeat_head import HIDDEN
from tfrecsession.recommender.top_items import distinct, pairs_of

CANDIDATES = (3, 5, 10, 20, 40)  # multiples of k to try
TIMED = 30  # single requests that each setting is timed on
MOST = 16_384  # limit of candidates per request
BATCH = 64  # histories searched at a time while the settings are chosen


class SearchedIndex(ExactIndex):
    """An index that selects candidates from the parts of the catalogue nearest to a history, and scores them exactly.

    Candidates get the scores of the exact answer, from the model's own vectors, then filters are applied. For a history
    that is left with fewer than k candidates all items are scored. Equal scores are in the order of the exact answer.

    With a `RepeatHead` the items of the session are candidates too. The mixture needs the sum of the softmax over all
    items: that of the candidates, and an estimate of the rest (`RestOfItems`).

    A subclass divides the items in its constructor, calls `choose`, and defines `candidates`.

    Attributes:
        title: the name of the method, for errors.
        searched, kept: how many parts a request searches, and how many candidates it scores exactly.
    """

    title: str
    searched = kept = None

    def __init__(self, model):
        super().__init__(model)
        self.rest = None if model.repeat_head is None else RestOfItems(model)
        popular = model.score_without_history()
        best = tf.math.top_k(tf.where(tf.range(model.size) > 1, popular, popular.dtype.min), min(MOST, model.size - 2))
        self.popular = tf.Variable(best.indices, trainable=False), tf.Variable(best.values, trainable=False)

    def candidates(self, queries, searched, kept):
        """Returns candidates of queries, float32 [n, width].

        Returns:
            ids, int32 [n, at most `kept`], no item twice, 0 as padding; and None, or bounds of all scores: an object
            with `limit`, float32 [n], above which no other item has its score, and `best`, which answers the rows that
            do not pass it.
        """
        raise NotImplementedError

    def installed(self):
        return serving(self)

    def best(self, encoded, known, k: int, out=None, allowed=None):
        model = self.model
        ids, scores, bounds = self._scored(encoded, known, self.searched, max(self.kept, k))  # rules ask for more
        width = tf.shape(ids)[1]

        def with_popular():
            count = tf.minimum(tf.size(self.popular[0]), width)
            padding = [[0, width - count]]
            popular = (tf.pad(tf.convert_to_tensor(array)[:count], padding)[None] for array in self.popular)
            return [tf.where(known[:, None], *pair) for pair in zip((ids, scores), popular, strict=True)]

        ids, scores = tf.cond(tf.reduce_all(known), lambda: [ids, scores], with_popular)
        if allowed is not None:
            allowed = tf.broadcast_to(allowed, (tf.shape(ids)[0], model.size))
            ids = tf.where(tf.gather(allowed, ids, batch_dims=1), ids, 0)
        best, values = model.best_among(ids, scores, k, out)
        sure = tf.reduce_all(best > 0, axis=1)
        if bounds is not None:
            sure &= ~known | (values[:, -1] > bounds.limit)

        def again():
            rows = tf.where(~sure)[:, 0]
            find = model.scan if bounds is None else partial(bounds.best, rows, tf.gather(values[:, -1], rows))
            found = find(
                tf.gather(encoded, rows),
                tf.gather(known, rows),
                k,
                None if out is None else pairs_of(out, ~sure),
                None if allowed is None else tf.gather(allowed, rows),
            )
            ids, scores = (
                tf.tensor_scatter_nd_update(first, rows[:, None], second)
                for first, second in zip((best, values), found, strict=True)
            )
            return ids, scores

        return tf.cond(tf.reduce_all(sure), lambda: (best, values), again)

    def _scored(self, encoded, known, searched, kept):
        """Returns the candidates in the order of their ids, int32 [n, any], their scores, float32, and the bounds.

        encoded [n, any] and known bool [n] are as in `TopItems.find`; bounds are those of `candidates`.
        """
        model, head = self.model, self.model.repeat_head
        queries = tf.where(known[:, None], model.queries(encoded), 0.0)
        ids, bounds = self.candidates(queries, searched, kept)
        if head is None:
            ids = tf.sort(ids, axis=1)  # equal scores: the lower id comes first
            return ids, model.products_with(queries, ids), bounds
        ids = distinct(tf.concat([ids, head.split(encoded)[3]], axis=1))
        scores = model.products_with(queries, ids)
        fresh = tf.where(head.is_in_softmax(ids, encoded), scores, HIDDEN)
        total = tf.reduce_logsumexp(tf.concat([fresh, self.rest(queries, ids)[:, None]], axis=1), axis=1)  # (n,)
        return ids, head.mixed_among(ids, scores, total, encoded), bounds

    def choose(self, parts: int, k: int, target: float, histories: np.ndarray, best_elsewhere: str) -> None:
        """Sets `searched` and `kept`: the fastest settings whose recall without filters reaches the target.

        Args:
            parts: number of parts that the items are divided into.
            k: items per answer.
            target: share of the exact answer that must be found.
            histories: int32 [histories, events] that the recall is measured on.
            best_elsewhere: what to use instead where no settings reach the target, for the error.

        Raises:
            InputError: no settings reach the target.
        """
        model = self.model
        expected = answers(model, histories, k)
        blocks = [tf.constant(histories[row : row + BATCH]) for row in range(0, len(histories), BATCH)]
        encoded = [model.encoded_histories(block) for block in blocks]
        # a standard error above the target, so that other histories reach it too
        enough = min(target + (target * (1 - target) / len(histories)) ** 0.5, 1.0)

        def search(encoded, known, searched, kept):
            return model.best_among(*self._scored(encoded, known, searched, kept)[:2], k)[0]

        number = tf.TensorSpec((), tf.int32)
        spec = [tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in encoded[0]]
        search = tf.function(search, input_signature=[*spec, number, number], autograph=False)

        def recall(searched, kept):
            found = [search(*block, tf.constant(searched), tf.constant(kept)).numpy() for block in encoded]
            return share_of(expected, np.concatenate(found))

        def milliseconds(searched, kept):
            waits = []
            for row in range(min(TIMED, len(blocks[0]))):
                alone = [part[row : row + 1] for part in encoded[0]]
                start = time.perf_counter()
                search(*alone, tf.constant(searched), tf.constant(kept)).numpy()
                waits.append(1000 * (time.perf_counter() - start))
            return np.median(waits)

        steps = sorted({min(parts, max(1, round(parts * 1.25**-step))) for step in range(45)})
        reached, highest = [], 0.0
        for kept in sorted({min(times * k + 16, len(model.items.counts), MOST) for times in CANDIDATES}):
            low, high = 0, len(steps)  # a binary search, since recall never falls with more parts
            while low < high:
                middle = (low + high) // 2
                share = recall(steps[middle], kept)
                highest = max(highest, share)
                low, high = (low, middle) if share >= enough else (middle + 1, high)
            if low < len(steps):
                reached.append((milliseconds(steps[low], kept), steps[low], kept))
        if not reached:
            raise InputError(
                f"target_recall={target}: must be lower, since {self.title} finds at most {highest:.3f} of the exact "
                f"answers for these items; or use {best_elsewhere}"
            )
        _, self.searched, self.kept = min(reached)
