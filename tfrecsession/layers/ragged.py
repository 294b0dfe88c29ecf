"""Ragged rows in dense tensors: concatenated ranges, and selected cells moved to the front."""

from __future__ import annotations

import tensorflow as tf


def spread(starts, counts):
    """Concatenates the ranges `starts[i], starts[i] + 1, ...` of `counts[i]` numbers, and returns each number's i too.

    Args:
        starts, counts: int32 [n].

    Returns:
        int32 [sum of counts], twice.
    """
    owner = tf.repeat(tf.range(tf.size(counts)), counts)  # (sum of counts,)
    before = tf.cumsum(counts, exclusive=True)  # (n,)
    return tf.range(tf.size(owner)) + tf.gather(starts - before, owner), owner  # (sum of counts,) each


def wanted_first(wanted, *arrays):
    """Moves the wanted cells of every row to the front, in their order; the others follow.

    Args:
        wanted: bool [rows, steps].
        arrays: each [rows, steps].

    Returns:
        The arrays, a list.
    """
    order = tf.argsort(tf.cast(~wanted, tf.int32), axis=1, stable=True)  # (rows, steps)
    return [tf.gather(array, order, batch_dims=1) for array in arrays]
