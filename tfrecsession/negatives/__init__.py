from tfrecsession.negatives.in_batch import InBatch
from tfrecsession.negatives.log_uniform import LogUniform
from tfrecsession.negatives.mixture import Mixture
from tfrecsession.negatives.negatives import Negatives
from tfrecsession.negatives.popularity import Popularity
from tfrecsession.negatives.uniform import Uniform

__all__ = ["InBatch", "LogUniform", "Mixture", "Negatives", "Popularity", "Uniform"]
