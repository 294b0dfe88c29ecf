"""The TOP1-max loss: TOP1, weighted towards the strongest negatives."""

import keras
from keras import ops

from tfrecsession.errors import InputError
from tfrecsession.losses.ranking_loss import MASKED, RankingLoss, activate


@keras.saving.register_keras_serializable(package="tfrecsession")
class TOP1Max(RankingLoss):
    """L = sum_j s_j [ sigmoid(r_j - r_i) + regularization * sigmoid(r_j^2) ],   s = softmax over the negatives alone.

    From arXiv 1706.03847, section 3.2. Unlike `TOP1` it does not fade as negatives are added: the softmax gives
    most weight to the strongest ones.

    Args:
        regularization: weight of the score penalty; the paper has 1.
        elu: if above 0, scores pass through elu with this alpha first (the authors' `elu-0.5`, `elu-1`); 0 is linear.
        **kwargs: `logq`, `reduction` and `name`, as in `RankingLoss`.

    Raises:
        InputError: `regularization` or `elu` below 0.
    """

    def __init__(self, regularization=1.0, elu=0.0, **kwargs):
        super().__init__(**kwargs)
        if regularization < 0 or elu < 0:
            raise InputError(f"regularization={regularization}, elu={elu}: must be at least 0 for TOP1Max")
        self.regularization = regularization
        self.elu = elu

    def compare(self, positive, negatives, keep=None):
        positive, negatives = activate(positive, negatives, keep, self.elu)
        return _top1_max(positive, negatives, self.regularization)

    def get_config(self):
        return super().get_config() | {"regularization": self.regularization, "elu": self.elu}


def _top1_max(positive, negatives, regularization):
    """Computes the loss with its gradient written out, which avoids a second pass over the softmax.

    With q_j = sigmoid(r_j - r_i), t_j = sigmoid(r_j^2) and L as above:

        dL/dr_j = s_j (q_j + regularization t_j - L) + s_j (q_j (1 - q_j) + regularization 2 r_j t_j (1 - t_j))
        dL/dr_i = -sum_j s_j q_j (1 - q_j)
    """

    @ops.custom_gradient
    def compute(positive, negatives):
        has_negatives = ops.max(negatives, axis=-1) > MASKED / 2
        s = ops.softmax(negatives, axis=-1)
        ahead = ops.sigmoid(negatives - positive[..., None])
        far = ops.sigmoid(ops.square(negatives))
        terms = ahead + regularization * far
        loss = ops.sum(s * terms, axis=-1)

        def gradient(*args, upstream=None):
            upstream = args[0] if upstream is None else upstream
            share = s * ops.where(has_negatives, upstream, 0.0)[..., None]
            slope = share * ahead * (1.0 - ahead)
            # t (1 - t) first: it is 0 where r^2 is large and so keeps the product with r finite
            pull = (2.0 * regularization) * (far * (1.0 - far)) * negatives
            return -ops.sum(slope, axis=-1), share * (terms - loss[..., None] + pull) + slope

        return ops.where(has_negatives, loss, 0.0), gradient

    return compute(positive, negatives)
