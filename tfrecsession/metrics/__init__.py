from tfrecsession.metrics.mrr import MRR
from tfrecsession.metrics.ndcg import NDCG
from tfrecsession.metrics.ranking_metric import RankingMetric
from tfrecsession.metrics.ranks import best_items, conservative_ranks, top_k
from tfrecsession.metrics.recall import Recall
from tfrecsession.metrics.trips import displacement, diversity, pair_f1

__all__ = [
    "MRR",
    "NDCG",
    "RankingMetric",
    "Recall",
    "best_items",
    "conservative_ranks",
    "displacement",
    "diversity",
    "pair_f1",
    "top_k",
]
