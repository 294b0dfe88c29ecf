"""Conversion between lists of items and the string tensors of signatures."""

import tensorflow as tf


def strings(rows):
    longest = max(map(len, rows), default=0)
    return tf.constant([[*row, *[""] * (longest - len(row))] for row in rows], tf.string, (len(rows), longest))


def text(array):
    return [[item.decode() for item in row] for row in array.numpy()]
