"""Batches of triples (user, item, value), for factorization models."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfrecsession.batches.epochs import Batches, in_epochs
from tfrecsession.batches.interactions import Interactions
from tfrecsession.errors import InputError

PAIRS_A_CHUNK = 1 << 20  # gathered by one call of NumPy
TINY = 1e-6
COLUMNS = {
    "user": tf.int32,  # index in `interactions.users`
    "item": tf.int32,  # item id
    "value": tf.float32,  # rating or count
    "weight": tf.float32,  # how often the pair counts, usually once; 0 where the last batch is filled up
    "user_pairs": tf.float32,  # the number of all pairs of the user, each counted by its weight
    "item_pairs": tf.float32,  # the number of all pairs of the item, likewise
}


def triples(
    interactions: Interactions, rows: int = 1024, *, shuffle: bool = True, seed: int = 0, sample_weight=None, only=None
) -> Batches:
    """Returns every pair of a user and an item once an epoch, in batches of static shape `[rows]`.

    The last batch is filled up with its own first pair at weight 0, so that a lazy optimizer touches no further rows.

    Args:
        interactions: users x items.
        rows: pairs in a batch.
        shuffle: whether to mix the pairs, differently in each epoch, always the same under one `seed`.
        sample_weight: float [pairs], how often each pair of `interactions` counts, in their order; None: once.
        only: bool [pairs], the pairs of an epoch; None: all. `user_pairs` and `item_pairs` count all pairs.

    Returns:
        A dataset of dicts of the arrays of COLUMNS; its attribute `interactions` is the argument.

    Raises:
        InputError: `rows` is not a whole number of at least 1, there is no pair, or `sample_weight` is not a number of
            at least 0 for each pair.
    """
    if not isinstance(rows, int | np.integer) or rows < 1:
        raise InputError(f"rows={rows!r}: must be a whole number, at least 1")
    pairs = len(interactions.values)
    if not pairs:
        raise InputError("no event of the train split has a known item: there is nothing to train on")
    per_user = np.diff(interactions.offsets)
    user = np.repeat(np.arange(len(per_user), dtype=np.int32), per_user)
    counted = _checked(sample_weight, pairs)
    # at least the smallest number: a user whose pairs all have weight 0 is divided by it
    user_pairs = np.maximum(np.bincount(user, counted, minlength=len(per_user)), TINY)
    item_pairs = np.maximum(np.bincount(interactions.values, counted, minlength=interactions.items.size), TINY)
    chosen = np.arange(pairs) if only is None else np.flatnonzero(only)
    pairs = len(chosen)
    batches = -(-pairs // rows)
    chunk = max(1, PAIRS_A_CHUNK // rows)

    def chunks(epoch, first):
        order = np.random.default_rng([seed, epoch]).permutation(chosen) if shuffle else chosen
        for begin in range(first * chunk * rows, pairs, chunk * rows):
            pair = order[begin : begin + chunk * rows]
            count, filling = len(pair), -len(pair) % rows
            pair = np.concatenate([pair, np.repeat(pair[count - count % rows : count - count % rows + 1], filling)])
            users, items = user[pair], interactions.values[pair]
            arrays = {
                "user": users,
                "item": items,
                "value": interactions.weights[pair],
                "weight": counted[pair] * (np.arange(len(pair)) < count),
                "user_pairs": user_pairs[users],
                "item_pairs": item_pairs[items],
            }
            yield {name: arrays[name].astype(kind.as_numpy_dtype).reshape(-1, rows) for name, kind in COLUMNS.items()}

    spec = {name: tf.TensorSpec((None, rows), kind) for name, kind in COLUMNS.items()}
    return in_epochs(chunks, spec, batches, chunk).of(interactions=interactions)


def _checked(sample_weight, pairs: int) -> np.ndarray:
    """Returns the weights of all pairs, float64 [pairs]."""
    if sample_weight is None:
        return np.ones(pairs)
    weights = np.asarray(sample_weight, np.float64)
    if weights.shape != (pairs,) or not np.isfinite(weights).all() or (weights < 0).any():
        raise InputError(
            f"sample_weight: must be a number of at least 0 for each of the {pairs:,} pairs of a user and an item, in "
            f"the order of Interactions.of(data.train); its shape is {list(weights.shape)}"
        )
    return weights
