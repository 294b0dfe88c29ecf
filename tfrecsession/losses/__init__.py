from tfrecsession.losses.all_pairs import AllPairs
from tfrecsession.losses.bpr import BPR
from tfrecsession.losses.bpr_max import BPRMax
from tfrecsession.losses.cross_entropy import CrossEntropy
from tfrecsession.losses.full_softmax import full_softmax
from tfrecsession.losses.gbce import GBCE
from tfrecsession.losses.ranking_loss import Evaluated, Hits, RankingLoss, sampled_losses
from tfrecsession.losses.top1 import TOP1
from tfrecsession.losses.top1_max import TOP1Max

__all__ = [
    "BPR",
    "GBCE",
    "TOP1",
    "AllPairs",
    "BPRMax",
    "CrossEntropy",
    "Evaluated",
    "Hits",
    "RankingLoss",
    "TOP1Max",
    "full_softmax",
    "sampled_losses",
]
