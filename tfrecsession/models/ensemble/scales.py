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


def comparable_without(scores, items, lost, kind: str, sharpness: float):
    """Returns what some probabilities of `comparable` lose where their items alone lose a part of their scores.

    Args:
        scores: float32 [n, items].
        items: int32 [n, m], columns of `scores`.
        lost: float32 [n, m, parts], of the scores.

    Returns:
        float32 [n, m, parts].
    """
    whole = tf.gather(comparable(scores, kind, sharpness), items, batch_dims=1)[..., None]  # (n, m, 1)
    if kind == "softmax":  # the logit of a probability moves as its score does
        logit = tf.math.log(tf.maximum(whole, 1e-30)) - tf.math.log1p(-tf.minimum(whole, 1 - 1e-7))
        return whole - tf.sigmoid(logit - lost / sharpness)
    own = tf.gather(scores, items, batch_dims=1)[..., None]
    total = tf.reduce_sum(tf.nn.relu(scores) ** sharpness, axis=1)[:, None, None]
    before, after = tf.nn.relu(own) ** sharpness, tf.nn.relu(own - lost) ** sharpness  # (n, m, 1), (n, m, parts)
    return whole - tf.math.divide_no_nan(after, total - before + after)


def lost_of_logits(scores, items, lost):
    """Returns what logits lose where scores, which are log probabilities, lose a part.

    The other probabilities of the list then grow in proportion, as those of a repeat head do, but for its copies.

    Args:
        scores, items, lost: as in `comparable_without`.
    """
    before = tf.gather(scores, items, batch_dims=1)[..., None]  # (n, m, 1)

    def logit(log_probability):
        below = tf.minimum(log_probability, -1e-6)
        return below - tf.math.log(-tf.math.expm1(below))

    return logit(before) - logit(before - lost)


def range_of(length, lengths):
    """Returns the range of each history by its length: int32 [n] -> int32 [n]."""
    above = tf.cast(length[:, None] >= tf.constant(lengths[1:], tf.int32)[None], tf.int32)  # (n, ranges - 1)
    return tf.reduce_sum(above, axis=1)
