"""Strings in, strings out: the vocabulary around a model's answers, in plain TensorFlow ops."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import numpy as np
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.export.filters import EXCLUDE, ONLY, read_filters
from tfrecsession.export.histories import newest
from tfrecsession.export.index import ExactIndex
from tfrecsession.export.user_signatures import user_signatures
from tfrecsession.layers.items.gather import answering

ITEM = tf.TensorSpec((None,), tf.string, name="items")
HISTORY = tf.TensorSpec((None, None), tf.string, name="items")


class Answers(tf.Module):
    """What a SavedModel holds: the lookup tables, the weights an answer needs, and the signatures.

    The docstring of a signature is what the export's README says of it.

    Args:
        model: a Recommender.
        folder: an existing folder; the vocabulary is written there and becomes an asset of the SavedModel.
        k: how many items an answer has.
        exclude_seen: leave the items of the history out.
        longest: newest known items of a history that are read.
        index: what finds the best items; None: an `ExactIndex`.
    """

    def __init__(self, model, folder: Path, k: int, exclude_seen: bool, longest: int, index=None):
        super().__init__()
        self.longest, self.index = longest, index or ExactIndex(model)
        self.to_id, self.to_item = _tables(model.items.ids, folder)
        asked = {
            **self._recommending(model, k, exclude_seen),
            **self._of_vectors(model, k),
            **user_signatures(model, self.to_id, self.to_item, k, exclude_seen, longest),
        }
        if len(getattr(model, "users", ())):
            self.to_user, _ = _tables(model.users, folder, "users.txt")
            asked |= self._of_users(model, k, exclude_seen)
        if getattr(model, "state_width", 0):
            asked |= self._streaming(model, k, exclude_seen)
        self.asked = MappingProxyType(asked)  # of a dict, all functions would be saved too, traced once more
        # Only what the answers read is saved: not the optimizer, not the tables of the negative sampler.
        with self.index.installed(), answering():
            read = [one for signature in self.asked.values() for one in signature.get_concrete_function().variables]
        self.weights = list({id(one): one for one in read}.values())

    def _recommending(self, model, k, exclude_seen):
        @tf.function(input_signature=[HISTORY], autograph=False)
        def serving_default(items):
            """What comes next: the k best items after each history, best first, and their scores."""
            return self._answer(*model.answer(self._history(items), k, exclude_seen))

        @tf.function(input_signature=[HISTORY, EXCLUDE, ONLY], autograph=False)
        def recommend_filtered(items, exclude, only):
            """As `serving_default`, without the items of `exclude` (out of stock, bought already) and, where a row of
            `only` names any, from those alone (a category). A row of `only` that is all padding stands for the whole
            catalogue. Where fewer than k items are left, the answer ends in `""`."""
            filters = read_filters(items, exclude, only, self._ids)
            return self._answer(*model.answer(self._history(items), k, exclude_seen, **filters))

        return {"serving_default": serving_default, "recommend_filtered": recommend_filtered}

    def _of_vectors(self, model, k):
        """What a model can say of its vectors, if it has any."""
        named = {}
        try:
            nearest = self.index.nearest()
        except InputError:
            pass
        else:

            @tf.function(input_signature=[ITEM], autograph=False)
            def similar_items(items):
                """The k items most like each item, itself left out, most alike first. Of an unknown item: `""`."""
                return self._answer(*nearest(self._ids(items), k))

            named["similar_items"] = similar_items
        if not model.scores_by_products:
            return named

        @tf.function(input_signature=[HISTORY], autograph=False)
        def encode(items):
            """The vector of each history, for a vector store of one's own that searches for the largest dot products
            with the vectors of `encode_items`: these products are the scores. Of a history without a known item: zeros,
            which say nothing; `serving_default` answers it with popular items."""
            return {"vector": model.query_vectors(self._history(items))}

        @tf.function(input_signature=[ITEM], autograph=False)
        def encode_items(items):
            """The vector of each item, to be kept in a vector store. What a model adds to the scores of an item, as
            biases are, is the last component, against a 1 in `encode`: search by dot product, not by cosine. Of an
            unknown item: zeros."""
            ids = self._ids(items)
            return {"vector": tf.where(ids[:, None] > 1, model.score_vectors(ids), 0.0)}

        return named | {"encode": encode, "encode_items": encode_items}

    def _of_users(self, model, k, exclude_seen):
        people = tf.TensorSpec((None,), tf.string, name="users")

        @tf.function(input_signature=[people], autograph=False)
        def users(users):
            """The k best items of people whom training knew by name; who is unknown gets popular items."""
            return self._answer(*model.answer_users(self.to_user.lookup(users), k, exclude_seen))

        @tf.function(input_signature=[people, EXCLUDE, ONLY], autograph=False)
        def users_filtered(users, exclude, only):
            """As `users`, with the lists of `recommend_filtered`."""
            filters = read_filters(users, exclude, only, self._ids, "users")
            return self._answer(*model.answer_users(self.to_user.lookup(users), k, exclude_seen, **filters))

        return {"users": users, "users_filtered": users_filtered}

    def _streaming(self, model, k, exclude_seen):
        width = model.initial_state().shape[1]  # static, so that a client reads it off the signature

        @tf.function(input_signature=[ITEM, tf.TensorSpec((None, width), tf.float32, name="state")], autograph=False)
        def advance(items, state):
            """One event further in each of n sessions, at the same cost however long they are: `state` is what the
            event before answered, zeros start a session. An unknown item and `""` leave the state as it is."""
            best, scores, state = model.advance_ids(self._ids(items), state, k, exclude_seen)
            return self._answer(best, scores) | {"state": state}

        return {"advance": advance}

    def _ids(self, items):
        """Strings of any shape -> int32 ids, 0 for "" and 1 for what is unknown."""
        return tf.cast(tf.where(items == "", tf.constant(-2, tf.int64), self.to_id.lookup(items)) + 2, tf.int32)

    def _history(self, items):
        """`_ids` of histories, of each no more than is read."""
        ids = self._ids(items)
        return newest(self.longest, ids > 1, ids)[0]

    def _answer(self, best, scores):
        """int32 ids and scores of one shape -> strings, "" for 0, and scores."""
        return {"items": self.to_item.lookup(tf.cast(best, tf.int64) - 2), "scores": scores}


def _tables(items: np.ndarray, folder: Path, name: str = "vocabulary.txt"):
    """item -> place in the vocabulary (-1: unknown) and back ("" where there is none)."""
    if any("\n" in item or "\r" in item for item in items):  # a text file cannot hold these
        names = tf.constant(items.tolist(), tf.string)
        places = tf.range(len(items), dtype=tf.int64)
        forward = tf.lookup.KeyValueTensorInitializer(names, places)
        backward = tf.lookup.KeyValueTensorInitializer(places, names)
    else:
        file = folder / name
        file.write_text("".join(f"{item}\n" for item in items), encoding="utf-8", newline="\n")
        whole, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
        size = len(items)
        forward = tf.lookup.TextFileInitializer(str(file), tf.string, whole, tf.int64, number, vocab_size=size)
        backward = tf.lookup.TextFileInitializer(str(file), tf.int64, number, tf.string, whole, vocab_size=size)
    return tf.lookup.StaticHashTable(forward, -1), tf.lookup.StaticHashTable(backward, "")
