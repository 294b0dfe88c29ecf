"""The models. A new one is a file here and a line in MODELS."""

import difflib

from tfrecsession.errors import InputError
from tfrecsession.models.answers import Recommendations
from tfrecsession.models.gru4rec import GRU4Rec
from tfrecsession.models.item_knn import ItemKNN
from tfrecsession.models.popularity import Popularity
from tfrecsession.models.recommender import Recommender
from tfrecsession.models.sequence_model import SequenceModel

# The names that `tfrecsession train --model NAME` knows.
MODELS = {
    "popularity": Popularity,
    "item_knn": ItemKNN,
    "gru4rec": GRU4Rec,
}


def by_name(name: str) -> type[Recommender]:
    """The class of a model by its snake-case name; InputError lists the known ones, nearest first."""
    if name in MODELS:
        return MODELS[name]
    near = difflib.get_close_matches(name, MODELS, n=len(MODELS), cutoff=0.0)
    raise InputError(f"no model is called {name!r}; there are: {', '.join(near)}")


__all__ = ["MODELS", "GRU4Rec", "ItemKNN", "Popularity", "Recommendations", "Recommender", "SequenceModel", "by_name"]
