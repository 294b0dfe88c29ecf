"""Encoded sessions -> tf.data."""

from tfrecsession.batches.data import Data, Sessions, load, synthetic_sessions

__all__ = ["Data", "Sessions", "load", "synthetic_sessions"]
