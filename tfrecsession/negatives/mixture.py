"""Negatives from several samplers at once."""

import keras
from keras import ops

from tfrecsession.errors import InputError
from tfrecsession.negatives.in_batch import InBatch
from tfrecsession.negatives.negatives import Negatives

CORRECTIONS = ("parts", "pooled")


@keras.saving.register_keras_serializable(package="tfrecsession")
class Mixture(Negatives):
    """The negatives of several samplers, concatenated: `Mixture([InBatch(), Popularity(2048, alpha=0.5)])` is what
    GRU4Rec is trained with (arXiv 1706.03847, section 3.1).

    The logQ correction (`log_q`) subtracts one of two logarithms from a score:

    - `"parts"`, as in the authors' code: each column is corrected by its own sampler, without normalization: log
      support for `InBatch`, alpha * log support for `Popularity`. The target counts as a column of `InBatch`, or of
      the first sampler where there is no `InBatch`. The same item thus has two corrections in one step.
    - `"pooled"`: every column and the target by log sum_s n_s P_s(item), how often the item is expected among all
      columns; n_s is the count of sampler s (for `InBatch` the number of targets). Each item has one correction, and
      the sum over the columns is an unbiased estimate of the full softmax's.

    Args:
        draws: the samplers, each with its own `mask_hits` and seed; at most one `InBatch`.
        correction: "parts" or "pooled".

    Raises:
        InputError: `draws` is empty, holds anything but samplers or holds `InBatch` twice; unknown correction.
    """

    def __init__(self, draws, correction="parts", **kwargs):
        draws = list(draws)
        if not draws or not all(isinstance(part, Negatives) for part in draws):
            raise InputError(f"draws={draws!r}: must be a list of trs.negatives, e.g. [InBatch(), Uniform(100)]")
        if correction not in CORRECTIONS:
            raise InputError(f"correction={correction!r}: must be one of {', '.join(CORRECTIONS)}")
        for name in ("mask_hits", "seed"):
            if name in kwargs:
                raise InputError(f"{name}: must be set on each sampler in draws, not on the Mixture")
        fixed = [part.count for part in draws if part.count is not None]
        if len(fixed) < len(draws) - 1:
            raise InputError("draws: must have InBatch once, as the targets of a step can be its negatives only once")
        super().__init__(sum(fixed) if len(fixed) == len(draws) else None, **kwargs)
        self.draws = draws
        self.correction = correction

    def build(self, size):
        super().build(size)
        for part in self.draws:
            if not part.built:
                part.build(size)

    def fill(self, counts):
        for part in self.draws:
            part.build_from(counts)

    def draw(self, targets=None):
        return ops.concatenate([part.draw(targets) for part in self.draws])

    def keep(self, targets, negatives):
        columns = self._split(negatives)
        keeps = [part.keep(targets, ids) for part, ids in zip(self.draws, columns, strict=True)]
        if all(keep is None for keep in keeps):
            return None
        cells = ops.shape(targets)
        return ops.concatenate(
            [
                ops.broadcast_to(ops.ones_like(ids, dtype="bool") if keep is None else keep, (*cells, *ops.shape(ids)))
                for keep, ids in zip(keeps, columns, strict=True)
            ],
            axis=-1,
        )

    def hits(self, targets, negatives):
        return None  # a sampler may mask whole columns: see `keep`

    def log_probability(self, ids):
        """Returns log P(a random column holds the item), where every sampler has a fixed count."""
        if self.count is None:
            raise InputError("ids: with InBatch the probability depends on the step's targets; call log_q instead")
        return self.log_expected(ids, None) - ops.log(float(self.count))

    def log_weight(self, ids):
        return self.log_probability(ids)

    def log_q(self, targets, negatives):
        if self.correction == "pooled":
            return self.log_expected(targets, targets), self.log_expected(negatives, targets)
        target_sampler = next((part for part in self.draws if isinstance(part, InBatch)), self.draws[0])
        columns = zip(self.draws, self._split(negatives), strict=True)
        return target_sampler.log_weight(targets), ops.concatenate([part.log_weight(ids) for part, ids in columns])

    def log_expected(self, ids, targets=None):
        return ops.logsumexp(ops.stack([part.log_expected(ids, targets) for part in self.draws]), axis=0)

    def _split(self, negatives):
        """Splits the columns by sampler."""
        fixed = sum(part.count or 0 for part in self.draws)
        counts = [part.count if part.count is not None else ops.shape(negatives)[0] - fixed for part in self.draws]
        columns, start = [], 0
        for count in counts:
            columns.append(negatives[start : start + count])
            start = start + count
        return columns

    def get_config(self):
        config = {
            name: value for name, value in super().get_config().items() if name not in ("count", "mask_hits", "seed")
        }
        draws = [keras.saving.serialize_keras_object(part) for part in self.draws]
        return config | {"draws": draws, "correction": self.correction}

    @classmethod
    def from_config(cls, config):
        draws = [keras.saving.deserialize_keras_object(part) for part in config["draws"]]
        return cls(**config | {"draws": draws})
