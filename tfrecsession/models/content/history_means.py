"""Means of the item vectors of histories, each distinct known item once: the input of a user tower."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from tfrecsession.batches.interactions import Interactions
from tfrecsession.layers import first_of_its_session
from tfrecsession.layers.items.gather import gather_rows


def running_means(batch: dict, table):
    """Computes the mean of the session so far, after each event of packed rows.

    Args:
        batch: `items`, `position`, `segment` int [rows, steps].
        table: variable float32 [size, dim]; only the rows of the batch are read.

    Returns:
        float32 [rows, steps, dim]; 0 after a history without a known item.
    """
    items, position = batch["items"], batch["position"]
    new = tf.cast(first_of_its_session(items, position, batch["segment"]), tf.float32)[..., None]  # [rows, steps, 1]
    vectors = gather_rows(table, items) * new  # [rows, steps, dim]
    sums = tf.cumsum(tf.concat([vectors, new], axis=2), axis=1)  # [rows, steps, dim + 1]: the last column counts
    begin = tf.range(tf.shape(position)[1])[None] - position  # [rows, steps]: the session's first step
    sums -= tf.gather(tf.pad(sums, [[0, 0], [1, 0], [0, 0]]), begin, batch_dims=1)  # without earlier sessions
    return tf.math.divide_no_nan(sums[..., :-1], sums[..., -1:])


def user_means(interactions: Interactions, table: np.ndarray, block: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields rows of named users, `block` at a time, and the means of their histories, float [block, dim]."""
    histories, counts = interactions.csr(), np.diff(interactions.offsets)  # [users, size], [users]
    histories.data = np.ones_like(histories.data)
    named = np.flatnonzero(interactions.named)
    for first in range(0, len(named), block):
        rows = named[first : first + block]
        yield rows, histories[rows] @ table / np.maximum(counts[rows], 1)[:, None]


def list_means(histories: list[np.ndarray], table: np.ndarray) -> np.ndarray:
    """Computes the mean of each history, an int array of item ids: float32 [n, dim], 0 without a known item."""
    means = np.zeros((len(histories), table.shape[1]), np.float32)
    for row, history in enumerate(histories):
        ids = np.unique(history)
        if len(ids := ids[ids > 1]):
            means[row] = table[ids].mean(axis=0)
    return means
