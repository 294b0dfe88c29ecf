"""The models. A new one is a file here and a line in MODELS."""

import difflib

import tfrecsession.metrics
import tfrecsession.optimizers  # what a saved model is compiled with: Keras finds only what was imported  # noqa: F401
from tfrecsession.errors import InputError
from tfrecsession.models.als import ALS
from tfrecsession.models.association_rules import AssociationRules
from tfrecsession.models.gru4rec import GRU4Rec
from tfrecsession.models.hrnn import HRNN
from tfrecsession.models.item_knn import ItemKNN
from tfrecsession.models.markov_chain import MarkovChain
from tfrecsession.models.matrix_factorization import MatrixFactorization
from tfrecsession.models.narm import NARM
from tfrecsession.models.popularity import Popularity
from tfrecsession.models.random_order import Random
from tfrecsession.models.sequential_rules import SequentialRules
from tfrecsession.models.session_aggregation import SessionAggregation
from tfrecsession.models.session_popularity import SessionPopularity
from tfrecsession.models.sknn import SKNN
from tfrecsession.models.slist import SLIST
from tfrecsession.models.stan import STAN
from tfrecsession.models.two_tower import TwoTower
from tfrecsession.models.vsknn import VSKNN
from tfrecsession.models.vstan import VSTAN
from tfrecsession.recommender.recommend import Recommendations
from tfrecsession.recommender.recommender import Recommender
from tfrecsession.recommender.sequence_model import SequenceModel
from tfrecsession.recommender.streaming import Streaming

MODELS = {
    "random": Random,
    "popularity": Popularity,
    "session_popularity": SessionPopularity,
    "association_rules": AssociationRules,
    "markov": MarkovChain,
    "sequential_rules": SequentialRules,
    "item_knn": ItemKNN,
    "sknn": SKNN,
    "vsknn": VSKNN,
    "stan": STAN,
    "vstan": VSTAN,
    "session_aggregation": SessionAggregation,
    "slist": SLIST,
    "matrix_factorization": MatrixFactorization,
    "als": ALS,
    "two_tower": TwoTower,
    "gru4rec": GRU4Rec,
    "narm": NARM,
    "hrnn": HRNN,
}
"""The names that `tfrecsession train --model NAME` knows."""


def by_name(name: str) -> type[Recommender]:
    """The class of a model by its snake-case name; InputError lists the known ones, nearest first."""
    if name in MODELS:
        return MODELS[name]
    near = difflib.get_close_matches(name, MODELS, n=len(MODELS), cutoff=0.0)
    raise InputError(f"no model is called {name!r}; there are: {', '.join(near)}")


__all__ = [
    "ALS",
    "HRNN",
    "MODELS",
    "NARM",
    "SKNN",
    "STAN",
    "VSKNN",
    "VSTAN",
    "GRU4Rec",
    "ItemKNN",
    "Popularity",
    "Recommendations",
    "Recommender",
    "SequenceModel",
    "SLIST",
    "AssociationRules",
    "MarkovChain",
    "MatrixFactorization",
    "Random",
    "SequentialRules",
    "SessionAggregation",
    "SessionPopularity",
    "TwoTower",
    "Streaming",
    "by_name",
]
