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


UNDERFLOW = 104.0  # exp(-104) is 0 in float32, also where numbers below 1e-38 are kept


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
    rows, steps = tf.unstack(tf.shape(batch["items"]))
    row, step = tf.meshgrid(tf.range(rows), tf.range(steps), indexing="ij")
    cells = tf.stack([tf.reshape(row, [-1]), tf.reshape(step, [-1])], axis=1)  # (rows * steps, 2)
    newest = newest_items_at(batch, window)(cells)  # (rows * steps, items)
    return tf.reshape(newest, (rows, steps, tf.shape(newest)[1]))


def newest_items_at(batch: dict, window: int | None = None):
    """Returns `newest_items` as a function of the steps that it is needed at, whose memory follows these steps.

    All steps of a row together hold the square of its longest session.

    Args:
        batch, window: as in `newest_items`.

    Returns:
        A function: int32 [n, 2], (row, step) -> int32 [n, items], `items` being the length of the longest session so
        far at these steps, at most `window`.
    """
    items, position = batch["items"], tf.convert_to_tensor(batch["position"])
    known = tf.cast(items > 1, tf.int32)  # (rows, steps)
    packed = tf.gather(items * known, tf.argsort(1 - known, axis=1, stable=True), batch_dims=1)  # (rows, steps)
    upto, before = tf.cumsum(known, axis=1), tf.cumsum(known, axis=1, exclusive=True)
    begin = tf.range(tf.shape(items)[1])[None] - position  # (rows, steps): the session's first step
    before = tf.gather(before, begin, batch_dims=1)  # (rows, steps): known items of the row before the session
    flat, steps = tf.reshape(packed, [-1]), tf.shape(items)[1]

    def at(cells):
        # without steps, reduce_max is the lowest int32
        longest = tf.maximum(tf.reduce_max(tf.gather_nd(position, cells)), 0) + 1
        back = tf.range(longest if window is None else tf.minimum(window, longest))  # (items,)
        index = tf.gather_nd(upto, cells)[:, None] - 1 - back  # (n, items)
        newest = tf.gather(flat, cells[:, :1] * steps + tf.maximum(index, 0))  # (n, items)
        return tf.where(index >= tf.gather_nd(before, cells)[:, None], newest, 0)

    return at


def history_length(batch: dict, window: int | None = None):
    """Returns the most items that `newest_items` has at a step of the batch: int32 scalar, from 1."""
    longest = tf.maximum(tf.reduce_max(batch["position"]), 0) + 1
    return longest if window is None else tf.minimum(window, longest)


def window_of(rate: float, window: int | None = None) -> int | None:
    """Returns how many of the newest events count where an event weighs exp(-rate) of the one after it.

    The weight of older events is 0 in float32, so leaving them out changes no score, and a history of any length costs
    the same.

    Args:
        rate: 0 or more; 0: all events weigh alike.
        window: how many at most; None: all.

    Examples:
        >>> window_of(1.0), window_of(1.0, 3), window_of(0.0)
        (105, 3, None)
    """
    counted = int(min(UNDERFLOW / rate, 2**31 - 2)) + 1 if rate > 0 else None
    return min((limit for limit in (counted, window) if limit is not None), default=None)


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


def shares_by_item(items, share, size: int):
    """Sums the shares of each item, so that an item that is repeated is scored once.

    Args:
        items: int32 [n, window], 0 where there is none.
        share: float32 [n, window].
        size: number of item ids.

    Returns:
        int32 [n, size], the id of each item with a share, else 0; float32 [n, size], its sum.
    """
    cells = tf.where(items > 0)  # (m, 2)
    ids = tf.cast(tf.gather_nd(items, cells), tf.int64)  # (m,)
    rows = tf.shape(items, tf.int64)[0]
    sums = tf.scatter_nd((cells[:, 0] * size + ids)[:, None], tf.gather_nd(share, cells), [rows * size])
    sums = tf.reshape(sums, (rows, size))  # (n, size)
    return tf.range(size)[None] * tf.cast(sums > 0, tf.int32), sums
