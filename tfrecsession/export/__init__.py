"""SavedModels."""

from tfrecsession.export.retrieval_index import retrieval_index
from tfrecsession.export.saved_model import ask, newest_version, write_saved_model

__all__ = ["ask", "newest_version", "retrieval_index", "write_saved_model"]
