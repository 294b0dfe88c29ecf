"""Minimal gated recurrent unit over packed rows: its gate reads the input alone, so that all steps run at once."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import ops

from tfrecsession.layers.recurrent.linear_scan import linear_scan


@keras.saving.register_keras_serializable(package="tfrecsession")
class SessionMinGRU(keras.layers.Layer):
    """The minGRU of arXiv 2410.01201.

        z_t = sigmoid(x_t W_z + b_z)
        c_t = g(x_t W_c + b_c)                g(a) = a + 1/2 where a >= 0, else sigmoid(a): always above 0
        h_t = (1 - z_t) * h_{t-1} + z_t * c_t

    The recurrence is computed as it stands (`linear_scan`), not by logarithms as in the paper: nothing overflows, and a
    carried state needs no logarithm of its own. The state [units] is the output.

    Args:
        units: width of the output.
    """

    def __init__(self, units: int, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_width = units

    def build(self, inputs_shape, starts_shape=None, state_shape=None):
        glorot = keras.initializers.GlorotUniform()

        def both(shape, dtype=None):  # each gate apart
            return ops.concatenate([glorot((shape[0], self.units), dtype=dtype) for _ in range(2)], axis=1)

        self.kernel = self.add_weight(name="kernel", shape=(inputs_shape[-1], 2 * self.units), initializer=both)
        self.bias = self.add_weight(name="bias", shape=(2 * self.units,), initializer="zeros")
        self.built = True

    def call(self, inputs, starts, state):
        """Runs over all steps.

        Args:
            inputs: float [rows, steps, width].
            starts: bool [rows, steps], true where the state is reset to zero before the step.
            state: float [rows, units] carried from before.

        Returns:
            float [rows, steps, units], the output of each step; and float32 [rows, units], the last state.
        """
        projected = ops.cast(ops.matmul(inputs, self.kernel) + self.bias, "float32")  # (rows, steps, 2 units)
        gate, candidate = tf.split(projected, 2, axis=-1)  # (rows, steps, units)
        gate = tf.sigmoid(gate)
        candidate = tf.where(candidate >= 0, candidate + 0.5, tf.sigmoid(candidate))
        keep = tf.cast(~starts, tf.float32)[..., None]  # (rows, steps, 1)
        states = linear_scan((1 - gate) * keep, gate * candidate, tf.cast(state, tf.float32))  # (rows, steps, units)
        return tf.cast(states, self.compute_dtype), states[:, -1]

    def compute_output_shape(self, inputs_shape, starts_shape=None, state_shape=None):
        return (*inputs_shape[:2], self.units), (inputs_shape[0], self.state_width)

    def get_config(self):
        return super().get_config() | {"units": self.units}
