"""The BPR loss: the positive should score above every negative."""

import keras
from keras import ops

from tfrecsession.errors import InputError
from tfrecsession.losses.ranking_loss import RankingLoss, activate, mean_of_kept


@keras.saving.register_keras_serializable(package="tfrecsession")
class BPR(RankingLoss):
    """L = -1/n sum_j log sigmoid(r_i - r_j) = 1/n sum_j softplus(r_j - r_i)

    From arXiv 1511.06939, section 3.3, after Rendle et al. (arXiv 1205.2618). n counts the negatives that are not
    masked. The authors' code takes the mean over all B columns; the target's own adds the constant log(2) / B, so that
    its loss is (B - 1) / B times this one plus that constant. With many negatives, a positive that leads nearly all of
    them hardly learns any more (arXiv 1706.03847, section 3.2); `BPRMax` solves this.

    Args:
        elu: if above 0, scores pass through elu with this alpha first (the authors' `elu-0.5`, `elu-1`); 0 is linear.
        **kwargs: `logq`, `reduction` and `name`, as in `RankingLoss`.

    Raises:
        InputError: `elu` below 0.

    Examples:
        >>> import numpy as np
        >>> scores = np.array([[2.0, 1.0, 5.0]])  # the target, two negatives
        >>> round(float(BPR()([[1, 1, 0]], scores)), 4)  # the second negative is masked
        0.3133
    """

    def __init__(self, elu=0.0, **kwargs):
        super().__init__(**kwargs)
        if elu < 0:
            raise InputError(f"elu={elu}: must be at least 0 for BPR")
        self.elu = elu

    def compare(self, positive, negatives, keep=None):
        positive, negatives = activate(positive, negatives, keep, self.elu)
        return mean_of_kept(ops.softplus(negatives - positive[..., None]), keep)

    def get_config(self):
        return super().get_config() | {"elu": self.elu}
