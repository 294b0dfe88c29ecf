"""The models. A new one is a file here and a line in MODELS."""

import tfrecsession.metrics
import tfrecsession.optimizers  # registers what saved models are compiled with  # noqa: F401
from tfrecsession.models.attention.core import CORE
from tfrecsession.models.attention.long_short_term import LongShortTerm
from tfrecsession.models.attention.narm import NARM
from tfrecsession.models.attention.repeat_net import RepeatNet
from tfrecsession.models.attention.sasrec import SASRec
from tfrecsession.models.content.attentive_music import AttentiveMusic
from tfrecsession.models.content.character_cnn import CharacterCNN
from tfrecsession.models.content.content_to_factors import ContentToFactors
from tfrecsession.models.content.parallel_rnn import ParallelRNN
from tfrecsession.models.content.two_tower import TwoTower
from tfrecsession.models.ensemble.blend import Blend
from tfrecsession.models.factorization.als import ALS
from tfrecsession.models.factorization.matrix_factorization import MatrixFactorization
from tfrecsession.models.linear.session_aggregation import SessionAggregation
from tfrecsession.models.linear.slist import SLIST
from tfrecsession.models.neighbours.sknn import SKNN
from tfrecsession.models.neighbours.stan import STAN
from tfrecsession.models.neighbours.vsknn import VSKNN
from tfrecsession.models.neighbours.vstan import VSTAN
from tfrecsession.models.popularity.popularity import Popularity
from tfrecsession.models.popularity.random_order import Random
from tfrecsession.models.popularity.session_popularity import SessionPopularity
from tfrecsession.models.ranking.pipeline import Pipeline
from tfrecsession.models.ranking.wide_and_deep import WideAndDeep
from tfrecsession.models.recurrent.contextual_gru import ContextualGRU
from tfrecsession.models.recurrent.gru4rec import GRU4Rec
from tfrecsession.models.recurrent.hrnn import HRNN
from tfrecsession.models.recurrent.location_sequences import LocationSequences
from tfrecsession.models.recurrent.lru import LRU
from tfrecsession.models.recurrent.min_gru import MinGRU
from tfrecsession.models.recurrent.rec_gan import RecGAN
from tfrecsession.models.recurrent.user_gru import UserGRU
from tfrecsession.models.rules.association_rules import AssociationRules
from tfrecsession.models.rules.item_knn import ItemKNN
from tfrecsession.models.rules.markov_chain import MarkovChain
from tfrecsession.models.rules.sequential_rules import SequentialRules
from tfrecsession.recommender.recommend import Recommendations
from tfrecsession.recommender.recommender import Recommender
from tfrecsession.recommender.sequence_model import SequenceModel
from tfrecsession.recommender.settings import checked_name
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
    "content_to_factors": ContentToFactors,
    "parallel_rnn": ParallelRNN,
    "attentive_music": AttentiveMusic,
    "character_cnn": CharacterCNN,
    "gru4rec": GRU4Rec,
    "narm": NARM,
    "repeat_net": RepeatNet,
    "sasrec": SASRec,
    "core": CORE,
    "hrnn": HRNN,
    "min_gru": MinGRU,
    "lru": LRU,
    "contextual_gru": ContextualGRU,
    "location_sequences": LocationSequences,
    "user_gru": UserGRU,
    "rec_gan": RecGAN,
    "long_short_term": LongShortTerm,
}
"""Model classes by the names of `tfrecsession train --model NAME`."""


def by_name(name: str) -> type[Recommender]:
    """Returns the class of a model by its snake-case name; InputError lists the known names, nearest first."""
    return MODELS[checked_name(name, MODELS)]


def from_preset(name, items=None, **settings) -> Recommender:
    """Returns the model of a preset, whatever its class, see `Recommender.from_preset`."""
    return Recommender.from_preset(name, items, **settings)


__all__ = [
    "ALS",
    "CORE",
    "HRNN",
    "LRU",
    "MODELS",
    "NARM",
    "SKNN",
    "STAN",
    "VSKNN",
    "VSTAN",
    "Blend",
    "GRU4Rec",
    "ItemKNN",
    "Popularity",
    "Recommendations",
    "Recommender",
    "SequenceModel",
    "SASRec",
    "SLIST",
    "AssociationRules",
    "ContentToFactors",
    "AttentiveMusic",
    "CharacterCNN",
    "ContextualGRU",
    "LocationSequences",
    "LongShortTerm",
    "RepeatNet",
    "MarkovChain",
    "MatrixFactorization",
    "MinGRU",
    "ParallelRNN",
    "Pipeline",
    "Random",
    "RecGAN",
    "SequentialRules",
    "SessionAggregation",
    "SessionPopularity",
    "TwoTower",
    "UserGRU",
    "WideAndDeep",
    "Streaming",
    "by_name",
    "from_preset",
]
