"""The layers that models are built from."""

from tfrecsession.layers.attention.long_short_fusion import LongShortAttention, LongShortGate
from tfrecsession.layers.attention.session_attention import SessionAttention
from tfrecsession.layers.attention.session_narm import SessionNARM
from tfrecsession.layers.attention.session_transformer import SessionTransformer
from tfrecsession.layers.event_input import EventInput
from tfrecsession.layers.fold_in import FoldIn, first_of_its_session, fold_in
from tfrecsession.layers.items.coded_items import CodedItems, CodeTable
from tfrecsession.layers.items.content_items import ContentItems
from tfrecsession.layers.items.item_content import ContentEncoder, ItemContent
from tfrecsession.layers.items.item_embedding import ItemEmbedding
from tfrecsession.layers.items.item_tower import Combined, ItemTower
from tfrecsession.layers.items.past_items import Past, mean_of
from tfrecsession.layers.items.repeat_head import RepeatHead
from tfrecsession.layers.items.repeat_net_head import RepeatNetHead
from tfrecsession.layers.items.trend_head import TrendHead
from tfrecsession.layers.items.user_embedding import UserEmbedding
from tfrecsession.layers.neighbour_table import NeighbourTable
from tfrecsession.layers.place_attributes import PlaceAttributes
from tfrecsession.layers.recurrent.attentive_mean import AttentiveMean
from tfrecsession.layers.recurrent.discounted_mean import DiscountedMean
from tfrecsession.layers.recurrent.linear_blocks import LinearBlocks
from tfrecsession.layers.recurrent.linear_scan import linear_scan
from tfrecsession.layers.recurrent.session_attributes import SessionAttributeLSTM, SessionAttributeRNN
from tfrecsession.layers.recurrent.session_bidirectional import SessionBidirectional
from tfrecsession.layers.recurrent.session_context_gru import SessionContextGRU
from tfrecsession.layers.recurrent.session_gru import SessionGRU
from tfrecsession.layers.recurrent.session_hierarchy import SessionHierarchy
from tfrecsession.layers.recurrent.session_lru import SessionLRU
from tfrecsession.layers.recurrent.session_lstm import SessionLSTM
from tfrecsession.layers.recurrent.session_min_gru import SessionMinGRU
from tfrecsession.layers.recurrent.session_rectified_gru import SessionRectifiedGRU
from tfrecsession.layers.recurrent.session_recurrent import SessionRecurrent
from tfrecsession.layers.recurrent.session_rnn import SessionRNN
from tfrecsession.layers.recurrent.session_user_gru import (
    SessionAttentionalUserGRU,
    SessionRectifiedUserGRU,
    SessionUserGRU,
)
from tfrecsession.layers.ridge import ridge
from tfrecsession.layers.session_window import (
    STEP_DECAYS,
    history_length,
    last_items,
    newest_items,
    newest_items_at,
    shares,
    shares_by_item,
    step_weights,
    window_of,
)

__all__ = [
    "STEP_DECAYS",
    "AttentiveMean",
    "CodeTable",
    "CodedItems",
    "Combined",
    "ContentEncoder",
    "ContentItems",
    "DiscountedMean",
    "EventInput",
    "FoldIn",
    "ItemContent",
    "ItemEmbedding",
    "ItemTower",
    "LinearBlocks",
    "LongShortAttention",
    "LongShortGate",
    "NeighbourTable",
    "Past",
    "PlaceAttributes",
    "RepeatHead",
    "RepeatNetHead",
    "SessionAttention",
    "SessionAttentionalUserGRU",
    "SessionAttributeLSTM",
    "SessionAttributeRNN",
    "SessionBidirectional",
    "SessionContextGRU",
    "SessionGRU",
    "SessionHierarchy",
    "SessionLSTM",
    "SessionLRU",
    "SessionMinGRU",
    "SessionNARM",
    "SessionRNN",
    "SessionRecurrent",
    "SessionRectifiedGRU",
    "SessionRectifiedUserGRU",
    "SessionTransformer",
    "SessionUserGRU",
    "TrendHead",
    "UserEmbedding",
    "first_of_its_session",
    "fold_in",
    "linear_scan",
    "mean_of",
    "history_length",
    "last_items",
    "newest_items",
    "newest_items_at",
    "ridge",
    "shares",
    "shares_by_item",
    "step_weights",
    "window_of",
]
