from tfrecsession.metrics.mrr import MRR
from tfrecsession.metrics.ndcg import NDCG
from tfrecsession.metrics.ranking_metric import RankingMetric
from tfrecsession.metrics.ranks import conservative_ranks
from tfrecsession.metrics.recall import Recall

__all__ = ["MRR", "NDCG", "RankingMetric", "Recall", "conservative_ranks"]
