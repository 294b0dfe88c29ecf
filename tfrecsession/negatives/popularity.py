"""Negatives sampled by item popularity."""

import keras
import numpy as np
from keras import ops

from tfrecsession.negatives.alias_table import alias_table
from tfrecsession.negatives.negatives import Negatives, log_support


@keras.saving.register_keras_serializable(package="tfrecsession", name="PopularityNegatives")  # Popularity: a model
class Popularity(Negatives):
    """P(i) ~ support_i^alpha, with replacement: alpha 0 is uniform, 1 is popularity (arXiv 1706.03847, section 3.1).

    A draw costs constant time per item, whatever the size of the catalogue.

    Args:
        count: items per draw; the paper's gains level off at 2048.
        alpha: usually 0 to 1; the authors' best values lie between 0 and 0.75.
        mask_hits, seed: as in `Negatives`.

    Examples:
        >>> import numpy as np
        >>> sampler = Popularity(1000, alpha=0.5, seed=1)
        >>> sampler.build_from([0, 0, 16, 4, 0])  # padding, unknown, three items
        >>> np.exp(sampler.log_probability([2, 3])).round(4)
        array([0.6667, 0.3333], dtype=float32)
        >>> sampler.draw().shape
        TensorShape([1000])
    """

    def __init__(self, count, alpha=0.5, mask_hits=True, seed=None, **kwargs):
        super().__init__(count, mask_hits=mask_hits, seed=seed, **kwargs)
        self.alpha = alpha

    def build(self, size):
        super().build(size)
        self.threshold = self._weight((size - 2,), "float32", "threshold")
        self.alias = self._weight((size - 2,), "int32", "alias")
        self.log_probabilities = self._weight((size,), "float32", "log_probabilities")

    def fill(self, counts):
        logarithms = self.alpha * log_support(counts)
        weight = np.power(np.asarray(counts, np.float64)[2:], self.alpha)
        total = weight.sum()
        threshold, alias = alias_table(weight / total)
        self.threshold.assign(threshold)
        self.alias.assign(alias)
        self.log_probabilities.assign(logarithms - np.log(total))

    def draw(self, targets=None):
        slot = keras.random.randint((self.count,), 0, self.size - 2, seed=self.seed_generator)
        own = keras.random.uniform((self.count,), dtype="float32", seed=self.seed_generator)
        item = ops.where(own < ops.take(self.threshold, slot), slot, ops.take(self.alias, slot))
        return item + 2

    def log_probability(self, ids):
        return ops.take(self.log_probabilities, ids)

    def log_weight(self, ids):
        """Returns alpha * log support."""
        return self.log_probability(ids) - self.log_probabilities[0]  # row 0 stands for a single event

    def get_config(self):
        return super().get_config() | {"alpha": self.alpha}

    def _weight(self, shape, dtype, name):
        return self.add_weight(
            shape=shape, initializer="zeros", dtype=dtype, trainable=False, autocast=False, name=name
        )
