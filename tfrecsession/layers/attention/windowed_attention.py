"""Dot-product attention of every step over the newest steps of its session, at a cost linear in the steps of a row."""

from __future__ import annotations

import tensorflow as tf

HIDDEN = -1e9  # the logit of a step that is not read: its weight is 0 in float32


def attend(queries, keys, values, reach, window: int, bias=None, before=None):
    """Returns what each step reads: the sum of values, weighted by the softmax of query . key + bias[age].

    Up to `window` steps are computed as one block; longer or unknown numbers of steps in blocks of `window` steps, each
    of which reads itself and the block before it. The cost is steps * 2 window, never steps * steps.

    Args:
        queries, keys: float [rows, steps, heads, width]; queries are scaled already.
        values: float [rows, steps, heads, value width].
        reach: int32 [rows, steps], how many steps directly before it each step reads beside itself; below `window`.
        window: the newest steps that a step reads at most, itself included.
        bias: float [window, heads], added to the logit of a step that lies `age` steps back; None: nothing.
        before: keys and values [rows, window - 1, heads, ...] of the steps before the first; None: there are none.

    Returns:
        float [rows, steps, heads, value width].
    """
    steps = queries.shape[1]
    if steps is not None and steps <= window:
        if before is not None:
            keys, values = (tf.concat([old, new], axis=1) for old, new in zip(before, (keys, values), strict=True))
        return _block(queries, keys, values, reach, window, bias)
    rows, steps = tf.unstack(tf.shape(queries)[:2])
    blocks = (steps + window - 1) // window
    tail = blocks * window - steps

    def in_blocks(array):  # (rows, steps, ...) -> (rows * blocks, window, ...)
        padded = tf.pad(array, [[0, 0], [0, tail]] + [[0, 0]] * (len(array.shape) - 2))
        return tf.reshape(padded, [rows * blocks, window, *array.shape[2:]])

    def with_block_before(array, old):  # (rows, steps, ...) -> (rows * blocks, 2 window, ...)
        rest = array.shape[2:]
        front = 0 if old is not None else window
        if old is not None:
            array = tf.concat([tf.zeros_like(array[:, :1]), old, array], axis=1)
        padded = tf.pad(array, [[0, 0], [front, tail]] + [[0, 0]] * len(rest))
        cut = tf.reshape(padded, [rows, blocks + 1, window, *rest])
        pairs = tf.concat([cut[:, :-1], cut[:, 1:]], axis=2)  # (rows, blocks, 2 window, ...)
        return tf.reshape(pairs, [rows * blocks, 2 * window, *rest])

    old_keys, old_values = before or (None, None)
    read = _block(
        in_blocks(queries),
        with_block_before(keys, old_keys),
        with_block_before(values, old_values),
        in_blocks(reach),
        window,
        bias,
    )  # (rows * blocks, window, heads, value width)
    return tf.reshape(read, [rows, blocks * window, *values.shape[2:]])[:, :steps]


def _block(queries, keys, values, reach, window, bias):
    """Computes `attend` over keys of which the last ones are those of the queries."""
    steps, seen = queries.shape[1], keys.shape[1]
    age = tf.range(steps)[:, None] + (seen - steps) - tf.range(seen)  # (steps, seen)
    is_read = (age >= 0) & (age <= reach[..., None])  # (rows, steps, seen)
    logits = tf.matmul(_by_head(queries), _by_head(keys), transpose_b=True)  # (rows, heads, steps, seen)
    logits = tf.cast(logits, tf.float32)
    if bias is not None:
        of_age = tf.gather(tf.cast(bias, tf.float32), tf.clip_by_value(age, 0, window - 1))  # (steps, seen, heads)
        logits += tf.transpose(of_age, (2, 0, 1))
    weights = tf.nn.softmax(tf.where(is_read[:, None], logits, HIDDEN))  # (rows, heads, steps, seen)
    read = tf.matmul(tf.cast(weights, values.dtype), _by_head(values))  # (rows, heads, steps, value width)
    return read[:, 0][:, :, None] if values.shape[2] == 1 else tf.transpose(read, (0, 2, 1, 3))


def _by_head(array):
    """Moves the heads forward: [rows, steps, heads, width] -> [rows, heads, steps, width]."""
    return array[:, :, 0][:, None] if array.shape[2] == 1 else tf.transpose(array, (0, 2, 1, 3))
