"""Ragged rows in dense tensors: ranges end to end, and the wanted cells of every row first."""

from __future__ import annotations

import tensorflow as tf


def spread(starts, counts):
    """Concatenates ranges: `starts[i], starts[i] + 1, ...` (`counts[i]` numbers) for every i, and the i of each number.

    Args:
        starts, counts: int32 [n].

    Returns:
        int32 [sum of counts], twice.
    """
    owner = tf.repeat(tf.range(tf.size(counts)), counts)
    before = tf.cumsum(counts, exclusive=True)
    return tf.range(tf.size(owner)) + tf.gather(starts - before, owner), owner


def wanted_first(wanted, *arrays):
    """Moves the wanted cells of every row to its front, in their order; the others follow.

    Args:
        wanted: bool [rows, steps].
        arrays: each [rows, steps].

    Returns:
        The arrays, a list.
    """
    order = tf.argsort(tf.cast(~wanted, tf.int32), axis=1, stable=True)
    return [tf.gather(array, order, batch_dims=1) for array in arrays]
