"""An exact index in two passes: bounds of all scores in bfloat16, then the items that may be among the best."""

from __future__ import annotations

import bisect

import numpy as np
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.export.ivf_index import query_vectors
from tfrecsession.export.searched_index import SearchedIndex
from tfrecsession.layers.rounded_products import GROUP, LOW, RoundedProducts, rounded

GROUPS = 256  # groups whose items are looked at one by one
KEPT = 512  # items that are scored in float32
MANY = 4096  # groups in which the second attempt looks, for all histories together
STEP = 16  # columns by which a wider table of the first pass is tried
PROVEN = 0.95  # share of histories whose answer must be proven at the first attempt


class TwoPassIndex(SearchedIndex):
    """An index whose answers are those of `exact`, at less cost.

    Vectors are rotated so that their first coordinates hold most of the scores. The rest of a vector is kept as its
    length alone: by Cauchy and Schwarz, the product of the lengths of two rests is at least the product of the rests.
    So the product of two shortened vectors is an upper bound of the score.

    The bounds of all items are computed in bfloat16, and the `KEPT` items with the largest are scored in float32. The
    scores of the others have a limit (see `RoundedProducts`): an answer whose worst score is above it is proven exact.
    Otherwise all items whose bound reaches this worst score are scored, or all items where these are many.

    Args:
        model: a Recommender that scores by dot products.
        k: items per answer.
        histories: int32 [histories, events] that the rotation and the number of coordinates are chosen on.

    Raises:
        InputError: the scores of the model are more than products with vectors that are fixed at export.
    """

    kind, title = "exact-two-pass", "an index of two passes"

    def __init__(self, model, k: int, histories: np.ndarray):
        if model.repeat_head is not None or model.item_shift() is not None:
            what = "repeats" if model.repeat_head is not None else "trend"
            raise InputError(
                f"index='exact-two-pass': must be 'exact' for a model with {what}, whose scores are more than products "
                "with fixed vectors"
            )
        super().__init__(model)
        self.size, self.kept = model.size, min(KEPT, model.size)
        self.searched = min(GROUPS, -(-model.size // GROUP))
        matrix = np.asarray(model.fixed_vectors(tf.range(model.size)), np.float32)
        rotation = common_axes(matrix[2:], query_vectors(model, histories))
        rotated = matrix @ rotation

        def is_enough(coordinates):
            self._store(rotation, rotated, coordinates)
            return self._proven(k, histories) >= PROVEN

        width = matrix.shape[1]
        choices = range(2 * STEP - 2, width - 1, STEP)  # with the two columns more a multiple of STEP
        chosen = bisect.bisect_left(choices, True, key=is_enough)
        self._store(rotation, rotated, choices[chosen] if chosen < len(choices) else width)
        self.settings = {"groups": self.searched, "candidates": self.kept, "coordinates": self.first.shape[1]}

    def _store(self, rotation: np.ndarray, rotated: np.ndarray, coordinates: int) -> None:
        """Keeps the table of the first pass: coordinates of the rotated vectors, length of the rest, padding."""
        first, rest = np.split(rotation, [coordinates], axis=1)
        self.first, self.others = (tf.Variable(axes, trainable=False) for axes in (first, rest))
        vectors = np.concatenate([rotated[:, :coordinates], lengths(rotated[:, coordinates:])[:, None]], axis=1)
        vectors, longest, lost = rounded(vectors, np.arange(self.size) > 1)
        self.vectors = tf.Variable(vectors, trainable=False)  # bfloat16 (groups GROUP, coordinates + 2)
        self.longest, self.lost = float(longest), float(lost)

    def _proven(self, k: int, histories: np.ndarray) -> float:
        """Returns the share of histories whose answer is proven at the first attempt."""

        @tf.function(input_signature=[tf.TensorSpec((None, None), tf.int32)], autograph=False)
        def proven(ids):
            ids, scores, bounds = self._scored(*self.model.encoded_histories(ids), self.searched, max(self.kept, k))
            return self.model.best_among(ids, scores, k)[1][:, -1] > bounds.limit

        blocks = (tf.constant(histories[row : row + 16]) for row in range(0, len(histories), 16))
        return float(np.mean(np.concatenate([proven(block) for block in blocks])))

    def candidates(self, queries, searched, kept):
        """Returns ids and `Bounds`, see `SearchedIndex`."""
        rest = tf.norm(tf.matmul(queries, self.others), axis=1, keepdims=True)
        bounds = Bounds(self, tf.concat([tf.matmul(queries, self.first), rest], axis=1))
        return bounds.largest(searched, kept), bounds


class Bounds:
    """Upper bounds of the scores of all items, for the queries of a request.

    Args:
        index: a TwoPassIndex.
        asked: float32 [n, coordinates + 1], the shortened queries.

    Attributes:
        limit: float32 [n], no item that `largest` left out has a score above it.
    """

    def __init__(self, index: TwoPassIndex, asked):
        self.index, self.n = index, tf.shape(asked)[0]
        self.products = RoundedProducts(index.vectors, index.longest, index.lost, asked)

    def largest(self, searched: int, kept):
        """Returns the `kept` items with the largest bounds, int32 [n, kept], and sets `limit`."""
        count = self.products.maxima.shape[1]
        best, groups = tf.math.top_k(self.products.maxima, min(searched + 1, count))
        limit = best[:, searched] if searched < count else tf.fill([self.n], LOW)  # of the groups that are left out
        ids = groups[:, :searched, None] * GROUP + tf.range(GROUP)  # (n, searched, GROUP)
        ids = tf.reshape(ids, (self.n, searched * GROUP))
        kept = tf.minimum(kept, searched * GROUP - 1)
        best, places = tf.math.top_k(self.products.of(ids, tf.range(tf.cast(self.n, tf.int64))[:, None]), kept + 1)
        self.limit = self.products.limit(tf.maximum(limit, best[:, -1]))
        ids = tf.gather(ids, places[:, :kept], batch_dims=1)
        return tf.where(ids < self.index.size, ids, 0)

    def best(self, rows, least, encoded, known, k: int, out=None, allowed=None):
        """Returns the k best of all items for some rows, see `TopItems.find`.

        All items are scored whose bound reaches `least`; all items at all where these are in more than `MANY` groups.

        Args:
            rows: int64 [m], of the queries that the bounds are of.
            least: float32 [m], a score that k items reach; the lowest number where fewer were found.
            encoded, known, out, allowed: as in `find`, of the m rows.
        """
        model = self.index.model
        least = tf.where(known, self.products.least(least, rows), LOW)
        least = tf.maximum(least, LOW / 2)[:, None]  # lower bounds are not enough; padding is LOW
        cells = tf.where(tf.gather(self.products.maxima, rows) >= least)  # (cells, 2), by row, then by group

        def among_few():
            row, group = cells[:, 0], tf.cast(cells[:, 1], tf.int32)
            ids = group[:, None] * GROUP + tf.range(GROUP)  # (cells, GROUP)
            may_be = self.products.of(ids, tf.gather(rows, row)[:, None]) >= tf.gather(least, row)
            row = tf.gather(row, tf.where(may_be)[:, 0])
            ids = tf.RaggedTensor.from_value_rowids(
                tf.boolean_mask(ids, may_be), row, tf.size(known, tf.int64)
            ).to_tensor()
            if allowed is not None:
                ids = tf.where(tf.gather(allowed, ids, batch_dims=1), ids, 0)
            return model.best_candidates(encoded, known, k, out, ids)

        few = tf.shape(cells)[0] <= MANY
        return tf.cond(few, among_few, lambda: model.scan(encoded, known, k, out, allowed))


def common_axes(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Returns a rotation whose first axes hold most of items and queries.

    Arguments are float32 [n, width] and [m, width], the result is float32 [width, width]. The axes are the principal
    ones of both, equally weighted; a constant coordinate of the queries counts as any other.
    """
    parts = ((part.T @ part).astype(np.float64) for part in (vectors, queries))
    _, axes = np.linalg.eigh(sum(part / max(np.trace(part), 1e-30) for part in parts))
    return axes[:, ::-1].astype(np.float32)


def lengths(vectors: np.ndarray) -> np.ndarray:
    """Returns the lengths of vectors: float32 [n, width] -> float32 [n]."""
    return np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
