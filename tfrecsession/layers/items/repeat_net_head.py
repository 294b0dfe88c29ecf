"""The repeat and explore modes of RepeatNet."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfrecsession.layers.items.repeat_head import HIDDEN, RepeatHead, by_age, copied_shares, written


@keras.saving.register_keras_serializable(package="tfrecsession")
class RepeatNetHead(RepeatHead):
    """Chooses between an item of the session and one that is new to it, as RepeatNet (AAAI 2019) does.

        e_j  = v . tanh(h A + k_j B)                   for every kind of attention; j: the newest `window` events
        a_j  = softmax_j(e_j), of the repeat mode      d_j = softmax_j(e_j), of the choice between the modes
        g    = sigmoid(w . sum_j d_j k_j)
        P(i) = g sum_{j: item of j is i} a_j           for an item of these events
        P(i) = (1 - g) softmax(scores)_i               for another one; the softmax is over the other ones alone

    k_j is the state after event j and h that of the newest one. Unknown items are not read; where no item is read, P is
    the softmax. Input and output are those of `RepeatHead`; the cost is steps * window * width of the states in a row.

    Args:
        window: the newest events of the session that can be repeated.
    """

    def build(self, hidden_shape, keys_shape, *other_shapes):
        self.width, units = hidden_shape[-1], keys_shape[-1]
        self.repeat_weights = self._attention_weights("repeat", units)  # A, B, v
        self.mode_weights = self._attention_weights("mode", units)
        self.mode_kernel = self.add_weight(name="mode_kernel", shape=(units, 1), initializer="zeros")  # w
        self.built = True

    def _attention_weights(self, name, units):
        shapes = {"query_kernel": (units, units), "key_kernel": (units, units), "energy": (units, 1)}
        return [self.add_weight(name=f"{name}_{kind}", shape=shape) for kind, shape in shapes.items()]

    # The mixture -----------------------------------------------------------------------------------------------------

    def mixed(self, scores, joined):
        _, gate, weights, items = self.split(joined)
        scores = tf.cast(scores, tf.float32)
        items = tf.where(items < tf.shape(scores)[1], items, 0)
        total = self.log_total(scores, joined) + tf.nn.softplus(gate)  # (n,)
        return written(scores - total[:, None], items, copied_shares(gate, weights, items, items))

    def log_total(self, scores, joined):
        items = self.split(joined)[3]
        items = tf.where(items < tf.shape(scores)[1], items, 0)
        others = written(scores, items, tf.fill(tf.shape(items), HIDDEN))  # (n, size)
        return tf.reduce_logsumexp(others[:, 2:], axis=1)

    def mixed_among(self, ids, scores, total, joined):
        _, gate, weights, items = self.split(joined)
        fresh = scores - (total + tf.nn.softplus(gate))[:, None]  # (n, m)
        return tf.where(self.is_in_softmax(ids, joined), fresh, copied_shares(gate, weights, items, ids))

    def is_in_softmax(self, ids, joined):
        items = self.split(joined)[3]
        return (ids > 1) & ~tf.reduce_any(ids[:, :, None] == items[:, None], axis=-1)

    def excluded(self, joined):
        return self.split(joined)[3]

    def losses(self, log_fresh, joined, targets):
        _, gate, weights, items = self.split(joined)
        is_target = items == targets[:, None]  # (n, ages)
        copied = tf.reduce_logsumexp(tf.where(is_target, weights, HIDDEN), axis=-1)  # (n,)
        is_repeat = tf.reduce_any(is_target, axis=-1)
        return -tf.where(is_repeat, copied + tf.math.log_sigmoid(gate), log_fresh - tf.nn.softplus(gate))

    def _read(self, hidden, keys, items, reach):
        steps, seen = hidden.shape[1], keys.shape[1]
        ages = min(self.window, seen)
        age = tf.range(seen - steps, seen)[:, None] - tf.range(seen)  # (steps, seen): of each event at each step
        is_read = (age >= 0) & (age <= tf.minimum(reach, ages - 1)[..., None]) & (items > 1)[:, None]
        keys = tf.cast(keys, tf.float32)
        repeat = self._log_weights(keys, steps, is_read, *self.repeat_weights)  # (rows, steps, seen)
        mode = tf.exp(self._log_weights(keys, steps, is_read, *self.mode_weights))
        gate = tf.matmul(tf.matmul(mode, keys), tf.convert_to_tensor(self.mode_kernel))  # (rows, steps, 1)
        gate = tf.where(tf.reduce_any(is_read, axis=-1, keepdims=True), gate, HIDDEN)
        # ages before the first event get 0 from `by_age`: an item of 0, and so no weight
        read = by_age(tf.where(is_read, tf.cast(items, tf.float32)[:, None], 0.0), ages)  # (rows, steps, ages)
        return tf.concat([gate, tf.where(read > 0, by_age(repeat, ages), HIDDEN), read], axis=-1)

    def _log_weights(self, keys, steps, is_read, query_kernel, key_kernel, energy):
        """Returns the log of the attention of the last steps, [rows, steps, seen], over keys [rows, seen, units]."""
        queries = tf.matmul(keys[:, -steps:], tf.convert_to_tensor(query_kernel))[:, :, None]  # (rows, steps, 1, units)
        sums = queries + tf.matmul(keys, tf.convert_to_tensor(key_kernel))[:, None]  # (rows, steps, seen, units)
        energies = tf.matmul(tf.tanh(sums), tf.convert_to_tensor(energy))[..., 0]  # (rows, steps, seen)
        return tf.where(is_read, tf.nn.log_softmax(tf.where(is_read, energies, HIDDEN)), HIDDEN)
