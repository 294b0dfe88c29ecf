"""SavedModels."""

from tfrecsession.export.saved_model import ask, newest_version, write_saved_model

__all__ = ["ask", "newest_version", "write_saved_model"]
