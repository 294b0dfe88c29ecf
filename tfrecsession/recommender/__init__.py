"""The contract of every model: fit, evaluate, recommend, save and export."""

from tfrecsession.recommender.counting_model import CountingModel
from tfrecsession.recommender.recommend import Recommendations
from tfrecsession.recommender.recommender import Recommender
from tfrecsession.recommender.search_space import Choice, Float, Int
from tfrecsession.recommender.sequence_model import SequenceModel
from tfrecsession.recommender.streaming import Streaming

__all__ = ["Choice", "CountingModel", "Float", "Int", "Recommendations", "Recommender", "SequenceModel", "Streaming"]
