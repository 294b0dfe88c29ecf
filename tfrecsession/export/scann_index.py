"""The items in TensorFlow Recommenders' ScaNN, its settings chosen by what they find."""

from __future__ import annotations

import time

import numpy as np
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.export.index import ExactIndex, in_blocks, share_of
from tfrecsession.export.retrieval_index import recommenders_layers
from tfrecsession.export.scann_ops import load_scann_ops
from tfrecsession.layers.items.gather import serving

CANDIDATES = (3, 5, 10, 20, 40)  # times k
TIMED = 30  # single requests that say which of the settings is the fastest
MOST = 16_384  # candidates of a request


class ScannIndex(ExactIndex):
    """Candidates by ScaNN, scored exactly by the model's own vectors, which the graph holds once.

    ScaNN parts the items into leaves and keeps a code of half a byte for every two numbers of a vector (arXiv
    1908.10396). Of a request it looks into the `num_leaves_to_search` leaves nearest to it and names the
    `num_reordering_candidates` best by their codes. Scores are then those of the exact answer, filters are applied to
    the candidates, and where fewer than k are left, all scores are looked at.

    Args:
        model: a Recommender that scores by dot products.
        k: length of the answers.
        target_recall: least share of the exact answer that is found; the fastest settings that find it are taken.
        asked: int32 [histories, events] to choose them by.

    Raises:
        InputError: ScaNN or TensorFlow Recommenders cannot be used here, or no settings reach the target.
    """

    kind = "scann"

    def __init__(self, model, k: int, target_recall: float, asked: np.ndarray):
        super().__init__(model)
        self.ops = load_scann_ops("index='scann'")
        layers = recommenders_layers("scann")
        matrix = np.asarray(model.score_vectors(tf.range(2, model.size)))
        leaves = max(1, round(len(matrix) ** 0.5))
        layer = layers.ScaNN(k=k, num_leaves=leaves, num_leaves_to_search=max(1, leaves // 10))
        try:
            layer.index(tf.constant(matrix))
        except tf.errors.OpError as error:
            why = str(error).partition("\n")[0]
            raise InputError(
                f"index='scann': cannot be made of these {len(matrix):,} items ({why}); leave index at 'exact'"
            ) from None
        # The layer's call takes the number of leaves from its constructor; the searcher that it holds takes both
        # numbers with every search, so that the tree is built once for all settings.
        self.searcher = layer._serialized_searcher
        popular = model.score_without_history()
        best = tf.math.top_k(tf.where(tf.range(model.size) > 1, popular, popular.dtype.min), min(MOST, model.size - 2))
        self.popular = tf.Variable(best.indices, trainable=False), tf.Variable(best.values, trainable=False)
        self.settings = {"num_leaves": leaves, "target_recall": target_recall}
        self.leaves, self.candidates = self._choose(k, target_recall, asked)
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
            popular = tf.minimum(tf.size(self.popular[0]), width)
            beyond = [[0, width - popular]]
            by_count = (tf.pad(tf.convert_to_tensor(array)[:popular], beyond)[None] for array in self.popular)
            return [tf.where(known[:, None], *both) for both in zip((ids, scores), by_count, strict=True)]

        ids, scores = tf.cond(tf.reduce_all(known), lambda: [ids, scores], with_popular)
        if allowed is not None:
            allowed = tf.broadcast_to(allowed, (tf.shape(ids)[0], model.size))
            ids = tf.where(tf.gather(allowed, ids, batch_dims=1), ids, 0)
        found, values = model.best_among(ids, scores, k, out)
        return tf.cond(
            tf.reduce_all(found > 0),
            lambda: (found, values),
            lambda: model.scan(encoded, known, k, out, allowed),
        )

    def _candidates(self, queries, leaves: int, candidates: int):
        """float32 [n, width] -> int32 [n, at most `candidates`], 0 where there is none."""
        rows = tf.shape(queries)[0]
        some = tf.pad(queries, [[0, tf.cast(rows == 0, tf.int32)], [0, 0]])  # of none it makes an error
        found = self.ops.searcher_from_module(self.searcher).search_batched_parallel(
            some, final_num_neighbors=candidates, pre_reorder_num_neighbors=candidates, leaves_to_search=leaves
        )
        ids = tf.where(tf.math.is_finite(found.distances), tf.cast(found.indices, tf.int32) + 2, 0)
        return tf.ensure_shape(ids[:rows], (None, None))

    def _scores(self, queries, ids):
        vectors = self.model.score_vectors(tf.reshape(ids, [-1]))
        vectors = tf.reshape(vectors, (tf.shape(ids)[0], tf.shape(ids)[1], vectors.shape[1]))
        return tf.einsum("nd,nmd->nm", queries, vectors)

    def _choose(self, k: int, target: float, asked: np.ndarray) -> tuple[int, int]:
        """Leaves to search and candidates to score: of the settings that find enough, those of the fastest request."""
        model, leaves = self.model, self.settings["num_leaves"]
        expected = in_blocks(model, tf.function(model.answer, reduce_retracing=True, autograph=False), asked, k)
        queries = tf.concat([model.query_vectors(tf.constant(asked[i : i + 64])) for i in range(0, len(asked), 64)], 0)
        enough = min(target + 0.5 * (target * (1 - target) / len(asked)) ** 0.5, 1.0)  # it has to hold for others too
        search = tf.function(self._search, autograph=False, reduce_retracing=True)

        def found(number, candidates, some=queries):
            return search(some, tf.constant(number), tf.constant(candidates), k).numpy()

        steps = sorted({min(leaves, max(1, round(leaves * 1.5**-step))) for step in range(25)})
        reached, most = [], 0.0
        for candidates in sorted({min(times * k + 16, len(self.model.items.counts), MOST) for times in CANDIDATES}):
            low, high = 0, len(steps)  # more leaves find no less
            while low < high:
                middle = (low + high) // 2
                share = share_of(expected, found(steps[middle], candidates))
                most = max(most, share)
                low, high = (low, middle) if share >= enough else (middle + 1, high)
            if low < len(steps):
                seconds = []
                for row in range(min(TIMED, len(asked))):
                    began = time.perf_counter()
                    found(steps[low], candidates, queries[row : row + 1])
                    seconds.append(time.perf_counter() - began)
                reached.append((np.median(seconds), steps[low], candidates))
        if not reached:
            raise InputError(
                f"target_recall={target}: ScaNN finds at most {most:.3f} of these items' exact answers; say less, or "
                "index='exact-bf16'"
            )
        return min(reached)[1:]

    def _search(self, queries, leaves, candidates, k):
        """int32 [n, k]: what is found of queries without any filter."""
        ids = self._candidates(queries, leaves, candidates)
        return self.model.best_among(ids, self._scores(queries, ids), k)[0]
