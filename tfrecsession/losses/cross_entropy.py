"""Cross-entropy over the positive and its sampled negatives."""

import keras
import tensorflow as tf
from keras import ops

from tfrecsession.errors import InputError
from tfrecsession.losses.full_softmax import full_softmax
from tfrecsession.losses.ranking_loss import RankingLoss, hide, mean_of_kept, scores_of_negatives


@keras.saving.register_keras_serializable(package="tfrecsession")
class CrossEntropy(RankingLoss):
    """-log softmax of the positive among {positive} + negatives.

    L = log(exp(r_i) + sum_j exp(r_j)) - r_i = softplus(logsumexp_j(r_j) - r_i)

    The second form needs neither a concatenation nor the paper's 1e-24 in the logarithm (arXiv 1706.03847, section 2).
    With logq=1 it is sampled softmax with the correction of Bengio and Senecal, the authors' choice for large data.

    Args:
        smoothing: share of the target's probability that is spread evenly over all compared items, itself included:
            L + smoothing (r_i - mean of all r). 0: none.
        logq, top: as in `RankingLoss`.

    Examples:
        >>> import numpy as np
        >>> scores = np.array([[2.0, 1.0, 0.0]])  # the target, two negatives
        >>> round(float(CrossEntropy()(np.ones_like(scores), scores)), 4)
        0.4076
    """

    def __init__(self, smoothing=0.0, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= smoothing < 1:
            raise InputError(f"smoothing={smoothing}: must be a number from 0 to below 1")
        self.smoothing = smoothing

    def losses(self, hidden, targets, items, negatives=None, score_dtype=None):
        """As `RankingLoss.losses`; without negatives the full softmax, see `full_softmax`."""
        if negatives is not None:
            return super().losses(hidden, targets, items, negatives, score_dtype)
        vectors, biases = items.all_vectors()
        queries = ops.cast(items.query(hidden), items.compute_dtype)
        losses = full_softmax(queries, vectors, targets, biases)
        if not self.smoothing:
            return losses
        mean = ops.sum(ops.cast(queries, "float32") * ops.mean(vectors[2:], axis=0), axis=-1)  # (n,)
        mean += 0.0 if biases is None else ops.mean(biases[2:])
        return losses + self.smoothing * (ops.cast(items.score_each(hidden, targets), "float32") - mean)

    def log_probabilities(self, hidden, targets, items, negatives=None, score_dtype=None, excluded=None):
        """Estimates the log of each target's share of the full softmax, for losses that mix it with other shares.

            log p = r_i - log(exp(r_i) + sum_j exp(r_j - logq log n_j))

        n_j is how often the item is expected in the draw. With logq=1 the sum is an unbiased estimate of all other
        items, and the target, which is not sampled, stands for itself (arXiv 2507.09331). `losses` has the same
        minimum, but its value depends on how often the target is sampled. `smoothing` takes no part.

        Args:
            hidden, targets, items, negatives, score_dtype: as in `losses`.
            excluded: int32 [n, few], items that take no part in the softmax; values below 2 are no items, and what is
                returned for an excluded target is not defined. None: all take part.

        Returns:
            float32 [n].
        """
        if negatives is None:
            vectors, biases = items.all_vectors()
            log_share = -full_softmax(ops.cast(items.query(hidden), items.compute_dtype), vectors, targets, biases)
            return log_share if excluded is None else log_share - log_rest(log_share, hidden, targets, items, excluded)
        drawn = negatives.draw(targets)
        positive = ops.cast(items.score_each(hidden, targets), "float32")
        shift = -self.logq * negatives.log_expected(drawn, targets) if self.logq else None
        cells = None if excluded is None else excluded_cells(excluded, drawn, negatives)
        scores, keep = scores_of_negatives(self, hidden, targets, drawn, items, negatives, shift, score_dtype, cells)
        return -ops.softplus(log_sum_exp(hide(scores, keep), positive))

    def compare(self, positive, negatives, keep=None):
        positive = ops.cast(positive, "float32")
        losses = ops.softplus(log_sum_exp(hide(negatives, keep), positive))
        if not self.smoothing:
            return losses
        kept = ops.sum(hide(ops.ones_like(negatives), keep, 0.0), axis=-1)
        mean = (mean_of_kept(ops.cast(negatives, "float32"), keep) * kept + positive) / (kept + 1)
        return losses + self.smoothing * (positive - mean)

    def get_config(self):
        return super().get_config() | {"smoothing": self.smoothing}


def log_rest(log_share, hidden, targets, items, excluded):
    """Returns the log of 1 minus the shares of the excluded items in the full softmax, float32 [n].

    Args:
        log_share: float32 [n], of the targets.
        hidden, targets, items, excluded: as in `CrossEntropy.log_probabilities`.
    """
    few = tf.shape(excluded)[1]
    total = ops.cast(items.score_each(hidden, targets), "float32") - log_share  # (n,): log sum of exp of all scores
    scores = items.score_each(tf.repeat(hidden, few, axis=0), tf.reshape(excluded, [-1]))  # (n * few,)
    scores = tf.reshape(ops.cast(scores, "float32"), tf.shape(excluded))  # (n, few)
    is_same = excluded[:, :, None] == excluded[:, None]  # (n, few, few)
    is_first = ~tf.reduce_any(is_same & (tf.range(few)[:, None] > tf.range(few)), axis=-1)  # (n, few)
    shares = tf.where((excluded > 1) & is_first, tf.exp(tf.minimum(scores - total[:, None], 0.0)), 0.0)  # (n, few)
    return tf.math.log1p(-tf.minimum(tf.reduce_sum(shares, axis=1), 1 - 1e-6))


def excluded_cells(excluded, drawn, negatives):
    """Returns where excluded items stand in a draw: [n, few], [count] -> int32 [cells, 2], (row, index in the draw)."""
    cells = negatives.cells_of(tf.reshape(excluded, [-1]), drawn)
    return tf.stack([cells[:, 0] // tf.shape(excluded)[1], cells[:, 1]], axis=1)


def log_sum_exp(scores, origin):
    """Computes log sum_j exp(scores_j - origin) over the last axis: [..., n], [...] -> [...].

    The softmax is the gradient and most of the work, so it is computed once. `origin` is subtracted before the
    logarithm is added, because a float32 near 10,000 keeps only its first few decimals.
    """

    @ops.custom_gradient
    def compute(scores, origin):
        softmax = ops.softmax(scores, axis=-1)
        # the softmax of the largest score is exp(max) / sum(exp), never below 1 / n
        total = ops.max(scores, axis=-1) - origin - ops.log(ops.max(softmax, axis=-1))

        def gradient(*args, upstream=None):
            upstream = args[0] if upstream is None else upstream
            return softmax * upstream[..., None], -upstream

        return total, gradient

    return compute(scores, origin)
