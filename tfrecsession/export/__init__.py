"""Export of models as SavedModels that take and return item ids as strings."""

from tfrecsession.export.item_table import read_item_table
from tfrecsession.export.retrieval_index import retrieval_index
from tfrecsession.export.saved_model import ask, card_of, newest_version, write_saved_model

__all__ = ["ask", "card_of", "newest_version", "read_item_table", "retrieval_index", "write_saved_model"]
