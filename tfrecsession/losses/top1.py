"""The TOP1 loss: how many negatives are ahead, and how far all of them are from zero."""

import keras
from keras import ops

from tfrecsession.errors import InputError
from tfrecsession.losses.ranking_loss import RankingLoss, activate, mean_of_kept


@keras.saving.register_keras_serializable(package="tfrecsession")
class TOP1(RankingLoss):
    """L = 1/n sum_j [ sigmoid(r_j - r_i) + regularization * sigmoid(r_j^2) ]

    From arXiv 1511.06939, section 3.3: a smooth relative rank of the target, and a penalty that keeps the scores of
    negatives near zero. n counts the negatives that are not masked. The authors' code takes the mean over all B columns
    and then subtracts sigmoid(r_i^2) / B, the target's own penalty, so that the target's column adds sigmoid(0) / B.
    Its loss is therefore (B - 1) / B times this one plus the constant 1 / (2 B).

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
            raise InputError(f"regularization={regularization}, elu={elu}: must be at least 0 for TOP1")
        self.regularization = regularization
        self.elu = elu

    def compare(self, positive, negatives, keep=None):
        positive, negatives = activate(positive, negatives, keep, self.elu)
        terms = ops.sigmoid(negatives - positive[..., None])
        if self.regularization:
            terms += self.regularization * ops.sigmoid(ops.square(negatives))
        return mean_of_kept(terms, keep)

    def get_config(self):
        return super().get_config() | {"regularization": self.regularization, "elu": self.elu}
