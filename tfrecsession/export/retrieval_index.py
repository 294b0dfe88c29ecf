"""A model's items in one of TensorFlow Recommenders' indexes of the nearest vectors (`factorized_top_k`)."""

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
    """TensorFlow Recommenders' `BruteForce` or `ScaNN` layer, filled with the items of a two-tower model.

    It takes `model.encode_users(histories)`, float32 [n, dim], and gives scores [n, k] and names of items, strings
    [n, k]. Unlike `recommend` it does not fall back to the popular items for an empty history.

    TensorFlow Recommenders is written for Keras 2: the environment variable TF_USE_LEGACY_KERAS=1 has to be set before
    TensorFlow is imported. What this package does with Keras 3 works beside it.

    Args:
        model: a trained `TwoTower`.
        kind: "brute_force", exact, or "scann", approximate (extra `scann`).
        k: how many items an answer has.
        fresh: a table of further items by their content, as `model.encode_items` takes it; None: none.
        options: of the layer, such as `num_leaves` of ScaNN.

    Raises:
        InputError: an unknown kind, k beyond the items, a package that is not installed, Keras 3 where Keras 2 is
            needed, or a fresh item that is in the catalogue already.
    """
    if kind not in KINDS:
        raise InputError(f"kind={kind!r}: say one of {', '.join(KINDS)}")
    names, vectors = model.items.ids, np.asarray(model.item_vectors())[2:]
    if fresh is not None:
        fresh = content_table(fresh, "fresh")
        more = np.array(fresh["item"].to_pylist(), object)
        twice = more[model.items.encode(more) > 1]
        if len(twice):
            raise InputError(f"fresh: item {twice[0]!r} is in the catalogue already; leave it out")
        names, vectors = np.concatenate([names, more]), np.concatenate([vectors, model.encode_items(fresh)])
    if not isinstance(k, int | np.integer) or not 1 <= k <= len(names):
        raise InputError(f"k={k!r}: say a whole number from 1 to the number of items, {len(names):,}")
    layers = recommenders_layers("retrieval")
    if kind == "scann":
        load_scann_ops("kind='scann'")
    index = (layers.BruteForce if kind == "brute_force" else layers.ScaNN)(k=int(k), **options)
    return index.index(tf.constant(vectors), tf.constant(names.tolist(), tf.string))


def recommenders_layers(extra: str):
    """The module of its indexes, or an InputError that says what to do; `extra` of this package installs it."""
    if importlib.util.find_spec("tensorflow_recommenders") is None:
        raise InputError(f"TensorFlow Recommenders is not installed: pip install 'tfrecsession[{extra}]'")
    if tf.keras.layers.Layer is keras.layers.Layer:
        raise InputError(
            "TensorFlow Recommenders needs Keras 2 as tf.keras: set TF_USE_LEGACY_KERAS=1 in the environment before "
            "TensorFlow is imported, as in `TF_USE_LEGACY_KERAS=1 python ...`"
        )
    from tensorflow_recommenders.layers import factorized_top_k

    return factorized_top_k
