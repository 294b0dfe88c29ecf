"""The signatures of a SavedModel: strings in, strings out, in plain TensorFlow ops.

Each ability of a model (`Recommender.abilities`) has the signatures of one function here. The export's README shows the
docstring of each signature.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import tensorflow as tf

from tfrecsession.export.filters import EXCLUDE, ONLY, read_filters
from tfrecsession.export.index import ExactIndex
from tfrecsession.export.user_signatures import user_signatures
from tfrecsession.export.vocabulary_tables import VocabularyTables, lookup_tables

ITEM = tf.TensorSpec((None,), tf.string, name="items")
HISTORY = tf.TensorSpec((None, None), tf.string, name="items")


class Options(NamedTuple):
    """The choices of an export that its signatures depend on."""

    k: int  # items of an answer
    exclude_seen: bool  # whether the items of the history are left out
    index: ExactIndex  # searches the best items
    folder: Path  # where assets are written


class ServedModel(tf.Module):
    """The content of a SavedModel: the lookup tables, the weights that an answer needs, and the signatures.

    Args:
        model: a Recommender.
        folder: an existing folder; the vocabulary is written there and becomes an asset of the SavedModel.
        k: how many items an answer has.
        exclude_seen: leave the items of the history out.
        longest: newest known items of a history that are read.
        index: searches the best items; None: an `ExactIndex`.
    """

    def __init__(self, model, folder: Path, k: int, exclude_seen: bool, longest: int, index=None):
        super().__init__()
        self.index = index or ExactIndex(model)
        self.tables = VocabularyTables(model.items.ids, folder, longest)
        self.user_tables = lookup_tables(model.users, folder, "users.txt") if "users" in model.abilities else None
        options = Options(k, exclude_seen, self.index, folder)
        signatures = {}
        for ability, make in SIGNATURES.items():
            if ability in model.abilities:
                signatures |= make(model, self, options)
        self.signatures = MappingProxyType(signatures)  # of a dict, all functions would be saved too, traced once more
        # Only what the answers read is saved: not the optimizer, not the tables of the negative sampler.
        with self.index.installed():
            read = [
                variable
                for signature in self.signatures.values()
                for variable in signature.get_concrete_function().variables
            ]
        self.weights = list({id(variable): variable for variable in read}.values())


def recommending(model, served: ServedModel, options: Options) -> dict:
    """Returns the signatures of every model."""
    tables, k, exclude_seen = served.tables, options.k, options.exclude_seen

    @tf.function(input_signature=[HISTORY], autograph=False)
    def serving_default(items):
        """What comes next: the k best items after each history, best first, and their scores."""
        return tables.answer(*model.answer(tables.history(items), k, exclude_seen))

    @tf.function(input_signature=[HISTORY, EXCLUDE, ONLY], autograph=False)
    def recommend_filtered(items, exclude, only):
        """As `serving_default`, without the items of `exclude` (out of stock, bought already) and, where a row of
        `only` names any, from those alone (a category). A row of `only` that is all padding stands for the whole
        catalogue. Where fewer than k items are left, the answer ends in `""`."""
        filters = read_filters(items, exclude, only, tables.ids)
        return tables.answer(*model.answer(tables.history(items), k, exclude_seen, **filters))

    return {"serving_default": serving_default, "recommend_filtered": recommend_filtered}


def finding_similar(model, served: ServedModel, options: Options) -> dict:
    """Returns the signature of a model that finds similar items."""
    tables, nearest = served.tables, options.index.nearest()

    @tf.function(input_signature=[ITEM], autograph=False)
    def similar_items(items):
        """The k items most like each item, itself left out, most alike first. Of an unknown item: `""`."""
        return tables.answer(*nearest(tables.ids(items), options.k))

    return {"similar_items": similar_items}


def encoding(model, served: ServedModel, options: Options) -> dict:
    """Returns the signatures of a model that scores by dot products."""
    tables = served.tables

    @tf.function(input_signature=[HISTORY], autograph=False)
    def encode(items):
        """The vector of each history, for a vector store of one's own that searches for the largest dot products
        with the vectors of `encode_items`: these products are the scores. Of a history without a known item: zeros,
        which say nothing; `serving_default` answers it with popular items."""
        return {"vector": model.query_vectors(tables.history(items))}

    @tf.function(input_signature=[ITEM], autograph=False)
    def encode_items(items):
        """The vector of each item, to be kept in a vector store. What a model adds to the scores of an item, as
        biases are, is the last component, against a 1 in `encode`: search by dot product, not by cosine. Of an
        unknown item: zeros."""
        ids = tables.ids(items)
        return {"vector": tf.where(ids[:, None] > 1, model.score_vectors(ids), 0.0)}

    return {"encode": encode, "encode_items": encode_items}


def recommending_to_users(model, served: ServedModel, options: Options) -> dict:
    """Returns the signatures of a model that knows users by their ids."""
    tables, (to_user, _) = served.tables, served.user_tables
    k, exclude_seen, spec = options.k, options.exclude_seen, tf.TensorSpec((None,), tf.string, name="users")

    @tf.function(input_signature=[spec], autograph=False)
    def users(users):
        """The k best items of known users; unknown users get popular items."""
        return tables.answer(*model.answer_users(to_user.lookup(users), k, exclude_seen))

    @tf.function(input_signature=[spec, EXCLUDE, ONLY], autograph=False)
    def users_filtered(users, exclude, only):
        """As `users`, with the lists of `recommend_filtered`."""
        filters = read_filters(users, exclude, only, tables.ids, "users")
        return tables.answer(*model.answer_users(to_user.lookup(users), k, exclude_seen, **filters))

    return {"users": users, "users_filtered": users_filtered}


def streaming(model, served: ServedModel, options: Options) -> dict:
    """Returns the signature of a model that advances by one event."""
    tables, width = served.tables, model.initial_state().shape[1]
    state_spec = tf.TensorSpec((None, width), tf.float32, name="state")  # static: a client reads the width off it

    @tf.function(input_signature=[ITEM, state_spec], autograph=False)
    def advance(items, state):
        """One event further in each of n sessions, at the same cost however long they are: `state` is what the
        event before answered, zeros start a session. An unknown item and `""` leave the state as it is."""
        best, scores, state = model.advance_ids(tables.ids(items), state, options.k, options.exclude_seen)
        return tables.answer(best, scores) | {"state": state}

    return {"advance": advance}


def remembering_users(model, served: ServedModel, options: Options) -> dict:
    """Returns the signatures of a model that keeps a state of a user between sessions."""
    return user_signatures(model, served.tables, options.k, options.exclude_seen)


SIGNATURES = {
    "recommend": recommending,
    "similar_items": finding_similar,
    "vectors": encoding,
    "user_states": remembering_users,
    "users": recommending_to_users,
    "advance": streaming,
}
"""Ability of a model -> the function that makes its signatures."""
