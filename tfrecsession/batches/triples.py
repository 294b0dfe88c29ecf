"""People and items as triples (user, item, value): the batches that factorizations learn from."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfrecsession.batches.epochs import Batches, in_epochs
from tfrecsession.batches.interactions import Interactions
from tfrecsession.errors import InputError

PAIRS_A_CHUNK = 1 << 20  # gathered by one call of NumPy
COLUMNS = {
    "user": tf.int32,  # place in `interactions.users`
    "item": tf.int32,  # item id
    "value": tf.float32,  # rating or count
    "weight": tf.float32,  # 1; 0 where the last batch is filled up
    "user_pairs": tf.float32,  # how many pairs the user has in all
    "item_pairs": tf.float32,  # how many pairs the item has in all
}


def triples(interactions: Interactions, rows: int = 1024, *, shuffle: bool = True, seed: int = 0) -> Batches:
    """Every pair of a person and an item once an epoch, in batches of static shape `[rows]`.

    The last batch is filled up with its own first pair at weight 0, so that a lazy optimizer touches no row that the
    batch does not hold anyway.

    Args:
        interactions: people x items.
        rows: pairs in a batch.
        shuffle: mix the pairs, differently each epoch, always the same under one `seed`.

    Returns:
        A dataset of dicts of the arrays of COLUMNS; its attribute `interactions` says where they come from.

    Raises:
        InputError: `rows` is no number of rows, or there is no pair.
    """
    if not isinstance(rows, int | np.integer) or rows < 1:
        raise InputError(f"rows={rows!r}: a batch needs a whole number of rows, at least 1")
    pairs = len(interactions.values)
    if not pairs:
        raise InputError("no event of the train split has a known item: there is nothing to train on")
    per_user = np.diff(interactions.offsets)
    user = np.repeat(np.arange(len(per_user), dtype=np.int32), per_user)
    per_item = np.bincount(interactions.values, minlength=interactions.items.size)
    batches = -(-pairs // rows)
    chunk = max(1, PAIRS_A_CHUNK // rows)

    def chunks(epoch, first):
        order = np.random.default_rng([seed, epoch]).permutation(pairs) if shuffle else np.arange(pairs)
        for begin in range(first * chunk * rows, pairs, chunk * rows):
            some = order[begin : begin + chunk * rows]
            there, filling = len(some), -len(some) % rows
            some = np.concatenate([some, np.repeat(some[there - there % rows : there - there % rows + 1], filling)])
            users, items = user[some], interactions.values[some]
            arrays = {
                "user": users,
                "item": items,
                "value": interactions.weights[some],
                "weight": np.arange(len(some)) < there,
                "user_pairs": per_user[users],
                "item_pairs": per_item[items],
            }
            yield {name: arrays[name].astype(kind.as_numpy_dtype).reshape(-1, rows) for name, kind in COLUMNS.items()}

    spec = {name: tf.TensorSpec((None, rows), kind) for name, kind in COLUMNS.items()}
    return in_epochs(chunks, spec, batches, chunk).of(interactions=interactions)
