"""TensorFlow Recommenders' nearest-neighbour indexes (`factorized_top_k`), filled with a model's items."""

from __future__ import annotations

import importlib.util

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.export.scann_ops import load_scann_ops
from tfrecsession.sessions.content import content_table

KINDS = ("brute_force", "scann")


def retrieval_index(model, kind: str = "brute_force", k: int = 20, fresh=None, **options):
    """Returns TensorFlow Recommenders' `BruteForce` or `ScaNN` layer, filled with the items of a two-tower model.

    The layer maps `model.encode_users(histories)`, float32 [n, dim], to scores [n, k] and item ids, strings [n, k].
    Unlike `recommend`, it does not return popular items for an empty history.

    TensorFlow Recommenders is written for Keras 2: the environment variable TF_USE_LEGACY_KERAS=1 must be set before
    TensorFlow is imported. This package still works with Keras 3 in the same process.

    Args:
        model: a trained `TwoTower`.
        kind: "brute_force", exact, or "scann", approximate (extra `scann`).
        k: items per answer.
        fresh: a table of further items with their content, as in `model.encode_items`; None: none.
        options: arguments of the layer, such as `num_leaves` of ScaNN.

    Raises:
        InputError: an unknown kind, k above the number of items, a package that is not installed, Keras 3 where Keras 2
            is needed, or a fresh item that is already in the catalogue.
    """
    if kind not in KINDS:
        raise InputError(f"kind={kind!r}: must be one of {', '.join(KINDS)}")
    ids, vectors = model.items.ids, np.asarray(model.item_vectors())[2:]
    if fresh is not None:
        fresh = content_table(fresh, "fresh")
        fresh_ids = np.array(fresh["item"].to_pylist(), object)
        known = fresh_ids[model.items.encode(fresh_ids) > 1]
        if len(known):
            raise InputError(f"fresh: must have new items only; item {known[0]!r} is in the catalogue already")
        ids, vectors = np.concatenate([ids, fresh_ids]), np.concatenate([vectors, model.encode_items(fresh)])
    if not isinstance(k, int | np.integer) or not 1 <= k <= len(ids):
        raise InputError(f"k={k!r}: must be a whole number from 1 to the number of items, {len(ids):,}")
    layers = recommenders_layers("retrieval")
    if kind == "scann":
        load_scann_ops("kind='scann'")
    index = (layers.BruteForce if kind == "brute_force" else layers.ScaNN)(k=int(k), **options)
    return index.index(tf.constant(vectors), tf.constant(ids.tolist(), tf.string))


def recommenders_layers(extra: str):
    """Returns TensorFlow Recommenders' module `factorized_top_k`.

    Args:
        extra: the extra of this package that installs it, for the error.

    Raises:
        InputError: TensorFlow Recommenders is not installed, or tf.keras is Keras 3.
    """
    if importlib.util.find_spec("tensorflow_recommenders") is None:
        raise InputError(f"TensorFlow Recommenders is not installed: pip install 'tfrecsession[{extra}]'")
    if tf.keras.layers.Layer is keras.layers.Layer:
        raise InputError(
            "TensorFlow Recommenders needs Keras 2 as tf.keras: set TF_USE_LEGACY_KERAS=1 in the environment before "
            "TensorFlow is imported, as in `TF_USE_LEGACY_KERAS=1 python ...`"
        )
    from tensorflow_recommenders.layers import factorized_top_k

    return factorized_top_k
