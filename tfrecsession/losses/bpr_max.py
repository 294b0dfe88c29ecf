"""The BPR-max loss: BPR, weighted towards the strongest negatives."""

import keras
from keras import ops

from tfrecsession.errors import InputError
from tfrecsession.losses.ranking_loss import MASKED, RankingLoss, activate


@keras.saving.register_keras_serializable(package="tfrecsession")
class BPRMax(RankingLoss):
    """L = -log sum_j s_j sigmoid(r_i - r_j) + regularization * sum_j s_j r_j^2,   s = softmax over the negatives alone.

    From arXiv 1706.03847, section 3.2. The sum underflows once the negatives lead by about 90. Because
    s_j sigmoid(r_i - r_j) = exp(r_i - logsumexp(r)) sigmoid(r_j - r_i), the same quantity is

        L = logsumexp_j(r_j) - r_i - log sum_j sigmoid(r_j - r_i) + ...

    which does not underflow and needs no 1e-24 in the logarithm.

    Args:
        regularization: weight of the score penalty (the authors' `bpreg`), at least 0.
        elu: if above 0, scores pass through elu with this alpha first (the authors' `elu-0.5`, `elu-1`); 0 is linear.

    Examples:
        >>> import numpy as np
        >>> scores = np.array([[2.0, 1.0, 0.0]])  # the target, two negatives
        >>> round(float(BPRMax(regularization=0.0)(np.ones_like(scores), scores)), 4)
        0.2596
    """

    def __init__(self, regularization=1.0, elu=0.0, **kwargs):
        super().__init__(**kwargs)
        if regularization < 0 or elu < 0:
            raise InputError(f"regularization={regularization}, elu={elu}: must be at least 0 for BPRMax")
        self.regularization = regularization
        self.elu = elu

    def compare(self, positive, negatives, keep=None):
        positive, negatives = activate(positive, negatives, keep, self.elu)
        return _bpr_max(positive, negatives, self.regularization)

    def get_config(self):
        return super().get_config() | {"regularization": self.regularization, "elu": self.elu}


def _bpr_max(positive, negatives, regularization):
    """Computes the loss with its gradient written out, which is half the work of automatic differentiation.

    With q_j = sigmoid(r_j - r_i), how far a negative is ahead, and R = sum_j s_j r_j^2:

        dL/dr_j = s_j (1 + regularization (r_j (r_j + 2) - R)) - q_j (1 - q_j) / sum q
        dL/dr_i = -sum_j q_j^2 / sum q
    """

    @ops.custom_gradient
    def compute(positive, negatives):
        strongest = ops.max(negatives, axis=-1)
        has_negatives = strongest > MASKED / 2
        # beyond a lead of 30 the loss is 0 in float32, but the sum of sigmoids would underflow
        leader = ops.minimum(positive, strongest + 30.0)

        s = ops.softmax(negatives, axis=-1)
        ahead = ops.sigmoid(negatives - leader[..., None])
        total = ops.sum(ahead, axis=-1)
        penalty = ops.sum(s * ops.square(negatives), axis=-1)
        log_sum_exp = strongest - leader - ops.log(ops.max(s, axis=-1))  # of the negatives, relative to the leader
        loss = log_sum_exp - ops.log(total) + regularization * penalty

        def gradient(*args, upstream=None):
            upstream = args[0] if upstream is None else upstream
            upstream = ops.where(has_negatives, upstream, 0.0)
            share = ahead * (upstream / total)[..., None]
            weight = (upstream * regularization)[..., None]
            rest = (upstream * (1.0 - regularization * penalty))[..., None]
            pull = s * ((negatives + 2.0) * negatives * weight + rest)
            return -ops.sum(share * ahead, axis=-1), pull - share * (1.0 - ahead)

        return ops.where(has_negatives, loss, 0.0), gradient

    return compute(positive, negatives)
