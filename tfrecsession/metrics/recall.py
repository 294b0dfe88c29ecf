"""Recall@k."""

import keras
from keras import ops

from tfrecsession.metrics.ranking_metric import RankingMetric


@keras.saving.register_keras_serializable(package="tfrecsession")
class Recall(RankingMetric):
    """Share of events whose next item is among the first k. With one target per event it is also the hit rate.

    Examples:
        >>> metric = Recall(20)
        >>> metric.update_from_ranks([1, 3, 50, 20])
        >>> float(metric.result())
        0.75
    """

    label = "recall"

    def worth(self, ranks):
        return ops.ones_like(ranks)
