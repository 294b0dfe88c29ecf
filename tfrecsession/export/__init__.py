"""Export of models as SavedModels that take and return item ids as strings."""

from typing import TYPE_CHECKING

from tfrecsession.lazy_names import lazy

if TYPE_CHECKING:
    from tfrecsession.export.adding_items import add_items
    from tfrecsession.export.asking import ask, explain
    from tfrecsession.export.item_table import read_item_table
    from tfrecsession.export.other_runtimes import write_for_runtime
    from tfrecsession.export.retrieval import retrieval_index
    from tfrecsession.export.saved_model import write_saved_model
    from tfrecsession.export.trend_counts import update_counts
    from tfrecsession.export.versions import card_of, newest_version

_NAMES = {
    "add_items": "adding_items",
    "ask": "asking",
    "card_of": "versions",
    "explain": "asking",
    "newest_version": "versions",
    "read_item_table": "item_table",
    "retrieval_index": "retrieval",
    "update_counts": "trend_counts",
    "write_for_runtime": "other_runtimes",
    "write_saved_model": "saved_model",
}
__all__ = [
    "add_items",
    "ask",
    "card_of",
    "explain",
    "newest_version",
    "read_item_table",
    "retrieval_index",
    "update_counts",
    "write_for_runtime",
    "write_saved_model",
]
__getattr__, __dir__ = lazy(__name__, _NAMES)
