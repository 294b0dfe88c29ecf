"""Strings in, strings out: the vocabulary around a model's answers, in plain TensorFlow ops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from tfrecsession.export.user_signatures import user_signatures


class Answers(tf.Module):
    """What a SavedModel holds: the lookup tables, the weights an answer needs, and the signatures.

    Args:
        model: a Recommender.
        folder: an existing folder; the vocabulary is written there and becomes an asset of the SavedModel.
        k: how many items an answer has.
        exclude_seen: leave the items of the history out.
    """

    def __init__(self, model, folder: Path, k: int, exclude_seen: bool):
        super().__init__()
        self.to_id, self.to_item = _tables(model.items.ids, folder)

        @tf.function(input_signature=[tf.TensorSpec((None, None), tf.string, name="items")])
        def serving_default(items):
            best, scores = model.answer(self._ids(items), k, exclude_seen)
            return {"items": self._names(best), "scores": scores}

        across = user_signatures(model, self.to_id, self.to_item, k, exclude_seen)
        self.asked = {"serving_default": serving_default, **across}
        if len(getattr(model, "users", ())):
            self.to_user, _ = _tables(model.users, folder, "users.txt")

            @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="users")])
            def users(users):
                best, scores = model.answer_users(self.to_user.lookup(users), k, exclude_seen)
                return {"items": self._names(best), "scores": scores}

            self.asked["users"] = users
        if getattr(model, "state_width", 0):
            width = model.initial_state().shape[1]  # static, so that a client reads it off the signature

            @tf.function(
                input_signature=[
                    tf.TensorSpec((None,), tf.string, name="items"),
                    tf.TensorSpec((None, width), tf.float32, name="state"),
                ]
            )
            def advance(items, state):
                best, scores, state = model.advance_ids(self._ids(items), state, k, exclude_seen)
                return {"items": self._names(best), "scores": scores, "state": state}

            self.asked["advance"] = advance
        # Only what the answers read is saved: not the optimizer, not the tables of the negative sampler.
        read = [one for signature in self.asked.values() for one in signature.get_concrete_function().variables]
        self.weights = list({id(one): one for one in read}.values())

    def _ids(self, items):
        """Strings of any shape -> int32 ids, 0 for "" and 1 for what is unknown."""
        return tf.cast(tf.where(items == "", tf.constant(-2, tf.int64), self.to_id.lookup(items)) + 2, tf.int32)

    def _names(self, ids):
        """int32 ids of any shape -> strings, "" for 0."""
        return self.to_item.lookup(tf.cast(ids, tf.int64) - 2)


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
