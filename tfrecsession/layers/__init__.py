"""The parts models are made of."""

from tfrecsession.layers.discounted_mean import DiscountedMean
from tfrecsession.layers.item_embedding import ItemEmbedding
from tfrecsession.layers.session_bidirectional import SessionBidirectional
from tfrecsession.layers.session_gru import SessionGRU
from tfrecsession.layers.session_lstm import SessionLSTM
from tfrecsession.layers.session_recurrent import SessionRecurrent
from tfrecsession.layers.session_rnn import SessionRNN

__all__ = [
    "DiscountedMean",
    "ItemEmbedding",
    "SessionBidirectional",
    "SessionGRU",
    "SessionLSTM",
    "SessionRNN",
    "SessionRecurrent",
]
