from tfrecsession.negatives.negatives import Negatives
from tfrecsession.negatives.popularity import Popularity

__all__ = ["Negatives", "Popularity"]
