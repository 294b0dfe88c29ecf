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
    return together(lambda cells: tf.gather(cells, order, batch_dims=1), arrays)


def together(function, arrays) -> list:
    """Applies a function to arrays of one shape, to all of one type at once: many small ops cost more than few.

    Args:
        function: array [..., n] -> array [any shape, n].
        arrays: each [...].

    Returns:
        The results, one for each array.
    """
    arrays, places = list(arrays), {}
    for place, array in enumerate(arrays):
        places.setdefault(array.dtype, []).append(place)
    found = {}
    for of_type in places.values():
        result = function(tf.stack([arrays[place] for place in of_type], axis=-1))
        found |= zip(of_type, tf.unstack(result, len(of_type), axis=-1), strict=True)
    return [found[place] for place in range(len(arrays))]


def newest(longest: int, mask, *arrays):
    """Returns the last `longest` masked cells of each row; arrays of at most `longest` steps are returned unchanged.

    Args:
        longest: number of cells to keep.
        mask: bool [rows, steps], the cells that count.
        arrays: numbers or strings [rows, steps] or [rows, steps, n] each.

    Returns:
        The arrays, [rows, at most `longest` steps, ...]: the kept cells in their order, then zeros or empty strings.
    """

    def truncate():
        later = tf.cumsum(tf.cast(mask, tf.int32), axis=1, exclusive=True, reverse=True)
        kept = mask & (later < longest)
        kept_first = tf.argsort(tf.cast(~kept, tf.int32), axis=1, stable=True)[:, :longest]
        is_kept = tf.gather(kept, kept_first, batch_dims=1)
        found = []
        for array in arrays:
            kept_cells = is_kept if array.shape.rank == 2 else is_kept[..., None]
            cells = tf.gather(array, kept_first, batch_dims=1)
            found.append(tf.where(kept_cells, cells, tf.zeros([], array.dtype)))
        return found

    return tf.cond(tf.shape(mask)[1] > longest, truncate, lambda: list(arrays))
