"""Mean reciprocal rank at k."""

import keras

from tfrecsession.metrics.ranking_metric import RankingMetric


@keras.saving.register_keras_serializable(package="tfrecsession")
class MRR(RankingMetric):
    """Mean of 1 / rank of the next item, 0 beyond the first k.

    Examples:
        >>> metric = MRR(20)
        >>> metric.update_from_ranks([1, 4, 50])
        >>> round(float(metric.result()), 4)
        0.4167
    """

    label = "mrr"

    def worth(self, ranks):
        return 1.0 / ranks
