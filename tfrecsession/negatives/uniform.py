"""Negatives sampled uniformly from the catalogue."""

import math

import keras
from keras import ops

from tfrecsession.negatives.negatives import Negatives


@keras.saving.register_keras_serializable(package="tfrecsession")
class Uniform(Negatives):
    """P(i) = 1 / items, with replacement: alpha 0 of arXiv 1706.03847, section 3.1, without a table.

    The weakest choice where popularity is skewed: sampled items hardly ever compete with the target.

    Args:
        count, mask_hits, seed: as in `Negatives`.
    """

    def fill(self, counts):
        """Does nothing: the counts do not matter."""

    def draw(self, targets=None):
        return keras.random.randint((self.count,), 2, self.size, seed=self.seed_generator)

    def log_probability(self, ids):
        return ops.full(ops.shape(ids), -math.log(self.size - 2), dtype="float32")

    def log_weight(self, ids):
        return ops.zeros(ops.shape(ids), dtype="float32")
