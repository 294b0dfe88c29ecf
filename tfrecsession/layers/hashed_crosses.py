"""HashedCrosses: linear weights of crosses of columns, in one hashed table."""

import keras
import tensorflow as tf

from tfrecsession.layers.items.gather import gather_rows

PRIME = 0x9E3779B97F4A7C15 - (1 << 64)  # odd, the golden ratio in 64 bits; products wrap


@keras.saving.register_keras_serializable(package="tfrecsession")
class HashedCrosses(keras.layers.Layer):
    """The wide part of Wide & Deep: the sum of the weights of the crosses that are true (arXiv 1606.07792).

        phi_k(x) = prod_i x_i^c_ki,   output = sum_k w_k phi_k(x)

    A cross of columns has a weight for every combination of their codes, found by a hash:
    row = cross * buckets + hash(cross, codes) mod buckets. Different crosses share no weight. A column with several
    codes, such as a list of tags, makes a combination for each of them; a code 0, missing, makes none.

    `counts` holds how often training saw every row.

    Args:
        crosses: tuples of names of columns.
        buckets: weights of each cross.
    """

    def __init__(self, crosses, buckets=1 << 16, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.crosses = [tuple(cross) for cross in crosses]
        self.buckets = buckets
        shape = (max(len(self.crosses), 1) * buckets,)
        self.table = self.add_weight(name="table", shape=shape, initializer="zeros", autocast=False)
        self.counts = self.add_weight(
            name="counts", shape=shape, dtype="int32", initializer="zeros", trainable=False, autocast=False
        )
        self.built = True

    def rows(self, codes):
        """Returns the rows of all combinations, and which of them are there.

        Args:
            codes: name -> int32 [n, m or 1, values], 0 where a value is missing.

        Returns:
            For each cross int32 [n, m or 1, combinations] and bool of the same shape.
        """
        found = []
        for number, cross in enumerate(self.crosses):
            hashed, there = tf.fill([1, 1, 1], tf.constant(number + 1, tf.int64)), tf.fill([1, 1, 1], True)
            for name in cross:
                values = codes[name][:, :, None, :]  # (n, m or 1, 1, values)
                hashed = mixed(hashed[..., None], tf.cast(values, tf.int64))  # (n, m or 1, combinations, values)
                there = there[..., None] & (values > 0)
                width = hashed.shape[-2] * hashed.shape[-1]
                shape = tf.concat([tf.shape(hashed)[:2], [width]], axis=0)
                hashed, there = tf.reshape(hashed, shape), tf.reshape(there, shape)
            bucket = tf.cast(tf.math.floormod(hashed, tf.constant(self.buckets, tf.int64)), tf.int32)
            found.append((number * self.buckets + bucket, there))
        return found

    def call(self, codes):
        """Returns the sum of the weights, float32 [n, m or 1]; `codes` as in `rows`."""
        return self.sums(self.rows(codes))

    def sums(self, found):
        """Returns the sum of the weights, float32 [n, m or 1]; `found` is what `rows` returns."""
        total = tf.zeros([1, 1])
        for rows, there in found:
            total += tf.reduce_sum(tf.where(there, gather_rows(self.table.value, rows), 0.0), axis=-1)
        return total

    def count(self, found, is_read) -> None:
        """Counts the `rows` of a batch of training; `is_read`: bool [n, m], the candidates that are there."""
        for rows, there in found:
            there = there & is_read[:, :, None]  # (n, m, combinations)
            rows = tf.boolean_mask(tf.broadcast_to(rows, tf.shape(there)), there)
            self.counts.value.scatter_add(tf.IndexedSlices(tf.ones_like(rows), rows))

    def summary_of_crosses(self) -> list[dict]:
        """Returns for each cross its name, its buckets, those that training saw, and those with a weight."""
        found = []
        for number, cross in enumerate(self.crosses):
            part = slice(number * self.buckets, (number + 1) * self.buckets)
            seen, weights = self.counts.numpy()[part] > 0, self.table.numpy()[part] != 0
            shown = {"seen": int(seen.sum()), "weights": int(weights.sum())}
            found.append({"cross": "*".join(cross), "buckets": self.buckets, **shown})
        return found

    def get_config(self):
        return {**super().get_config(), "crosses": [list(cross) for cross in self.crosses], "buckets": self.buckets}


def mixed(hashed, codes):
    """Returns the hash of one more code: int64 [...] twice -> int64 [...]."""
    product = tf.bitwise.bitwise_xor(hashed, codes + tf.zeros_like(hashed)) * tf.constant(PRIME, tf.int64)
    return tf.bitwise.bitwise_xor(product, tf.bitwise.right_shift(product, tf.constant(29, tf.int64)))
