"""Work in blocks of rows: the one bound on the memory of evaluation and of answers."""

from __future__ import annotations

import tensorflow as tf

BLOCK_BYTES = 256 << 20
"""Bytes of scores and of intermediate results held at once by evaluation, `recommend` and exported answers.

Work that would need more is done in blocks of rows. Only one row that alone needs more exceeds it. A step holds a few
arrays of this size at a time, so the process grows by a small multiple.
"""


def rows_within(row_cells) -> tf.Tensor:
    """Returns how many rows fit into `BLOCK_BYTES`, int32, at least 1; row_cells: numbers of 4 bytes each holds."""
    rows = (BLOCK_BYTES // 4) // tf.maximum(tf.cast(row_cells, tf.int64), 1)
    return tf.cast(tf.clip_by_value(rows, 1, tf.int32.max), tf.int32)


def in_blocks(function, arrays, row_cells, signature):
    """Applies a function to blocks of rows that fit into `BLOCK_BYTES`; to all rows at once where they fit.

    Args:
        function: takes a block of each array; each row of its results depends on the same row of the arrays alone.
        arrays: tensors with the same number of rows, a list.
        row_cells: numbers of 4 bytes that the function holds for each row, int scalar.
        signature: TensorSpecs of its results, whose first dimension is None; nested as they are.

    Returns:
        The results, joined.
    """
    rows = tf.shape(arrays[0])[0]
    most = rows_within(row_cells)
    return tf.cond(
        rows <= most,
        lambda: function(*arrays),
        lambda: block_by_block(function, arrays, most, signature),
    )


def block_by_block(function, arrays, most, signature):
    """Applies a function to blocks of at most `most` rows, one at a time; see `in_blocks`."""
    rows = tf.shape(arrays[0])[0]
    blocks = tf.maximum((rows - 1) // most + 1, 1)
    block_rows = (rows + blocks - 1) // blocks  # blocks of about one size: few rows are padding

    def cut(array):  # (rows, ...) -> (blocks, block_rows, ...)
        tail = [[0, blocks * block_rows - rows]] + [[0, 0]] * (len(array.shape) - 1)
        return tf.reshape(tf.pad(array, tail), tf.concat([[blocks, block_rows], tf.shape(array)[1:]], axis=0))

    def joined(result):  # (blocks, block_rows, ...) -> (rows, ...)
        shape = tf.concat([[blocks * block_rows], tf.shape(result)[2:]], axis=0)
        return tf.reshape(result, shape)[:rows]

    found = tf.map_fn(
        lambda block: function(*block),
        tuple(cut(array) for array in arrays),
        fn_output_signature=signature,
        parallel_iterations=1,  # one block in memory at a time
    )
    return tf.nest.map_structure(joined, found)
