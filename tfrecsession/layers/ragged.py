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


def newest(longest: int, mask, *arrays):
    """Returns the last `longest` masked cells of each row; arrays of at most `longest` steps are returned unchanged.

    Args:
        longest: number of cells to keep.
        mask: bool [rows, steps], the cells that count.
        arrays: int32 [rows, steps] each.

    Returns:
        the arrays, int32 [rows, at most `longest` steps]: the kept cells in their order, then zeros.
    """

    def truncate():
        later = tf.cumsum(tf.cast(mask, tf.int32), axis=1, exclusive=True, reverse=True)
        kept = mask & (later < longest)
        kept_first = tf.argsort(tf.cast(~kept, tf.int32), axis=1, stable=True)[:, :longest]
        is_kept = tf.gather(kept, kept_first, batch_dims=1)
        return [tf.where(is_kept, tf.gather(array, kept_first, batch_dims=1), 0) for array in arrays]

    return tf.cond(tf.shape(mask)[1] > longest, truncate, lambda: list(arrays))
