"""An exact index in two passes: bounds of all scores in bfloat16, then the items that may be among the best."""

from __future__ import annotations

import bisect

import numpy as np
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.export.ivf_index import query_vectors
from tfrecsession.export.searched_index import LOW, SearchedIndex

GROUP = 64  # items whose largest bound stands for them in the first selection
GROUPS = 256  # groups whose items are looked at one by one
KEPT = 512  # items that are scored in float32
MANY = 4096  # groups in which the second attempt looks, for all histories together
STEP = 16  # columns by which a wider table of the first pass is tried
PROVEN = 0.95  # share of histories whose answer must be proven at the first attempt
ROUNDING = 2.0**-8  # relative error of a number that was rounded to bfloat16, twice the largest
SUMS = 3e-5  # of the product of two lengths: more than what sums in float32 lose


class TwoPassIndex(SearchedIndex):
    """An index whose answers are those of `exact`, at less cost.

    Vectors are rotated so that their first coordinates hold most of the scores. The rest of a vector is kept as its
    length alone: by Cauchy and Schwarz, the product of the lengths of two rests is at least the product of the rests.
    So the product of two shortened vectors is an upper bound of the score.

    The bounds of all items are computed in bfloat16, and the `KEPT` items with the largest are scored in float32. The
    scores of the others have a limit (see `slack`): an answer whose worst score is above it is proven exact. Otherwise
    all items whose bound reaches this worst score are scored, or all items where these are many.

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
        vectors = np.zeros((-(-self.size // GROUP) * GROUP, coordinates + 2), np.float32)
        items = vectors[2 : self.size]
        vectors[:, -1] = LOW  # queries are 1 there: padding is never among the best
        items[:, :-2], items[:, -1] = rotated[2:, :coordinates], 0
        items[:, -2] = lengths(rotated[2:, coordinates:])
        self.vectors = tf.Variable(tf.cast(vectors, tf.bfloat16), trainable=False)  # (groups GROUP, coordinates + 2)
        rounded = tf.cast(self.vectors, tf.float32).numpy()[2 : self.size]
        self.longest = float(lengths(rounded).max(initial=0))
        self.lost = float(lengths(items - rounded).max(initial=0))

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
        asked = tf.concat([tf.matmul(queries, self.first), rest, tf.ones_like(rest)], axis=1)
        bounds = Bounds(self, asked)
        return bounds.largest(searched, kept), bounds


class Bounds:
    """Upper bounds of the scores of all items, for the queries of a request.

    Bounds lie item by item, [items, n], so that the maxima of groups of items need no transposition of all of them.

    Args:
        index: a TwoPassIndex.
        asked: float32 [n, coordinates + 2], the shortened queries.

    Attributes:
        values: bfloat16 [items, n], less than the bounds by at most their rounding and `slack`.
        maxima: float32 [n, groups], the largest of each group.
        limit: float32 [n], no item that `largest` left out has a score above it.
    """

    def __init__(self, index: TwoPassIndex, asked):
        self.index, self.n, self.slack = index, tf.shape(asked)[0], slack(index, asked)
        self.values = tf.matmul(index.vectors, tf.cast(asked, tf.bfloat16), transpose_b=True)
        grouped = tf.reshape(self.values, (-1, GROUP, 1, self.n))
        maxima = tf.nn.max_pool2d(grouped, (GROUP, 1), (GROUP, 1), "VALID")  # several times faster than `reduce_max`
        maxima = tf.reshape(maxima, (index.vectors.shape[0] // GROUP, -1))
        self.maxima = tf.transpose(tf.cast(maxima, tf.float32))

    def largest(self, searched: int, kept):
        """Returns the `kept` items with the largest bounds, int32 [n, kept], and sets `limit`."""
        count = self.maxima.shape[1]
        best, groups = tf.math.top_k(self.maxima, min(searched + 1, count))
        limit = best[:, searched] if searched < count else tf.fill([self.n], LOW)  # of the groups that are left out
        ids = groups[:, :searched, None] * GROUP + tf.range(GROUP)  # (n, searched, GROUP)
        ids = tf.reshape(ids, (self.n, searched * GROUP))
        kept = tf.minimum(kept, searched * GROUP - 1)
        best, places = tf.math.top_k(self._of(ids, tf.range(tf.cast(self.n, tf.int64))[:, None]), kept + 1)
        limit = tf.maximum(limit, best[:, -1])
        self.limit = limit + ROUNDING * tf.abs(limit) + self.slack
        ids = tf.gather(ids, places[:, :kept], batch_dims=1)
        return tf.where(ids < self.index.size, ids, 0)

    def _of(self, ids, rows):
        """Returns the values of some items in some rows: int32 and int64 [...] -> float32 [...]."""
        cells = tf.cast(ids, tf.int64) * tf.cast(self.n, tf.int64) + rows
        return tf.cast(tf.gather(tf.reshape(self.values, [-1]), cells), tf.float32)

    def best(self, rows, least, encoded, known, k: int, out=None, allowed=None):
        """Returns the k best of all items for some rows, see `TopItems.find`.

        All items are scored whose bound reaches `least`; all items at all where these are in more than `MANY` groups.

        Args:
            rows: int64 [m], of the queries that the bounds are of.
            least: float32 [m], a score that k items reach; the lowest number where fewer were found.
            encoded, known, out, allowed: as in `find`, of the m rows.
        """
        model = self.index.model
        least = least - tf.gather(self.slack, rows)
        least = tf.where(known, least / (1 + tf.sign(least) * ROUNDING), LOW)
        least = tf.maximum(least, LOW / 2)[:, None]  # lower bounds are not enough; padding is LOW
        cells = tf.where(tf.gather(self.maxima, rows) >= least)  # (cells, 2), by row, then by group

        def among_few():
            row, group = cells[:, 0], tf.cast(cells[:, 1], tf.int32)
            ids = group[:, None] * GROUP + tf.range(GROUP)  # (cells, GROUP)
            may_be = self._of(ids, tf.gather(rows, row)[:, None]) >= tf.gather(least, row)
            row = tf.gather(row, tf.where(may_be)[:, 0])
            ids = tf.RaggedTensor.from_value_rowids(
                tf.boolean_mask(ids, may_be), row, tf.size(known, tf.int64)
            ).to_tensor()
            if allowed is not None:
                ids = tf.where(tf.gather(allowed, ids, batch_dims=1), ids, 0)
            return model.best_candidates(encoded, known, k, out, ids)

        few = tf.shape(cells)[0] <= MANY
        return tf.cond(few, among_few, lambda: model.scan(encoded, known, k, out, allowed))


def slack(index: TwoPassIndex, asked):
    """Returns by how much a score may be above its bound in bfloat16, but for the rounding of that bound.

    With rounded vectors q' and v' a bound is q v = q' v' + (q - q') v' + q (v - v'). The second part is at most
    |q - q'| times the longest |v'|, the third |q| times the largest |v - v'|. The product q' v' is a sum in float32
    that is rounded to bfloat16 at its end.

    Args:
        asked: float32 [n, coordinates + 2], the shortened queries.

    Returns:
        float32 [n].
    """
    asked = asked[:, :-1]
    length = tf.norm(asked, axis=1)
    lost = tf.norm(asked - tf.cast(tf.cast(asked, tf.bfloat16), tf.float32), axis=1)
    return lost * index.longest + length * index.lost + SUMS * length * index.longest


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
