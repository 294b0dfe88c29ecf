"""Cross-entropy over the positive and its sampled negatives."""

import keras
from keras import ops

from tfrecsession.losses.full_softmax import full_softmax
from tfrecsession.losses.ranking_loss import RankingLoss, hide


@keras.saving.register_keras_serializable(package="tfrecsession")
class CrossEntropy(RankingLoss):
    """-log softmax of the positive among {positive} + negatives.

    L = log(exp(r_i) + sum_j exp(r_j)) - r_i = softplus(logsumexp_j(r_j) - r_i)

    The second form needs neither a concatenation nor the paper's 1e-24 in the logarithm (arXiv 1706.03847, section 2).
    With logq=1 it is sampled softmax with the correction of Bengio and Senecal, the authors' choice for large data.

    Examples:
        >>> import numpy as np
        >>> scores = np.array([[2.0, 1.0, 0.0]])  # the target, two negatives
        >>> round(float(CrossEntropy()(np.ones_like(scores), scores)), 4)
        0.4076
    """

    def losses(self, hidden, targets, items, negatives=None, score_dtype=None):
        """As `RankingLoss.losses`; without negatives the full softmax, see `full_softmax`."""
        if negatives is not None:
            return super().losses(hidden, targets, items, negatives, score_dtype)
        vectors, biases = items.all_vectors()
        return full_softmax(ops.cast(hidden, items.compute_dtype), vectors, targets, biases)

    def compare(self, positive, negatives, keep=None):
        return ops.softplus(log_sum_exp(hide(negatives, keep), ops.cast(positive, "float32")))


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
