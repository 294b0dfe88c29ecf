from tfrecsession.metrics.mrr import MRR
from tfrecsession.metrics.ndcg import NDCG
from tfrecsession.metrics.ranking_metric import RankingMetric
from tfrecsession.metrics.ranks import best_items, conservative_ranks, top_k
from tfrecsession.metrics.recall import Recall

__all__ = ["MRR", "NDCG", "RankingMetric", "Recall", "best_items", "conservative_ranks", "top_k"]
