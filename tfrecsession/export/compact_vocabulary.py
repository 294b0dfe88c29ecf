"""A vocabulary in a few arrays of numbers, for many items.

TensorFlow's hash tables take about 190 bytes an item, more than a compressed item table, and every process of a server
has its own. These arrays take 12 bytes and the letters of the id. They are variables, so processes can share them.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

HASHES = 2**63 - 1
KEY = [0x7466726563, 0x73657373696F6E]  # of the hash, never changed: exports keep its results


class HashedIds(tf.Module):
    """Conversion of ids to their indexes by sorted hashes.

    An id that is not in the vocabulary is taken for one that is with a probability of size / 2**63: for ten million
    items, one in 10**12 ids.

    Args:
        ids: object (str) [size].
        file: a file of the vocabulary that becomes an asset of the SavedModel; None: none.

    Raises:
        ValueError: two ids have one hash.
    """

    def __init__(self, ids: np.ndarray, file=None):
        super().__init__()
        self.file = None if file is None else tf.saved_model.Asset(str(file))
        hashes = hashes_of(tf.constant(ids.tolist(), tf.string)).numpy()
        order = np.argsort(hashes, kind="stable")
        hashes = hashes[order]
        if (hashes[1:] == hashes[:-1]).any():
            raise ValueError("two ids have one hash")
        self.hashes = tf.Variable(hashes, trainable=False)  # int64 [size], rising
        self.order = tf.Variable(order.astype(np.int32), trainable=False)  # the index of each

    def lookup(self, ids):
        """Returns the index of each id, -1 for an unknown one: string [...] -> int64 [...]."""
        hashes, flat = tf.convert_to_tensor(self.hashes), hashes_of(tf.reshape(ids, [-1]))
        place = tf.minimum(tf.searchsorted(hashes, flat), tf.size(hashes) - 1)
        index = tf.where(tf.gather(hashes, place) == flat, tf.gather(tf.convert_to_tensor(self.order), place), -1)
        return tf.cast(tf.reshape(index, tf.shape(ids)), tf.int64)


class PackedNames(tf.Module):
    """Conversion of indexes to ids, whose letters lie one after another.

    Args:
        ids: object (str) [size].

    Raises:
        ValueError: an id has a code point that `tf.strings.unicode_encode` would replace.
    """

    def __init__(self, ids: np.ndarray):
        super().__init__()
        letters = np.frombuffer("".join(ids.tolist()).encode("utf-32-le"), np.uint32)  # code points
        ends = np.cumsum([0, *map(len, ids.tolist())])
        if (((letters & 0xFFFE) == 0xFFFE) | ((letters >= 0xFDD0) & (letters <= 0xFDEF))).any():
            raise ValueError("an id has a code point that is no character")
        highest = int(letters.max(initial=0))
        kind = np.uint8 if highest < 1 << 8 else np.uint16 if highest < 1 << 16 else np.int32
        self.letters = tf.Variable(letters.astype(kind), trainable=False)
        self.ends = tf.Variable(ends.astype(np.int32 if ends[-1] < 1 << 31 else np.int64), trainable=False)

    def lookup(self, indexes):
        """Returns the id of each index, "" where there is none: int64 [...] -> string [...]."""
        flat, ends = tf.reshape(indexes, [-1]), tf.convert_to_tensor(self.ends)
        known = (flat >= 0) & (flat < tf.size(ends, tf.int64) - 1)
        flat = tf.where(known, flat, 0)
        first = tf.gather(ends, flat)
        last = tf.where(known, tf.gather(ends, flat + 1), first)
        places = tf.ragged.range(first, last, row_splits_dtype=tf.int64)
        letters = tf.cast(tf.gather(tf.convert_to_tensor(self.letters), places.flat_values), tf.int32)
        return tf.reshape(tf.strings.unicode_encode(places.with_flat_values(letters), "UTF-8"), tf.shape(indexes))


def hashes_of(ids):
    """Returns int64 hashes of strings, from 0 to HASHES - 1."""
    return tf.strings.to_hash_bucket_strong(ids, HASHES, KEY)
