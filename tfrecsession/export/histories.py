"""Histories that are longer than a model should have to read."""

from __future__ import annotations

import tensorflow as tf


def newest(longest: int, wanted, *arrays):
    """The last `longest` wanted cells of each row, where rows are longer than that; shorter ones stay as they are.

    Args:
        wanted: bool [rows, steps].
        arrays: int32 [rows, steps] each.

    Returns:
        the arrays, int32 [rows, at most `longest` steps]: what is kept in its order, then zeros.
    """

    def cut():
        behind = tf.cumsum(tf.cast(wanted, tf.int32), axis=1, exclusive=True, reverse=True)
        kept = wanted & (behind < longest)
        first = tf.argsort(tf.cast(~kept, tf.int32), axis=1, stable=True)[:, :longest]
        there = tf.gather(kept, first, batch_dims=1)
        return [tf.where(there, tf.gather(array, first, batch_dims=1), 0) for array in arrays]

    return tf.cond(tf.shape(wanted)[1] > longest, cut, lambda: list(arrays))
