"""The parts models are made of."""

from tfrecsession.layers.item_embedding import ItemEmbedding
from tfrecsession.layers.session_gru import SessionGRU

__all__ = ["ItemEmbedding", "SessionGRU"]
