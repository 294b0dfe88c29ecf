"""Truncation of long histories."""

from __future__ import annotations

import tensorflow as tf


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
