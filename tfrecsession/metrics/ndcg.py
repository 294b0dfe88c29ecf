"""Normalised discounted cumulative gain at k."""

import keras
from keras import ops

from tfrecsession.metrics.ranking_metric import RankingMetric


@keras.saving.register_keras_serializable(package="tfrecsession")
class NDCG(RankingMetric):
    """Mean of 1 / log2(rank + 1), 0 beyond the first k: with one target the ideal gain is 1.

    Examples:
        >>> metric = NDCG(20)
        >>> metric.update_from_ranks([1, 3, 50])
        >>> float(metric.result())
        0.5
    """

    label = "ndcg"

    def worth(self, ranks):
        return 1.0 / ops.log2(ranks + 1.0)
