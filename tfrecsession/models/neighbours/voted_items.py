"""The best of the items that neighbours vote for, without a vector over the catalogue."""

from __future__ import annotations

import tensorflow as tf


def candidates_of(items, votes, fillers):
    """Returns distinct items in the order of their ids, and the sums of their votes, 0 for fillers without any.

    Args:
        items: int32 [votes].
        votes: float64 [votes].
        fillers: int32 [any], further candidates.

    Returns:
        int32 [candidates] and float32 [candidates].
    """
    ids, which = tf.unique(tf.concat([items, fillers], axis=0))
    votes = tf.pad(votes, [[0, tf.size(fillers)]])
    scores = tf.cast(tf.math.unsorted_segment_sum(votes, which, tf.size(ids)), tf.float32)
    order = tf.argsort(ids)  # equal scores: the lower id comes first
    return tf.gather(ids, order), tf.gather(scores, order)


def is_in(ids, listed):
    """Returns which ids are in a list: int32 [m], int32 [any] -> bool [m]."""
    listed = tf.sort(tf.pad(listed, [[0, 1]], constant_values=tf.int32.max))
    return tf.gather(listed, tf.searchsorted(listed, ids)) == ids


def rows_of(out, rows):
    """Returns the items of `top_items.pairs`, of which every row has as many: int32 [pairs, 2] -> int32 [rows, any]."""
    return tf.reshape(out[:, 1], (rows, tf.shape(out)[0] // tf.maximum(rows, 1)))
