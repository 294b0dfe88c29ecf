"""An index by TensorFlow Recommenders' ScaNN, with settings chosen by their measured recall."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.export.retrieval import recommenders_layers
from tfrecsession.export.scann_ops import load_scann_ops
from tfrecsession.export.searched_index import SearchedIndex


class ScannIndex(SearchedIndex):
    """An index that selects candidates with ScaNN and scores them exactly with the model's own vectors.

    ScaNN partitions the items into leaves and stores half a byte for every two numbers of a vector (arXiv 1908.10396).
    A request searches the `num_leaves_to_search` nearest leaves and selects the `num_reordering_candidates` best items
    by these codes. The graph holds the model's vectors once.

    Args:
        model: a Recommender that scores by dot products.
        k: items per answer.
        target_recall: share of the exact answer that must be found; the fastest settings that reach it are used.
        histories: int32 [histories, events] that the settings are chosen on.

    Raises:
        InputError: ScaNN or TensorFlow Recommenders cannot be used here, or no settings reach the target.
    """

    kind, title = "scann", "ScaNN"

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
        self.choose(leaves, k, target_recall, histories, "index='exact-bf16'")
        self.settings = {
            "num_leaves": leaves,
            "target_recall": target_recall,
            "num_leaves_to_search": self.searched,
            "num_reordering_candidates": self.kept,
        }

    def candidates(self, queries, searched, kept):
        rows = tf.shape(queries)[0]
        padded = tf.pad(queries, [[0, tf.cast(rows == 0, tf.int32)], [0, 0]])  # ScaNN fails on an empty batch
        found = self.ops.searcher_from_module(self.searcher).search_batched_parallel(
            padded, final_num_neighbors=kept, pre_reorder_num_neighbors=kept, leaves_to_search=searched
        )
        ids = tf.where(tf.math.is_finite(found.distances), tf.cast(found.indices, tf.int32) + 2, 0)
        return tf.ensure_shape(ids[:rows], (None, None)), None
