"""The base of the ranking metrics: exact ranks in, a weighted mean out."""

import keras
from keras import ops

from tfrecsession.errors import InputError
from tfrecsession.metrics.ranks import conservative_ranks


class RankingMetric(keras.metrics.Metric):
    """The mean, over events, of a value that depends on the rank of the next item.

    Ranks are exact, over the whole catalogue; ties count against the model (`conservative_ranks`). A new metric is one
    file: a subclass with `worth` and a `label`.

    Args:
        k: length of the list; ranks beyond it have value 0.
        name: default: as papers write it, `recall@20`.

    Raises:
        InputError: k is not an integer of at least 1.
    """

    label: str  # the default name before the @
    _direction = "up"  # Keras' callbacks with mode="auto" maximize it

    def __init__(self, k=20, name=None, dtype=None):
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise InputError(f"k={k!r}: must be a whole number of at least 1 for {type(self).__name__}")
        super().__init__(name=name or f"{self.label}@{k}", dtype=dtype)
        self.k = k
        # float32 stops counting at 16.8 million events
        self.total = self.add_variable((), "zeros", dtype="float64", name="total")
        self.weight = self.add_variable((), "zeros", dtype="float64", name="weight")

    def worth(self, ranks):
        """Returns the values of ranks 1..k: float [n] -> float [n]."""
        raise NotImplementedError

    def of_each(self, ranks):
        """Returns the value of every rank, 0 beyond k: int [...], from 1 -> float64 [...]."""
        ranks = ops.cast(ranks, "float64")
        return ops.where(ranks <= self.k, self.worth(ranks), 0.0)

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds events.

        Args:
            y_true: target ids [...]; 0 where there is no event. The unknown item (1) is an event and counts as a miss.
            y_pred: scores [..., size] of the whole catalogue.
            sample_weight: [...], or None.
        """
        targets = ops.reshape(ops.cast(y_true, "int32"), (-1,))
        ranks = conservative_ranks(ops.reshape(y_pred, (-1, ops.shape(y_pred)[-1])), targets)
        events = ops.cast(targets > 0, "float64")
        if sample_weight is not None:
            events = events * ops.reshape(ops.cast(sample_weight, "float64"), (-1,))
        self.update_from_ranks(ranks, events)

    def update_from_ranks(self, ranks, sample_weight=None):
        """Adds events by their ranks (int [...], from 1); `sample_weight` [...], or None."""
        worth = self.of_each(ranks)
        weight = ops.ones_like(worth) if sample_weight is None else ops.cast(sample_weight, "float64")
        self.total.assign_add(ops.sum(worth * weight))
        self.weight.assign_add(ops.sum(weight))

    def result(self):
        """Returns the mean, from 0 to 1; 0 before the first event."""
        return ops.cast(ops.divide_no_nan(self.total, self.weight), self.dtype)

    def get_config(self):
        return super().get_config() | {"k": self.k}
