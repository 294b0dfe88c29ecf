"""Generalized binary cross-entropy: sampled negatives without the overconfidence they bring."""

import keras
from keras import ops

from tfrecsession.errors import InputError
from tfrecsession.losses.ranking_loss import RankingLoss, hide, mean_of_kept, sampled_losses


@keras.saving.register_keras_serializable(package="tfrecsession")
class GBCE(RankingLoss):
    """L = 1 / (n + 1) (beta softplus(-r_i) + sum_j softplus(r_j)),   beta = 1 - calibration (1 - rate)

    From gSASRec (arXiv 2308.07192): binary cross-entropy with the positive probability sigmoid(r_i)^beta. rate is the
    share of the other items that is sampled, n / (items - 1); the paper's beta, rate (t (1 - 1 / rate) + 1 / rate), is
    the same. -log sigmoid(r)^beta = beta softplus(-r) needs no float64, which the authors' code converts scores to.

    Args:
        calibration: t of the paper, 0 to 1. 0 is binary cross-entropy; with 1, sigmoid(r_i) estimates probabilities,
            and learns slower.
        rate: the sampling rate; None: that of the model's sampler and catalogue. As a Keras loss it must be given.

    Examples:
        >>> import numpy as np
        >>> scores = np.array([[2.0, 1.0, 0.0]])  # the target, two negatives
        >>> round(float(GBCE(0.75, rate=0.1)(np.ones_like(scores), scores)), 4)
        0.6826
    """

    def __init__(self, calibration=0.75, rate=None, **kwargs):
        super().__init__(**kwargs)
        for name, value in (("calibration", calibration), ("rate", rate)):
            if not (value is None and name == "rate") and not 0 <= value <= 1:
                raise InputError(f"{name}={value}: must be a number from 0 to 1 for GBCE")
        self.calibration = calibration
        self.rate = rate

    def losses(self, hidden, targets, items, negatives=None, score_dtype=None):
        if negatives is None or self.rate is not None:
            return super().losses(hidden, targets, items, negatives, score_dtype)
        drawn = negatives.draw(targets)
        rate = ops.minimum(ops.cast(ops.shape(drawn)[0], "float32") / max(items.size - 3, 1), 1.0)
        loss = GBCE(self.calibration, logq=self.logq, top=self.top)
        loss.rate = rate
        return sampled_losses(loss, hidden, targets, drawn, items, negatives, score_dtype)

    def compare(self, positive, negatives, keep=None):
        if self.rate is None:
            raise InputError("rate=None: must be the share of the catalogue that is sampled, e.g. GBCE(rate=0.05)")
        beta = 1 - self.calibration * (1 - self.rate)
        positive, negatives = ops.cast(positive, "float32"), ops.cast(negatives, "float32")
        kept = ops.sum(hide(ops.ones_like(negatives), keep, 0.0), axis=-1)
        total = mean_of_kept(ops.softplus(negatives), keep) * kept
        return (beta * ops.softplus(-positive) + total) / (kept + 1)

    def get_config(self):
        return super().get_config() | {"calibration": self.calibration, "rate": self.rate}
