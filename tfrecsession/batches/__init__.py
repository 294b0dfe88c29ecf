"""Encoded sessions -> tf.data, or sparse rows of people and items."""

from tfrecsession.batches.data import Data, Sessions, load, synthetic_sessions
from tfrecsession.batches.interactions import Interactions

__all__ = ["Data", "Interactions", "Sessions", "load", "synthetic_sessions"]
