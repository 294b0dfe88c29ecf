"""Batches of item ids, for models that learn from items themselves."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfrecsession.batches.epochs import Batches, in_epochs
from tfrecsession.errors import InputError

CHUNK = 1 << 10  # batches that are read at a time


def item_batches(ids, rows: int = 64, seed: int = 0) -> Batches:
    """Returns every item once an epoch, in an order that follows from the seed and the epoch.

    Args:
        ids: int [items].
        rows: items in a batch.
        seed: of the order.

    Returns:
        A dataset of dicts: `item` int32 [rows], and `weight` float32 [rows], 0 where the last batch is filled up.

    Raises:
        InputError: `rows` is not a whole number of at least 1, or there is no item.
    """
    if not isinstance(rows, int | np.integer) or isinstance(rows, bool) or rows < 1:
        raise InputError(f"rows={rows!r}: must be a whole number, at least 1")
    ids = np.asarray(ids, np.int32)
    if not len(ids):
        raise InputError("ids: must hold an item: there is nothing to train on")

    def chunks(epoch, first):
        order = np.random.default_rng([seed, epoch]).permutation(ids)
        for begin in range(first * CHUNK * rows, len(ids), CHUNK * rows):
            part = order[begin : begin + CHUNK * rows]
            filling = -len(part) % rows
            item = np.concatenate([part, np.repeat(part[-1:], filling)])
            weight = (np.arange(len(item)) < len(part)).astype(np.float32)
            yield {"item": item.reshape(-1, rows), "weight": weight.reshape(-1, rows)}

    spec = {"item": tf.TensorSpec((None, rows), tf.int32), "weight": tf.TensorSpec((None, rows), tf.float32)}
    return in_epochs(chunks, spec, -(-len(ids) // rows), CHUNK)


def is_of_items(x) -> bool:
    """Returns whether `x` is a dataset as `item_batches` returns it."""
    spec = getattr(x, "element_spec", None)
    return isinstance(spec, dict) and set(spec) == {"item", "weight"}
