"""An inverted-file index in TensorFlow's core ops, with settings chosen by their measured recall."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.export.clusters import clusters_of, means_of
from tfrecsession.export.searched_index import BATCH, SearchedIndex
from tfrecsession.layers.blocks import in_blocks
from tfrecsession.layers.rounded_products import LOW

BLOCK = 32  # items of one cluster that lie together, the last block of a cluster with padding
ITEMS = 64  # of a cluster on average, up to `LARGEST` clusters
LARGEST = 8192  # clusters, unless more are requested
WIDTH = 32  # coordinates of a vector in the lists, more only where they lose more than `LOST` of the scores
LOST = 0.1  # of the sum of their squares, without their mean


class IvfIndex(SearchedIndex):
    """An index that selects candidates from the clusters nearest to a history, in core ops alone.

    The items' vectors are rotated and scaled so that the directions in which histories differ most come first (see
    `reduction`). Their first coordinates are clustered, and stored by cluster, in bfloat16. A request estimates
    the largest score in each cluster, scores the items of the best `probes` clusters by these coordinates, and selects
    the `candidates` best of them, which the model's own vectors then score in full.

    The estimate of a cluster with mean m, n items and deviation s per coordinate is q . m + |q| s sqrt(2 log n): about
    the largest of n normal products.

    Args:
        model: a Recommender that scores by dot products.
        k: items per answer.
        target_recall: share of the exact answer that must be found; the fastest settings that reach it are used.
        histories: int32 [histories, events] that the coordinates and the settings are chosen on.
        clusters: how many; None: by the number of items.

    Raises:
        InputError: more clusters than items, or no settings reach the target.
    """

    kind, title = "ivf", "an index of clusters"

    def __init__(self, model, k: int, target_recall: float, histories: np.ndarray, clusters: int | None = None):
        super().__init__(model)
        matrix = np.asarray(model.score_vectors(tf.range(2, model.size)), np.float32)
        clusters = clusters_to_make(len(matrix)) if clusters is None else checked_clusters(clusters, len(matrix))
        asked, to_list = reduction(matrix, query_vectors(model, histories))
        self.reduced = tf.Variable(asked, trainable=False)  # (width, coordinates), for queries
        matrix = matrix @ to_list
        self._store(matrix, clusters_of(matrix, clusters))
        clusters = self.means.shape[0]
        self.choose(clusters, k, target_recall, histories, "index='exact-bf16'")
        self.settings = {
            "clusters": clusters,
            "coordinates": asked.shape[1],
            "target_recall": target_recall,
            "probes": self.searched,
            "candidates": self.kept,
        }

    def _store(self, matrix: np.ndarray, cluster: np.ndarray) -> None:
        """Keeps the vectors by cluster, in blocks; block 0 is empty."""
        means, sizes = means_of(matrix, cluster, cluster.max() + 1)
        squares = np.einsum("nd,nd->n", matrix, matrix)
        spread = np.bincount(cluster, squares) / sizes - np.einsum("cd,cd->c", means, means)  # squared distances
        largest = np.sqrt(np.maximum(spread, 0) / matrix.shape[1] * 2 * np.log(np.maximum(sizes, 1)))
        blocks = -(-sizes // BLOCK)
        first = 1 + np.cumsum(blocks) - blocks
        order = np.argsort(cluster, kind="stable")  # by cluster, then by id
        rank = np.arange(len(matrix)) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # within the cluster
        slot = first[cluster[order]] * BLOCK + rank
        count = 1 + blocks.sum()
        ids, vectors = np.zeros(count * BLOCK, np.int32), np.zeros((count * BLOCK, matrix.shape[1]), np.float32)
        ids[slot], vectors[slot] = order + 2, matrix[order]
        vectors = np.column_stack([vectors, np.where(ids > 0, 0, LOW)])  # queries are 1 there: no scores are masked

        def kept(array, dtype):
            return tf.Variable(tf.cast(array, dtype), trainable=False)

        self.means = kept(np.concatenate([means, largest[:, None]], axis=1), tf.float32)  # (clusters, width + 1)
        self.first, self.blocks = kept(first, tf.int32), kept(blocks, tf.int32)  # (clusters,) each
        self.ids = kept(ids.reshape(count, BLOCK), tf.int32)
        self.vectors = kept(vectors.reshape(count, BLOCK, -1), tf.bfloat16)  # (blocks, BLOCK, width + 1)

    def candidates(self, queries, searched, kept):
        queries = tf.matmul(queries, self.reduced)
        blocks = self._nearest_blocks(queries, searched)  # (n, blocks)
        cells = tf.shape(blocks)[1] * BLOCK
        kept = tf.minimum(kept, cells)
        row_cells = cells * (2 + self.vectors.shape[2] // 2)
        signature = tf.TensorSpec((None, None), tf.int32)
        return in_blocks(lambda *arrays: self._best_of(*arrays, kept), [queries, blocks], row_cells, signature), None

    def _nearest_blocks(self, queries, probes):
        """Returns the blocks of the nearest clusters: float32 [n, width] -> int32 [n, any], 0 as padding."""
        lengths = tf.norm(queries, axis=1, keepdims=True)
        estimates = tf.matmul(tf.concat([queries, lengths], axis=1), self.means, transpose_b=True)  # (n, clusters)
        nearest = tf.math.top_k(estimates, probes).indices  # (n, probes)
        blocks = tf.gather(tf.convert_to_tensor(self.blocks), nearest)  # (n, probes)
        ends = tf.cumsum(blocks, axis=1)  # (n, probes)
        most = tf.reduce_max(ends[:, -1])
        place = tf.broadcast_to(tf.range(tf.maximum(most, 1)), (tf.shape(queries)[0], tf.maximum(most, 1)))
        probe = tf.minimum(tf.searchsorted(ends, place, side="right"), probes - 1)  # (n, any)
        starts = tf.gather(tf.convert_to_tensor(self.first), nearest) - (ends - blocks)  # (n, probes)
        return tf.where(place < ends[:, -1:], tf.gather(starts, probe, batch_dims=1) + place, 0)

    def _best_of(self, queries, blocks, kept):
        """Returns the items of the blocks with the highest scores in bfloat16, int32 [n, kept], in any order."""
        rows, width = tf.shape(blocks)[0], self.vectors.shape[2]
        queries = tf.pad(tf.cast(queries, tf.bfloat16), [[0, 0], [0, 1]], constant_values=1)  # (n, width + 1)
        vectors = tf.gather(tf.convert_to_tensor(self.vectors), blocks)  # (n, blocks, BLOCK, width + 1)
        scores = tf.cond(  # for one row, a product of matrices takes a third of the time of a batch of one product
            tf.equal(rows, 1),
            lambda: tf.matmul(queries, tf.reshape(vectors, (-1, width)), transpose_b=True),
            lambda: tf.matmul(queries[:, None], tf.reshape(vectors, (rows, -1, width)), transpose_b=True)[:, 0],
        )  # (n, cells)
        best = tf.math.top_k(scores, kept, sorted=False).indices  # (n, kept)
        best_blocks = tf.gather(blocks, best // BLOCK, batch_dims=1)  # (n, kept)
        ids = tf.reshape(tf.convert_to_tensor(self.ids), [-1])  # (count BLOCK,); those of all cells are never read
        return tf.gather(ids, best_blocks * BLOCK + best % BLOCK)


def query_vectors(model, histories: np.ndarray) -> np.ndarray:
    """Returns the vectors whose products with the items are the scores: int32 [n, events] -> float32 [n, width]."""
    blocks = (tf.constant(histories[row : row + BATCH]) for row in range(0, len(histories), BATCH))
    return np.concatenate([model.queries(model.encoded_histories(block)[0]).numpy() for block in blocks])


def reduction(vectors: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns two matrices, float32 [width, coordinates], for queries and for items.

    The products of queries and items that were both multiplied by theirs order the items about as those of the
    originals do, and in the same way where the width is at most `WIDTH`. Queries are made equally long in all
    directions, items longer where queries differ more; then the principal components of the items lose the least of
    the scores. A share of equal second moments keeps few queries from hiding a direction.

    Args:
        vectors: float32 [n, width], of items.
        queries: float32 [m, width].
    """
    width, queries = vectors.shape[1], queries.astype(float)
    moments = queries.T @ queries / len(queries)
    share = width / (width + 10 * len(queries))
    even = max(np.trace(moments) / width, 1e-12)
    root = np.linalg.cholesky((1 - share) * moments + share * even * np.eye(width))
    stretched = vectors @ root.astype(np.float32)
    stretched -= stretched.mean(axis=0)
    squares, axes = (array[..., ::-1] for array in np.linalg.eigh((stretched.T @ stretched).astype(float)))
    enough = 1 + np.searchsorted(np.cumsum(squares), (1 - LOST) * squares.sum())  # the longest come first
    axes = axes[:, : max(WIDTH, enough)]
    return np.linalg.solve(root.T, axes).astype(np.float32), (root @ axes).astype(np.float32)


def clusters_to_make(items: int) -> int:
    """Returns the number of clusters for a number of items."""
    return max(1, min(round(items / ITEMS), LARGEST))


def checked_clusters(clusters, items: int) -> int:
    """Returns a number of clusters that was requested.

    Raises:
        InputError: it is no whole number, or there are fewer items.
    """
    if not isinstance(clusters, int | np.integer) or isinstance(clusters, bool) or not 1 <= clusters <= items:
        raise InputError(f"clusters={clusters!r}: must be a whole number from 1 to the number of items, {items:,}")
    return int(clusters)
