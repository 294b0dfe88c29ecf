"""Random: what it is worth to know nothing."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfrecsession.layers import last_items, newest_items
from tfrecsession.recommender.counting_model import CountingModel


@keras.saving.register_keras_serializable(package="tfrecsession")
class Random(CountingModel):
    """Puts the catalogue in a random order, another one for every history and the same one for the same history.

        score(i) = hash(seed, history, i), uniform in [0, 1)

    The history is its known items in their order. A hash and not a draw: what else is in the batch, how rows are packed
    and whether the model was saved, loaded or exported changes nothing.

    Args:
        items: the vocabulary.
        seed: another seed, other orders.

    Example:

        model = trs.models.Random(data.items)
        model.fit(data.train)
    """

    search_space = {}

    def __init__(self, items, seed=0, **kwargs):
        super().__init__(items, **kwargs)
        self.seed = seed

    def count(self, sessions):
        pass

    def encode(self, batch, training=False):
        """A number per history: int64 [rows, steps, 1], below 2**32."""
        return self._hashed(newest_items(batch))

    def encode_last(self, batch, length):
        return self._hashed(last_items(batch, length))

    def _hashed(self, items):
        ago = tf.cast(tf.range(tf.shape(items)[-1]), tf.uint32)
        hashed = tf.cast(_mix(_mix(tf.cast(items, tf.uint32)) + ago), tf.int64)
        return tf.reduce_sum(tf.where(items > 0, hashed, 0), axis=-1, keepdims=True) % 2**32

    def score_all(self, encoded):
        seed = _mix(tf.constant(self.seed % 2**32, tf.uint32))
        items = _mix(tf.cast(tf.range(self.size), tf.uint32) + seed)
        hashed = _mix(_mix(tf.cast(encoded, tf.uint32)) + items)  # (n, size)
        # the 24 bits that a float32 below 1 holds exactly
        return tf.cast(tf.bitwise.right_shift(hashed, tf.constant(8, tf.uint32)), tf.float32) / 2.0**24

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


def _mix(number):
    """uint32 -> uint32, one to one, every bit of the result moved by every bit of the number.

    The finishing step of MurmurHash3 (Appleby, public domain).
    """
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        number = tf.bitwise.bitwise_xor(number, tf.bitwise.right_shift(number, tf.constant(shift, tf.uint32)))
        number *= tf.constant(factor, tf.uint32)
    return tf.bitwise.bitwise_xor(number, tf.bitwise.right_shift(number, tf.constant(16, tf.uint32)))
