"""Additive attention of every step over its session so far, at a cost that follows the existing pairs."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.layers.marks import check_positions

PAIRS = 1 << 17  # pairs of steps held at once: 52 MB of their vectors at 100 units

ACTIVATIONS = {
    "sigmoid": tf.sigmoid,
    "tanh": tf.tanh,
    "hard_sigmoid": lambda x: tf.clip_by_value(0.2 * x + 0.5, 0.0, 1.0),  # Theano's, not Keras' x / 6 + 0.5
}


@keras.saving.register_keras_serializable(package="tfrecsession")
class SessionAttention(keras.layers.Layer):
    """The local encoder of NARM (arXiv 1711.04725, section 3.4), for every step of every session at once.

        e_tj = v . s(h_t A_1 + h_j A_2)           j from the session's first step to t
        a_tj = exp(e_tj) / sum_i exp(e_ti)        normalize=True, as the authors' code has it
        a_tj = e_tj                               normalize=False, as the paper writes it
        c_t  = sum_j a_tj h_j

    Nothing is padded: the existing pairs (t, j) are listed, and everything is computed with a row per pair. Most
    sessions are short, so few of the steps * steps pairs of a packed row exist (3.7 a step on yoochoose, with 16
    steps). Rows of many long sessions are computed in blocks of about `PAIRS` pairs.

    Args:
        units: width of A_1 and A_2.
        activation: s; "sigmoid", "tanh", or "hard_sigmoid" as in the authors' code: min(max(x / 5 + 1 / 2, 0), 1).
        normalize: whether the weights of a step are a softmax.
    """

    def __init__(self, units: int, activation: str = "sigmoid", normalize: bool = True, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(units, int) or units < 1:
            raise InputError(f"units={units!r}: must be a whole number of at least 1")
        if activation not in ACTIVATIONS:
            raise InputError(f"activation={activation!r}: must be one of {', '.join(ACTIVATIONS)}")
        self.units = units
        self.activation = activation
        self.normalize = normalize
        self.supports_jit = False  # XLA must know the number of pairs in advance

    def build(self, states_shape, position_shape=None):
        self.query_kernel = self.add_weight(name="query_kernel", shape=(states_shape[-1], self.units))
        self.key_kernel = self.add_weight(name="key_kernel", shape=(states_shape[-1], self.units))
        self.energy = self.add_weight(name="energy", shape=(self.units, 1))
        self.built = True

    def call(self, states, position):
        """Returns what each step reads from its session.

        Args:
            states: float [rows, steps, width].
            position: int [rows, steps], how many steps of the same session directly precede each step.

        Returns:
            float [rows, steps, width].
        """
        check_positions("position", position)
        width = states.shape[-1]
        flat, queries, keys = self._flat(states)  # (cells, width), (cells, units), (cells, units)
        reach = _reach(position)  # (cells,)

        def read_cells(first, last):
            step, earlier, weights = self._pairs(queries, keys, reach, first, last)  # (pairs,) each
            weighted = weights[:, None] * tf.gather(flat, earlier)  # (pairs, width)
            return tf.math.segment_sum(weighted, step - first)  # (last - first, width)

        rows, steps = states.shape[:2]
        if rows is not None and steps is not None and rows * steps * steps <= PAIRS:
            local = read_cells(0, rows * steps)  # (cells, width)
        else:
            cells = tf.size(reach)
            block_cells = tf.maximum(PAIRS // tf.maximum(tf.reduce_max(reach), 1), 1)
            blocks = (cells + block_cells - 1) // block_cells
            parts = tf.TensorArray(flat.dtype, size=blocks, infer_shape=False, element_shape=(None, width))

            def read_block(index, parts):
                first = index * block_cells
                return index + 1, parts.write(index, read_cells(first, tf.minimum(first + block_cells, cells)))

            _, parts = tf.while_loop(lambda index, _: index < blocks, read_block, (0, parts), parallel_iterations=1)
            local = parts.concat()  # (cells, width)
        return tf.reshape(local, tf.shape(states))  # (rows, steps, width)

    def matrix(self, states, position):
        """Returns float32 [rows, steps, steps]: the weight a_tj of step j in what step t reads, else 0."""
        rows, steps = tf.unstack(tf.shape(states)[:2])
        _, queries, keys = self._flat(states)
        step, earlier, weights = self._pairs(queries, keys, _reach(position), 0, rows * steps)  # (pairs,) each
        pairs = tf.stack([step, earlier % steps], axis=1)  # (pairs, 2)
        dense = tf.scatter_nd(pairs, tf.cast(weights, tf.float32), (rows * steps, steps))  # (cells, steps)
        return tf.reshape(dense, (rows, steps, steps))  # (rows, steps, steps)

    def last(self, states, length):
        """Returns what the last of `length` steps of each row, a session, reads: [rows, width]; 0 where `length` is 0.

        Args:
            states: float [rows, steps, width].
            length: int32 [rows].
        """
        weights = tf.cast(self.last_weights(states, length), states.dtype)  # (rows, steps)
        return tf.einsum("rs,rsw->rw", weights, states)  # (rows, width)

    def last_weights(self, states, length):
        """Returns float32 [rows, steps]: the weights of `last`, at a cost linear in the steps."""
        state = tf.gather(states, tf.maximum(length - 1, 0), batch_dims=1)  # (rows, width)
        query = (state @ self._cast(self.query_kernel))[:, None]  # (rows, 1, units)
        energy = self._energy(query + states @ self._cast(self.key_kernel))  # (rows, steps)
        is_step = tf.sequence_mask(length, tf.shape(states)[1])  # (rows, steps)
        if self.normalize:
            energy = tf.nn.softmax(tf.where(is_step, energy, energy.dtype.min))
        return tf.where(is_step, energy, 0.0)

    def _flat(self, states):
        """Returns states, queries and keys of every cell, [cells, width] and twice [cells, units]."""
        flat = tf.reshape(states, (-1, states.shape[-1]))  # (cells, width)
        return flat, flat @ self._cast(self.query_kernel), flat @ self._cast(self.key_kernel)

    def _pairs(self, queries, keys, reach, first, last):
        """Lists the pairs of cells `first` to `last`: step, earlier step (int32 cells) and weight, [pairs] each."""
        counts = reach[first:last]  # (last - first,)
        local = tf.repeat(tf.range(last - first), counts)  # (pairs,)
        before = tf.cumsum(counts, exclusive=True)  # (last - first,)
        step = local + first
        earlier = step + 1 - tf.gather(counts + before, local) + tf.range(tf.size(local))  # (pairs,)
        weights = self._energy(tf.gather(queries, step) + tf.gather(keys, earlier))  # (pairs,)
        if self.normalize:
            largest = tf.stop_gradient(tf.math.segment_max(weights, local))  # (last - first,)
            weights = tf.exp(weights - tf.gather(largest, local))
            weights /= tf.gather(tf.math.segment_sum(weights, local), local)  # (pairs,)
        return step, earlier, tf.cast(weights, keys.dtype)

    def _energy(self, sums):
        """Returns v . s(sums), float32 [...] from [..., units]: the exponent of a weight."""
        return tf.cast((ACTIVATIONS[self.activation](sums) @ self._cast(self.energy))[..., 0], tf.float32)

    def _cast(self, weight):
        return tf.cast(tf.convert_to_tensor(weight), self.compute_dtype)

    def compute_output_shape(self, states_shape, position_shape=None):
        return states_shape

    def get_config(self):
        config = super().get_config()
        return config | {"units": self.units, "activation": self.activation, "normalize": self.normalize}


def _reach(position):
    """Returns int32 [cells]: how many steps each cell attends to, including itself."""
    steps = tf.range(tf.shape(position)[1])
    return tf.reshape(tf.minimum(tf.cast(position, tf.int32), steps) + 1, [-1])  # (cells,)
