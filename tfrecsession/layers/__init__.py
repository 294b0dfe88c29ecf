"""The parts models are made of."""

from tfrecsession.layers.discounted_mean import DiscountedMean
from tfrecsession.layers.fold_in import FoldIn, first_of_its_session, fold_in
from tfrecsession.layers.item_embedding import ItemEmbedding
from tfrecsession.layers.item_tower import Combined, ItemTower
from tfrecsession.layers.neighbour_table import NeighbourTable
from tfrecsession.layers.past import Past, mean_of
from tfrecsession.layers.ridge import ridge
from tfrecsession.layers.session_attention import SessionAttention
from tfrecsession.layers.session_bidirectional import SessionBidirectional
from tfrecsession.layers.session_gru import SessionGRU
from tfrecsession.layers.session_hierarchy import SessionHierarchy
from tfrecsession.layers.session_lstm import SessionLSTM
from tfrecsession.layers.session_recurrent import SessionRecurrent
from tfrecsession.layers.session_rnn import SessionRNN
from tfrecsession.layers.session_window import STEP_DECAYS, last_items, newest_items, shares, step_weights
from tfrecsession.layers.user_embedding import UserEmbedding

__all__ = [
    "STEP_DECAYS",
    "Combined",
    "DiscountedMean",
    "FoldIn",
    "ItemEmbedding",
    "ItemTower",
    "NeighbourTable",
    "Past",
    "SessionAttention",
    "SessionBidirectional",
    "SessionGRU",
    "SessionHierarchy",
    "SessionLSTM",
    "SessionRNN",
    "SessionRecurrent",
    "UserEmbedding",
    "first_of_its_session",
    "fold_in",
    "mean_of",
    "last_items",
    "newest_items",
    "ridge",
    "shares",
    "step_weights",
]
