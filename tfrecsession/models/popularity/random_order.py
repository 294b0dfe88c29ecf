"""Random: the catalogue in random order, the score of pure chance."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.layers import history_length, last_items, newest_items, newest_items_at
from tfrecsession.recommender.arguments import refuse
from tfrecsession.recommender.counting_model import CountingModel


@keras.saving.register_keras_serializable(package="tfrecsession")
class Random(CountingModel):
    """The catalogue in random order, reproducible for each history: the baseline of pure chance.

        score(i) = hash(seed, history, i), uniform in [0, 1)

    The history is its known items in their order. The scores are hashed, not sampled. They do not depend on the rest of
    the batch, on the packing of rows, or on whether the model was saved, loaded or exported.

    Args:
        items: the vocabulary.
        seed: a whole number; each seed gives other orders.

    Raises:
        InputError: `seed` is not a whole number.

    Example:

        model = trs.models.Random(data.items)
        model.fit(data.train)
    """

    # Declarations
    search_space = {}
    fitted = True  # there is nothing to learn

    def __init__(self, items, seed=0, **kwargs):
        # Arguments
        if not isinstance(seed, int | np.integer):
            refuse("seed", seed, "a whole number")
        super().__init__(items, **kwargs)
        self.seed = seed
        self.build()

    # Training

    def count(self, sessions):
        pass

    # Recommendations

    def encode(self, batch, training=False):
        """Returns a hash of each history: int64 [rows, steps, 1], below 2**32."""
        return self._hashed(newest_items(batch))  # (rows, steps, events) -> (rows, steps, 1)

    def encoder(self, batch):
        newest = newest_items_at(batch)
        return lambda cells: self._hashed(newest(cells))

    def cells_of_an_event(self, batch):
        return 24 * history_length(batch)

    def encode_last(self, batch, length):
        return self._hashed(last_items(batch, length))  # (rows, events) -> (rows, 1)

    def _hashed(self, items):
        """Hashes histories: int32 [..., events], newest first, 0 is padding -> int64 [..., 1]."""
        ago = tf.cast(tf.range(tf.shape(items)[-1]), tf.uint32)  # (events,)
        hashed = tf.cast(_mix(_mix(tf.cast(items, tf.uint32)) + ago), tf.int64)  # (..., events)
        return tf.reduce_sum(tf.where(items > 0, hashed, 0), axis=-1, keepdims=True) % 2**32  # (..., 1)

    def score_all(self, encoded):
        seed = _mix(tf.constant(self.seed % 2**32, tf.uint32))  # ()
        items = _mix(tf.cast(tf.range(self.size), tf.uint32) + seed)  # (size,)
        hashed = _mix(_mix(tf.cast(encoded, tf.uint32)) + items)  # (n, 1) + (size,) -> (n, size)
        # a float32 below 1 holds exactly 24 bits
        return tf.cast(tf.bitwise.right_shift(hashed, tf.constant(8, tf.uint32)), tf.float32) / 2.0**24

    # Configuration

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


def _mix(bits):
    """Maps uint32 to uint32, one to one; every bit of the result depends on every bit of the input.

    The finishing step of MurmurHash3 (Appleby, public domain).
    """
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        bits = tf.bitwise.bitwise_xor(bits, tf.bitwise.right_shift(bits, tf.constant(shift, tf.uint32)))
        bits *= tf.constant(factor, tf.uint32)
    return tf.bitwise.bitwise_xor(bits, tf.bitwise.right_shift(bits, tf.constant(16, tf.uint32)))
