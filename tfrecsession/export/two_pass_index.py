"""An exact index in two passes: all items in bfloat16, then the best of them in float32."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.export.searched_index import LOW, SearchedIndex
from tfrecsession.layers.blocks import in_blocks

GROUP = 64  # items whose largest score stands for them in the first selection
GROUPS = 96  # groups whose items are looked at one by one
KEPT = 512  # items that are scored in float32
ROUNDING = 2.0**-8  # relative error of a number that was rounded to bfloat16, twice the largest
SUMS = 1e-5  # of the product of two lengths: more than what sums in float32 lose


class TwoPassIndex(SearchedIndex):
    """An index whose answers are those of `exact`, at less cost where the processor multiplies bfloat16.

    All items are scored in bfloat16, the `KEPT` best again in float32. The scores of the others have an upper bound
    (see `limits`): an answer whose worst score is above it is proven exact. Otherwise all items are scored in float32.

    Scores lie item by item, [items, n], so that the maxima of groups of items need no transposition of all scores.

    Args:
        model: a Recommender that scores by dot products.

    Raises:
        InputError: the scores of the model are more than products with vectors that are fixed at export.
    """

    kind, title = "exact-two-pass", "an index of two passes"

    def __init__(self, model):
        if model.repeat_head is not None or model.item_shift() is not None:
            what = "repeats" if model.repeat_head is not None else "trend"
            raise InputError(
                f"index='exact-two-pass': must be 'exact' for a model with {what}, whose scores are more than products "
                "with fixed vectors"
            )
        super().__init__(model)
        matrix = np.asarray(model.fixed_vectors(tf.range(model.size)), np.float32)
        groups = -(-len(matrix) // GROUP)
        vectors = np.zeros((groups * GROUP, matrix.shape[1] + 1), np.float32)
        vectors[:, -1] = LOW  # queries are 1 there: padding is never among the best
        vectors[2 : len(matrix), :-1], vectors[2 : len(matrix), -1] = matrix[2:], 0
        self.vectors = tf.Variable(tf.cast(vectors, tf.bfloat16), trainable=False)  # (groups GROUP, width + 1)
        rounded = tf.cast(self.vectors, tf.float32).numpy()[2 : len(matrix), :-1]
        self.longest = float(np.sqrt(np.einsum("nd,nd->n", rounded, rounded).max(initial=0)))
        lost = matrix[2:] - rounded
        self.lost = float(np.sqrt(np.einsum("nd,nd->n", lost, lost).max(initial=0)))
        self.groups, self.kept = min(GROUPS, groups), min(KEPT, model.size)
        self.searched = self.groups
        self.settings = {"groups": self.groups, "candidates": self.kept}

    def candidates(self, queries, searched, kept):
        """Returns ids and limits, see `SearchedIndex`."""
        specs = tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None,), tf.float32)
        cells = self.vectors.shape[0] // 2 + 4 * searched * GROUP
        return in_blocks(lambda block: self._first_pass(block, searched, kept), [queries], cells, specs)

    def _first_pass(self, queries, searched, kept):
        rounded = tf.cast(queries, tf.bfloat16)
        asked = tf.pad(rounded, [[0, 0], [0, 1]], constant_values=1)  # (n, width + 1)
        scores = tf.matmul(self.vectors, asked, transpose_b=True)  # (items, n)
        n, count = tf.shape(queries)[0], self.vectors.shape[0] // GROUP
        maxima = tf.transpose(tf.reduce_max(tf.reshape(scores, (count, GROUP, n)), axis=1))  # (n, groups)
        best, groups = tf.math.top_k(tf.cast(maxima, tf.float32), min(searched + 1, count))
        limit = best[:, searched] if searched < count else tf.fill([n], LOW)  # of the groups that are left out
        ids = groups[:, :searched, None] * GROUP + tf.range(GROUP)  # (n, searched, GROUP)
        ids = tf.reshape(ids, (n, searched * GROUP))
        cells = ids * n + tf.range(n)[:, None]
        found = tf.cast(tf.gather(tf.reshape(scores, [-1]), cells), tf.float32)  # (n, searched GROUP)
        kept = tf.minimum(kept, searched * GROUP - 1)
        best, places = tf.math.top_k(found, kept + 1)
        limit = tf.maximum(limit, best[:, -1])
        return tf.gather(ids, places[:, :kept], batch_dims=1), self.limits(limit, queries, rounded)

    def limits(self, limit, queries, rounded):
        """Returns an upper bound of the scores in float32 of items whose scores in bfloat16 are at most `limit`.

        With rounded vectors q' and v' the score is q v = q' v' + (q - q') v' + q (v - v'). The second part is at most
        |q - q'| times the longest |v'|, the third |q| times the largest |v - v'|. The product q' v' is a sum in float32
        that is rounded to bfloat16 at its end.

        Args:
            limit: float32 [n].
            queries, rounded: float32 and bfloat16 [n, width], q and q'.

        Returns:
            float32 [n].
        """
        length = tf.norm(queries, axis=1)
        lost = tf.norm(queries - tf.cast(rounded, tf.float32), axis=1)
        slack = lost * self.longest + length * self.lost + SUMS * length * self.longest
        return limit + ROUNDING * tf.abs(limit) + slack
