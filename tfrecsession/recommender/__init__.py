"""The contract of every model: fit, evaluate, recommend, save and export."""

from typing import TYPE_CHECKING

from tfrecsession.lazy_names import lazy

if TYPE_CHECKING:
    from tfrecsession.recommender.counting_model import CountingModel
    from tfrecsession.recommender.explain import Explanations
    from tfrecsession.recommender.recommend import Recommendations
    from tfrecsession.recommender.recommender import Recommender
    from tfrecsession.recommender.search_space import Choice, Float, Int
    from tfrecsession.recommender.sequence_model import SequenceModel
    from tfrecsession.recommender.streaming import Streaming

_NAMES = {
    "Choice": "search_space",
    "CountingModel": "counting_model",
    "Explanations": "explain",
    "Float": "search_space",
    "Int": "search_space",
    "Recommendations": "recommend",
    "Recommender": "recommender",
    "SequenceModel": "sequence_model",
    "Streaming": "streaming",
}
__all__ = [
    "Choice",
    "CountingModel",
    "Explanations",
    "Float",
    "Int",
    "Recommendations",
    "Recommender",
    "SequenceModel",
    "Streaming",
]
__getattr__, __dir__ = lazy(__name__, _NAMES)
