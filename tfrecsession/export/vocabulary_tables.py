"""Lookup tables of the vocabulary: the only conversion of strings to ids in an export."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfrecsession.export.compact_vocabulary import HashedIds, PackedNames
from tfrecsession.layers.ragged import newest

MANY = 100_000  # items from which on hash tables would take too much memory; they are a little faster

EXCLUDE, ONLY = (tf.TensorSpec((None, None), tf.string, name=name) for name in ("exclude", "only"))


class VocabularyTables(tf.Module):
    """Conversion of strings to item ids and back, in plain TensorFlow ops.

    Args:
        items: object (str) [items], the ids of the log in vocabulary order.
        folder: an existing folder; the vocabulary is written there and becomes an asset of the SavedModel.
        longest: newest known items of a history that are read.
    """

    def __init__(self, items: np.ndarray, folder: Path, longest: int):
        super().__init__()
        self.longest = longest
        self.to_index, self.to_item = lookup_tables(items, folder)

    def ids(self, items):
        """Converts strings of any shape to int32 ids, 0 for "" and 1 for an unknown item."""
        ids = tf.where(items == "", tf.constant(-2, tf.int64), self.to_index.lookup(items)) + 2
        return tf.cast(ids, tf.int32)

    def history(self, items):
        """Returns the newest known items: string [n, events] -> int32 [n, at most `longest`]."""
        ids = self.ids(items)
        return newest(self.longest, ids > 1, ids)[0]

    def history_of_sessions(self, items, sessions):
        """Returns ids and sessions of the newest events, int32 [n, at most `longest`] each.

        Unknown items stay: with them alone, the current session has just started.

        Args:
            items: string [n, events].
            sessions: int32 [n, events], the session number of each event.
        """
        text = "sessions must have the shape of items: the session number of each event"
        with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(items), tf.shape(sessions), text)]):
            ids = self.ids(items)
        return newest(self.longest, ids > 0, ids, sessions)

    def filters(self, rows_of, exclude, only, name="items") -> dict:
        """Returns the arguments `exclude` and `only` of a model's answers, int32 [n, any].

        Args:
            rows_of: [n, ...], the input that the lists belong to; a list without exactly n rows is an error that names
                it.
            exclude, only: string [n, any].
            name: the name of the input `rows_of` in the request.
        """
        rows = tf.shape(rows_of)[0]
        checks = [
            tf.debugging.assert_equal(tf.shape(ids)[0], rows, f"{list_name}: must have one row for each of {name}")
            for ids, list_name in ((exclude, "exclude"), (only, "only"))
        ]
        with tf.control_dependencies(checks):
            return {"exclude": self.ids(exclude), "only": self.ids(only)}

    def answer(self, best, scores) -> dict:
        """Returns the outputs of a signature for int32 ids and scores of the same shape; id 0 becomes `""`."""
        return {"items": self.to_item.lookup(tf.cast(best, tf.int64) - 2), "scores": scores}


def lookup_tables(items: np.ndarray, folder: Path, name: str = "vocabulary.txt"):
    """Returns the tables item -> index in the vocabulary (-1: unknown) and index -> item ("": no such index)."""
    lines = not any("\n" in item or "\r" in item for item in items)  # ids that a line of a text file can hold
    file = folder / name if lines else None
    if lines:
        file.write_text("".join(f"{item}\n" for item in items), encoding="utf-8", newline="\n")
    if len(items) >= MANY:
        with contextlib.suppress(ValueError):  # an id that does not fit
            return HashedIds(items, file), PackedNames(items)
    if lines:
        whole, number = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
        size = len(items)
        forward = tf.lookup.TextFileInitializer(str(file), tf.string, whole, tf.int64, number, vocab_size=size)
        backward = tf.lookup.TextFileInitializer(str(file), tf.int64, number, tf.string, whole, vocab_size=size)
    else:
        names = tf.constant(items.tolist(), tf.string)
        indices = tf.range(len(items), dtype=tf.int64)
        forward = tf.lookup.KeyValueTensorInitializer(names, indices)
        backward = tf.lookup.KeyValueTensorInitializer(indices, names)
    return tf.lookup.StaticHashTable(forward, -1), tf.lookup.StaticHashTable(backward, "")
