"""The encoder of NARM with a state of bounded size: its local part reads the newest events."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.layers.attention.session_attention import SessionAttention
from tfrecsession.layers.recurrent.session_gru import SessionGRU


@keras.saving.register_keras_serializable(package="tfrecsession")
class SessionNARM(keras.layers.Layer):
    """The encoder of NARM (arXiv 1711.04725): B [h_t ; c_t], a GRU and its `SessionAttention` over the newest events.

    The state of a row is `[GRU | newest window - 1 states of the GRU | output | events]`.

    Args:
        units: width of the GRU and of the output.
        window: the newest events that the attention reads; sessions up to this length are encoded as NARM does.
    """

    def __init__(self, units: int, window: int = 20, **kwargs):
        super().__init__(**kwargs)
        if window < 2:
            raise InputError(f"window={window}: must be at least 2 events")
        self.units, self.window = units, window
        self.gru = SessionGRU(units, name="gru")
        self.local = SessionAttention(units, name="attention")
        self.decoder = keras.layers.Dense(units, use_bias=False, name="decoder")
        self._widths = [units, (window - 1) * units, units, 1]
        self.state_width = sum(self._widths)

    def build(self, inputs_shape, position_shape=None, state_shape=None):
        self.gru.build(inputs_shape)
        self.local.build((None, None, self.units))
        self.decoder.build((None, None, 2 * self.units))
        self.built = True

    def call(self, inputs, position, state):
        """Runs over all steps.

        Args:
            inputs: float [rows, steps, width].
            position: int32 [rows, steps], 0 where a session starts.
            state: float32 [rows, state_width], before the first step.

        Returns:
            float [rows, steps, units], and float32 [rows, state_width], the state after the last step.
        """
        position = tf.cast(position, tf.int32)
        before, kept, _, count = tf.split(tf.cast(state, self.compute_dtype), self._widths, axis=1)
        states, last = self.gru(inputs, position == 0, before)  # (rows, steps, units), (rows, units)
        older = self.window - 1
        kept = tf.reshape(kept, [-1, older, self.units])  # (rows, window - 1, units)
        steps, count = tf.range(tf.shape(position)[1]), tf.cast(count, tf.int32)
        event = tf.where(position > steps, count + steps, position)  # (rows, steps): its number in the session
        reach = tf.pad(tf.minimum(event, older), [[0, 0], [older, 0]])  # (rows, window - 1 + steps)
        line = tf.concat([kept, states], axis=1)  # (rows, window - 1 + steps, units)
        local = self.local(line, reach)[:, older:]  # (rows, steps, units)
        hidden = self.decoder(tf.concat([states, local], axis=-1))  # (rows, steps, units)
        hidden = tf.ensure_shape(hidden, states.shape)
        count = tf.minimum(event[:, -1:] + 1, older)  # (rows, 1)
        is_kept = tf.range(older, 0, -1) <= count  # (rows, window - 1)
        kept = tf.where(is_kept[..., None], line[:, -older:], 0)
        kept = tf.reshape(kept, [-1, older * self.units])
        parts = [last, kept, hidden[:, -1], tf.cast(count, last.dtype)]
        return hidden, tf.cast(tf.concat(parts, axis=1), tf.float32)  # (rows, state_width)

    def output(self, state):
        """Returns the output of the step that left this state: [rows, state_width] -> [rows, units]."""
        return tf.split(state, self._widths, axis=1)[2]

    def compute_output_shape(self, inputs_shape, position_shape=None, state_shape=None):
        return (*inputs_shape[:2], self.units), (inputs_shape[0], self.state_width)

    def get_config(self):
        return super().get_config() | {"units": self.units, "window": self.window}
