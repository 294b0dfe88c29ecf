"""Scores of different models on one scale, and ranges of the length of a history."""

from __future__ import annotations

import tensorflow as tf

KINDS = ("softmax", "share")


def comparable(scores, kind: str, sharpness: float):
    """Returns probabilities, or all 0 where nothing scores: float32 [n, items] -> float32 [n, items]."""
    if kind == "softmax":
        return tf.nn.softmax(scores / sharpness, axis=1)
    positive = tf.nn.relu(scores)
    powers = positive if sharpness == 1 else positive**sharpness
    return tf.math.divide_no_nan(powers, tf.reduce_sum(powers, axis=1, keepdims=True))


def range_of(length, lengths):
    """Returns the range of each history by its length: int32 [n] -> int32 [n]."""
    above = tf.cast(length[:, None] >= tf.constant(lengths[1:], tf.int32)[None], tf.int32)  # (n, ranges - 1)
    return tf.reduce_sum(above, axis=1)
