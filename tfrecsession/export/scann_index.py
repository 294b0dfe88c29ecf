"""An index by TensorFlow Recommenders' ScaNN, with settings chosen by their measured recall."""

from __future__ import annotations

import time

import numpy as np
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.export.index import ExactIndex, in_blocks, share_of
from tfrecsession.export.retrieval import recommenders_layers
from tfrecsession.export.scann_ops import load_scann_ops
from tfrecsession.layers.items.gather import serving

CANDIDATES = (3, 5, 10, 20, 40)  # multiples of k to try
TIMED = 30  # single requests that each setting is timed on
MOST = 16_384  # limit of candidates per request


class ScannIndex(ExactIndex):
    """An index that selects candidates with ScaNN and scores them exactly with the model's own vectors.

    ScaNN partitions the items into leaves and stores half a byte for every two numbers of a vector (arXiv 1908.10396).
    A request searches the `num_leaves_to_search` nearest leaves and selects the `num_reordering_candidates` best items
    by these codes. Candidates get the scores of the exact answer, then filters are applied. If fewer than k candidates
    are left, all items are scored. The graph holds the model's vectors once.

    Args:
        model: a Recommender that scores by dot products.
        k: items per answer.
        target_recall: share of the exact answer that must be found; the fastest settings that reach it are used.
        histories: int32 [histories, events] that the settings are chosen on.

    Raises:
        InputError: ScaNN or TensorFlow Recommenders cannot be used here, or no settings reach the target.
    """

    kind = "scann"

    def __init__(self, model, k: int, target_recall: float, histories: np.ndarray):
        super().__init__(model)
        self.ops = load_scann_ops("index='scann'")
        layers = recommenders_layers("scann")
        matrix = np.asarray(model.score_vectors(tf.range(2, model.size)))
        leaves = max(1, round(len(matrix) ** 0.5))
        layer = layers.ScaNN(k=k, num_leaves=leaves, num_leaves_to_search=max(1, leaves // 10))
        try:
            layer.index(tf.constant(matrix))
        except tf.errors.OpError as error:
            reason = str(error).partition("\n")[0]
            raise InputError(
                f"index='scann': must be 'exact' for these {len(matrix):,} items; ScaNN cannot index them ({reason})"
            ) from None
        # The layer's call uses the number of leaves of its constructor. Its searcher accepts both numbers in every
        # search, so the tree is built once for all settings.
        self.searcher = layer._serialized_searcher
        popular = model.score_without_history()
        best = tf.math.top_k(tf.where(tf.range(model.size) > 1, popular, popular.dtype.min), min(MOST, model.size - 2))
        self.popular = tf.Variable(best.indices, trainable=False), tf.Variable(best.values, trainable=False)
        self.settings = {"num_leaves": leaves, "target_recall": target_recall}
        self.leaves, self.candidates = self._choose(k, target_recall, histories)
        self.settings |= {"num_leaves_to_search": self.leaves, "num_reordering_candidates": self.candidates}

    def installed(self):
        return serving(self)

    def best(self, encoded, known, k: int, out=None, allowed=None):
        model = self.model
        queries = tf.where(known[:, None], model.queries(encoded), 0.0)
        ids = self._candidates(queries, self.leaves, self.candidates)
        width = tf.shape(ids)[1]
        scores = self._scores(queries, ids)

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
        return tf.cond(
            tf.reduce_all(best > 0),
            lambda: (best, values),
            lambda: model.scan(encoded, known, k, out, allowed),
        )

    def _candidates(self, queries, leaves: int, candidates: int):
        """Returns candidate ids: float32 [n, width] -> int32 [n, at most `candidates`], 0 as padding."""
        rows = tf.shape(queries)[0]
        padded = tf.pad(queries, [[0, tf.cast(rows == 0, tf.int32)], [0, 0]])  # ScaNN fails on an empty batch
        found = self.ops.searcher_from_module(self.searcher).search_batched_parallel(
            padded, final_num_neighbors=candidates, pre_reorder_num_neighbors=candidates, leaves_to_search=leaves
        )
        ids = tf.where(tf.math.is_finite(found.distances), tf.cast(found.indices, tf.int32) + 2, 0)
        return tf.ensure_shape(ids[:rows], (None, None))

    def _scores(self, queries, ids):
        vectors = self.model.score_vectors(tf.reshape(ids, [-1]))
        vectors = tf.reshape(vectors, (tf.shape(ids)[0], tf.shape(ids)[1], vectors.shape[1]))
        return tf.einsum("nd,nmd->nm", queries, vectors)

    def _choose(self, k: int, target: float, histories: np.ndarray) -> tuple[int, int]:
        """Returns the leaves to search and the candidates to score: the fastest settings that reach the target."""
        model, leaves = self.model, self.settings["num_leaves"]
        expected = in_blocks(model, tf.function(model.answer, reduce_retracing=True, autograph=False), histories, k)
        blocks = (tf.constant(histories[row : row + 64]) for row in range(0, len(histories), 64))
        queries = tf.concat([model.query_vectors(block) for block in blocks], 0)
        # half a standard error above the target, so that other histories reach it too
        enough = min(target + 0.5 * (target * (1 - target) / len(histories)) ** 0.5, 1.0)
        search = tf.function(self._search, autograph=False, reduce_retracing=True)

        def best(leaf_count, candidates, batch=queries):
            return search(batch, tf.constant(leaf_count), tf.constant(candidates), k).numpy()

        steps = sorted({min(leaves, max(1, round(leaves * 1.5**-step))) for step in range(25)})
        reached, highest = [], 0.0
        for candidates in sorted({min(times * k + 16, len(self.model.items.counts), MOST) for times in CANDIDATES}):
            low, high = 0, len(steps)  # a binary search, since recall never falls with more leaves
            while low < high:
                middle = (low + high) // 2
                share = share_of(expected, best(steps[middle], candidates))
                highest = max(highest, share)
                low, high = (low, middle) if share >= enough else (middle + 1, high)
            if low < len(steps):
                seconds = []
                for row in range(min(TIMED, len(histories))):
                    start = time.perf_counter()
                    best(steps[low], candidates, queries[row : row + 1])
                    seconds.append(time.perf_counter() - start)
                reached.append((np.median(seconds), steps[low], candidates))
        if not reached:
            raise InputError(
                f"target_recall={target}: must be lower, since ScaNN finds at most {highest:.3f} of the exact answers "
                "for these items; or use index='exact-bf16'"
            )
        return min(reached)[1:]

    def _search(self, queries, leaves, candidates, k):
        """Returns the best ids of each query, without filters: int32 [n, k]."""
        ids = self._candidates(queries, leaves, candidates)
        return self.model.best_among(ids, self._scores(queries, ids), k)[0]
