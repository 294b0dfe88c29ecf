from tfrecsession.losses.bpr_max import BPRMax
from tfrecsession.losses.cross_entropy import CrossEntropy
from tfrecsession.losses.ranking_loss import RankingLoss

__all__ = ["BPRMax", "CrossEntropy", "RankingLoss"]
