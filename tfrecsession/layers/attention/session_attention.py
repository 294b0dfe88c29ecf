"""Additive attention of every step over its own session up to it, at a cost that follows the pairs there are."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfrecsession.errors import InputError

PAIRS = 1 << 17  # pairs of steps held at once: 52 MB of their vectors at 100 units

ACTIVATIONS = {
    "sigmoid": tf.sigmoid,
    "hard_sigmoid": lambda x: tf.clip_by_value(0.2 * x + 0.5, 0.0, 1.0),  # Theano's, not Keras' x / 6 + 0.5
}


@keras.saving.register_keras_serializable(package="tfrecsession")
class SessionAttention(keras.layers.Layer):
    """The local encoder of NARM (arXiv 1711.04725, section 3.4), for every step of every session at once.

        e_tj = v . s(h_t A_1 + h_j A_2)           j from the session's first step to t
        a_tj = exp(e_tj) / sum_i exp(e_ti)        normalize=True, as the authors' code has it
        a_tj = e_tj                               normalize=False, as the paper writes it
        c_t  = sum_j a_tj h_j

    Nothing is padded: the pairs (t, j) that exist are listed, and all that is computed of them has a row per pair. Most
    sessions are short, so that of the steps * steps pairs of a packed row few exist (of 16 steps of yoochoose: 3.7 a
    step). Rows of many long sessions are computed in blocks of some `PAIRS` pairs.

    Args:
        units: width of A_1 and A_2.
        activation: s; "sigmoid", or "hard_sigmoid" as in the authors' code: min(max(x / 5 + 1 / 2, 0), 1).
        normalize: whether the weights of a step are a softmax.
    """

    def __init__(self, units: int, activation: str = "sigmoid", normalize: bool = True, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(units, int) or units < 1:
            raise InputError(f"units={units!r}: attention needs at least one unit")
        if activation not in ACTIVATIONS:
            raise InputError(f"activation={activation!r}: say one of {', '.join(ACTIVATIONS)}")
        self.units = units
        self.activation = activation
        self.normalize = normalize
        self.supports_jit = False  # XLA wants to know the number of pairs beforehand

    def build(self, input_shape):
        self.query_kernel = self.add_weight(name="query_kernel", shape=(input_shape[-1], self.units))
        self.key_kernel = self.add_weight(name="key_kernel", shape=(input_shape[-1], self.units))
        self.energy = self.add_weight(name="energy", shape=(self.units, 1))
        self.built = True

    def call(self, states, position):
        """What each step reads off its session.

        Args:
            states: float [rows, steps, width].
            position: int [rows, steps], the number of steps of the same session before each step, next to it.

        Returns:
            float [rows, steps, width].
        """
        width = states.shape[-1]
        flat, queries, keys = self._flat(states)
        reach = _reach(position)

        def of_cells(first, last):
            step, earlier, weights = self._pairs(queries, keys, reach, first, last)
            return tf.math.segment_sum(weights[:, None] * tf.gather(flat, earlier), step - first)

        rows, steps = states.shape[:2]
        if rows is not None and steps is not None and rows * steps * steps <= PAIRS:
            local = of_cells(0, rows * steps)
        else:
            cells = tf.size(reach)
            block = tf.maximum(PAIRS // tf.maximum(tf.reduce_max(reach), 1), 1)
            blocks = (cells + block - 1) // block
            found = tf.TensorArray(flat.dtype, size=blocks, infer_shape=False, element_shape=(None, width))

            def one_more(number, found):
                first = number * block
                return number + 1, found.write(number, of_cells(first, tf.minimum(first + block, cells)))

            _, found = tf.while_loop(lambda number, _: number < blocks, one_more, (0, found), parallel_iterations=1)
            local = found.concat()
        return tf.reshape(local, tf.shape(states))

    def matrix(self, states, position):
        """float32 [rows, steps, steps]: the weight a_tj of step j in what step t reads, 0 where it has none."""
        rows, steps = tf.unstack(tf.shape(states)[:2])
        _, queries, keys = self._flat(states)
        step, earlier, weights = self._pairs(queries, keys, _reach(position), 0, rows * steps)
        places = tf.stack([step, earlier % steps], axis=1)
        dense = tf.scatter_nd(places, tf.cast(weights, tf.float32), (rows * steps, steps))
        return tf.reshape(dense, (rows, steps, steps))

    def last(self, states, length):
        """What the last of `length` steps of each row reads off the row, a session: [rows, width]; of no step, zero.

        Args:
            states: float [rows, steps, width].
            length: int32 [rows].
        """
        return tf.einsum("rs,rsw->rw", tf.cast(self.last_weights(states, length), states.dtype), states)

    def last_weights(self, states, length):
        """float32 [rows, steps]: the weights that `last` reads with, at a cost that does not grow as the square."""
        state = tf.gather(states, tf.maximum(length - 1, 0), batch_dims=1)
        energy = self._energy((state @ self._read(self.query_kernel))[:, None] + states @ self._read(self.key_kernel))
        there = tf.sequence_mask(length, tf.shape(states)[1])
        if self.normalize:
            energy = tf.nn.softmax(tf.where(there, energy, energy.dtype.min))
        return tf.where(there, energy, 0.0)

    def _flat(self, states):
        """States, queries and keys of every cell, [cells, width] and twice [cells, units]."""
        flat = tf.reshape(states, (-1, states.shape[-1]))
        return flat, flat @ self._read(self.query_kernel), flat @ self._read(self.key_kernel)

    def _pairs(self, queries, keys, reach, first, last):
        """The pairs of the cells from `first` to `last`: step, earlier step (int32 cells) and weight, [pairs] each."""
        some = reach[first:last]
        local = tf.repeat(tf.range(last - first), some)
        before = tf.cumsum(some, exclusive=True)
        step = local + first
        earlier = step + 1 - tf.gather(some + before, local) + tf.range(tf.size(local))
        weights = self._energy(tf.gather(queries, step) + tf.gather(keys, earlier))
        if self.normalize:
            largest = tf.stop_gradient(tf.math.segment_max(weights, local))
            weights = tf.exp(weights - tf.gather(largest, local))
            weights /= tf.gather(tf.math.segment_sum(weights, local), local)
        return step, earlier, tf.cast(weights, keys.dtype)

    def _energy(self, sums):
        """v . s(sums), float32 [...]: the exponent of a weight."""
        return tf.cast((ACTIVATIONS[self.activation](sums) @ self._read(self.energy))[..., 0], tf.float32)

    def _read(self, weight):
        return tf.cast(tf.convert_to_tensor(weight), self.compute_dtype)

    def compute_output_shape(self, states_shape, position_shape=None):
        return states_shape

    def get_config(self):
        config = super().get_config()
        return config | {"units": self.units, "activation": self.activation, "normalize": self.normalize}


def _reach(position):
    """int32 [cells]: how many steps each cell looks at, itself among them."""
    steps = tf.range(tf.shape(position)[1])
    return tf.reshape(tf.minimum(tf.cast(position, tf.int32), steps) + 1, [-1])
