"""The session so far as its newest item ids, and how much each of them counts."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfrecsession.errors import InputError

STEP_DECAYS = {
    "same": lambda step: np.ones(len(step)),
    "linear": lambda step: np.maximum(1 - step / 10, 0),
    "div": lambda step: 1 / step,
    "log": lambda step: 1 / np.log10(step + 1.7),
    "quadratic": lambda step: 1 / step**2,
}
"""The weight of an event by its step back: 1 is the last one, 2 the one before (arXiv 1803.09587)."""


def step_weights(decay: str, steps: int) -> np.ndarray:
    """Returns float64 [steps]: the weights of the steps 1, 2, ... by a decay of STEP_DECAYS.

    Raises:
        InputError: an unknown decay; fewer than 1 step.

    Examples:
        >>> step_weights("div", 4)
        array([1.        , 0.5       , 0.33333333, 0.25      ])
    """
    if decay not in STEP_DECAYS:
        raise InputError(f"decay={decay!r}: must be one of {', '.join(STEP_DECAYS)}")
    if not isinstance(steps, int | np.integer) or steps < 1:
        raise InputError(f"steps={steps!r}: must be a whole number, at least 1")
    return STEP_DECAYS[decay](np.arange(1, steps + 1, dtype=np.float64))


def newest_items(batch: dict, window: int | None = None):
    """Returns the known items of the session so far, newest first.

    Padding and unknown items are skipped, as `recommend` does: they take no place in the window.

    Args:
        batch: packed rows, `items` and `position` int32 [rows, steps].
        window: how many at most; None: all of them.

    Returns:
        int32 [rows, steps, items], 0 where the session so far has no more; `items` is the length of the longest session
        of the batch, at most `window`.
    """
    items, position = batch["items"], batch["position"]
    known = tf.cast(items > 1, tf.int32)  # (rows, steps)
    packed = tf.gather(items * known, tf.argsort(1 - known, axis=1, stable=True), batch_dims=1)  # (rows, steps)
    upto, before = tf.cumsum(known, axis=1), tf.cumsum(known, axis=1, exclusive=True)
    begin = tf.range(tf.shape(items)[1])[None] - position  # (rows, steps): the session's first step
    before = tf.gather(before, begin, batch_dims=1)  # (rows, steps): known items of the row before the session
    longest = tf.maximum(tf.reduce_max(position), 0) + 1  # without rows, reduce_max is the lowest int32
    back = tf.range(longest if window is None else tf.minimum(window, longest))  # (items,)
    index = upto[..., None] - 1 - back  # (rows, steps, items)
    newest = tf.gather(packed, tf.maximum(index, 0), batch_dims=1)  # (rows, steps, items)
    return tf.where(index >= before[..., None], newest, 0)


def last_items(batch: dict, length, window: int | None = None):
    """Returns `newest_items` at the last step of rows of one session each, at a cost that follows their events.

    Args:
        batch: `items` int32 [rows, steps], the known ones first, 0 behind them.
        length: int32 [rows], how many items are known.
        window: how many at most; None: all of them.

    Returns:
        int32 [rows, items], newest first, 0 where there are no more.
    """
    return tf.reverse_sequence(batch["items"], length, seq_axis=1)[:, :window]  # (rows, window)


def shares(items, weights):
    """Returns the share of each item in the session: its weight over the sum of the weights.

    Args:
        items: int32 [n, window], newest first, 0 where there is none.
        weights: float32 [window or more], of the newest, the one before, ...; the first above 0.

    Returns:
        float32 [n, window], of sum 1, or 0 where there is no item.
    """
    weights = tf.cast(weights, tf.float32)[: tf.shape(items)[1]] * tf.cast(items > 0, tf.float32)  # (n, window)
    return tf.math.divide_no_nan(weights, tf.reduce_sum(weights, axis=1, keepdims=True))
