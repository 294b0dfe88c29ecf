"""Negatives sampled by popularity rank, as if popularity followed Zipf's law."""

import math

import keras
from keras import ops

from tfrecsession.negatives.negatives import Negatives


@keras.saving.register_keras_serializable(package="tfrecsession")
class LogUniform(Negatives):
    """P(rank) = log((rank + 1) / rank) / log(items + 1), with replacement; rank 1 is the most popular item.

    Ids are sorted by falling count, so that an item's rank is its id minus one and no table is needed. Items that a
    refit adds stand behind the others. The distribution is that of TensorFlow's `log_uniform_candidate_sampler`: close
    to popularity where the k-th item has 1 / k of the first item's events.

    Args:
        count, mask_hits, seed: as in `Negatives`.

    Examples:
        >>> import numpy as np
        >>> sampler = LogUniform(1000)
        >>> sampler.build_from([0, 0, 9, 5, 2])
        >>> np.exp(sampler.log_probability([2, 3, 4])).round(4)
        array([0.5   , 0.2925, 0.2075], dtype=float32)
    """

    def fill(self, counts):
        """Does nothing: only the order of the counts matters, which is that of the ids."""

    def draw(self, targets=None):
        # float32 has too few values for the tail of a large catalogue: every second item would never be sampled
        u = keras.random.uniform((self.count,), dtype="float64", seed=self.seed_generator)
        rank = ops.cast(ops.exp(u * math.log(self.size - 1)), "int32")  # 1 .. items
        return ops.minimum(rank, self.size - 2) + 1

    def log_probability(self, ids):
        rank = ops.cast(ops.maximum(ids, 2), "float32") - 1.0  # finite for padding and unknown, which are never sampled
        return ops.log(ops.log1p(1.0 / rank)) - math.log(math.log(self.size - 1))
