"""Recall@k."""

import keras
from keras import ops

from tfrecsession.metrics.ranking_metric import RankingMetric


@keras.saving.register_keras_serializable(package="tfrecsession")
class Recall(RankingMetric):
    """Share of events whose next item is among the first k. With one target per event it is also the hit rate."""

    label = "recall"

    def worth(self, ranks):
        return ops.ones_like(ranks)
