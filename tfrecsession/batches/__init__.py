"""Encoded sessions as tf.data batches, or as sparse rows of users and items."""

from typing import TYPE_CHECKING

from tfrecsession.lazy_names import lazy

if TYPE_CHECKING:
    from tfrecsession.batches.data import Data, Sessions, load, synthetic_sessions
    from tfrecsession.batches.interactions import Interactions

_NAMES = {
    "Data": "data",
    "Interactions": "interactions",
    "Sessions": "data",
    "load": "data",
    "synthetic_sessions": "data",
}
__all__ = [
    "Data",
    "Interactions",
    "Sessions",
    "load",
    "synthetic_sessions",
]
__getattr__, __dir__ = lazy(__name__, _NAMES)
