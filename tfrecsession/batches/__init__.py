"""Encoded sessions as tf.data batches, or as sparse rows of users and items."""

from tfrecsession.batches.data import Data, Sessions, load, synthetic_sessions
from tfrecsession.batches.interactions import Interactions

__all__ = ["Data", "Interactions", "Sessions", "load", "synthetic_sessions"]
