"""In-batch negatives: the targets of the other events of the step."""

import keras
import numpy as np
from keras import ops

from tfrecsession.errors import InputError
from tfrecsession.negatives.negatives import Negatives, log_support


@keras.saving.register_keras_serializable(package="tfrecsession")
class InBatch(Negatives):
    """The negatives of a target are all other targets of the step (arXiv 1511.06939, section 3.2).

    Targets occur as often as their items, so this samples by popularity without a draw: P(i) = support_i / events. In
    session-parallel batches the negatives are the targets of the other lanes, one per lane. In packed rows they are all
    targets of the step, including later ones of the same session. Alone they are few and all popular, which costs 20
    to 35% of Recall@20 (arXiv 2307.14956): `Mixture` adds sampled ones.

    There is one column per cell of the targets, so that shapes stay static. Cells without a target are masked for all
    targets, and every target is masked for itself.

    Args:
        mask_hits: whether other events with the same target are masked too. The authors of GRU4Rec do not mask them.
    """

    def __init__(self, mask_hits=True, **kwargs):
        super().__init__(None, mask_hits=mask_hits, **kwargs)

    def build(self, size):
        super().build(size)
        self.log_probabilities = self.add_weight(
            shape=(size,), initializer="zeros", dtype="float32", trainable=False, autocast=False, name="log_support"
        )

    def fill(self, counts):
        support = log_support(counts)
        self.log_probabilities.assign(support - np.log(np.sum(np.asarray(counts, np.float64)[2:])))

    def draw(self, targets=None):
        """Returns the targets [...], flattened: int32 [cells]. Cells without a target stay: `keep` masks them."""
        if targets is None:
            raise InputError("targets: InBatch has no items of its own; call draw(targets) with those of the step")
        return ops.reshape(ops.cast(targets, "int32"), (-1,))

    def log_probability(self, ids):
        return ops.take(self.log_probabilities, ids)

    def log_weight(self, ids):
        """Returns log support."""
        return self.log_probability(ids) - self.log_probabilities[0]  # row 0 stands for a single event

    def keep(self, targets, negatives):
        real = negatives > 1
        if self.mask_hits:
            return real & ops.not_equal(targets[..., None], negatives)
        cells = ops.arange(ops.shape(negatives)[0])
        return real & ops.not_equal(ops.reshape(cells, ops.shape(targets))[..., None], cells)

    def hits(self, targets, negatives):
        return None  # `keep` also masks whole columns

    def get_config(self):
        return {name: value for name, value in super().get_config().items() if name not in ("count", "seed")}
