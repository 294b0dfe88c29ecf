"""The vocabulary as lookup tables in a graph: strings become ids here and nowhere else in an export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from tfrecsession.export.histories import newest


class VocabularyTables(tf.Module):
    """Turns strings into item ids and back, in plain TensorFlow ops.

    Args:
        items: object (str) [items], the ids of the log in the order of the vocabulary.
        folder: an existing folder; the vocabulary is written there and becomes an asset of the SavedModel.
        longest: newest known items of a history that are read.
    """

    def __init__(self, items: np.ndarray, folder: Path, longest: int):
        super().__init__()
        self.longest = longest
        self.to_index, self.to_item = lookup_tables(items, folder)

    def ids(self, items):
        """Strings of any shape -> int32 ids, 0 for "" and 1 for an unknown item."""
        ids = tf.where(items == "", tf.constant(-2, tf.int64), self.to_index.lookup(items)) + 2
        return tf.cast(ids, tf.int32)

    def history(self, items):
        """string [n, events] -> int32 [n, at most `longest`], the newest known items of each history."""
        ids = self.ids(items)
        return newest(self.longest, ids > 1, ids)[0]

    def history_of_sessions(self, items, sessions):
        """string and int32 [n, events] -> the ids and the sessions of the newest events.

        Unknown items stay: a current session without other items has just started.
        """
        text = "sessions must have the shape of items: the number of the session of each event"
        with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(items), tf.shape(sessions), text)]):
            ids = self.ids(items)
        return newest(self.longest, ids > 0, ids, sessions)

    def answer(self, best, scores) -> dict:
        """int32 ids and scores of one shape -> the outputs of a signature, `""` for 0."""
        return {"items": self.to_item.lookup(tf.cast(best, tf.int64) - 2), "scores": scores}


def lookup_tables(items: np.ndarray, folder: Path, name: str = "vocabulary.txt"):
    """Returns the tables item -> index in the vocabulary (-1: unknown) and back ("" where there is none)."""
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
