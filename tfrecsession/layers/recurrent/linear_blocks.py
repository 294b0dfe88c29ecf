"""A stack of residual blocks around linear recurrences."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable(package="tfrecsession")
class LinearBlocks(keras.layers.Layer):
    """Residual blocks over packed rows: a recurrence over the steps, then a feed-forward part at every step.

        y = x + drop(R(LN x)),    z = y + drop(F(LN y)),    F(n) = act(n W_1 + b_1) W_2 + b_2
        output = LN(the last block)

    The state of a row is `[that of each recurrence | output]`.

    Args:
        recurrences: the layers R, one a block, each of width `units`: `SessionMinGRU` or `SessionLRU`.
        units: width of inputs and outputs.
        expand: width of the feed-forward part in units; 0: there is none.
        activation: of the feed-forward part.
        dropout: share of the input and of each part's output set to zero in training.
    """

    def __init__(
        self, recurrences, units: int, expand: int = 4, activation: str = "silu", dropout: float = 0.0, **kwargs
    ):
        super().__init__(**kwargs)
        self.recurrences = list(recurrences)
        self.units = units
        self.expand = expand
        self.activation = activation
        self.drop = keras.layers.Dropout(dropout)
        blocks = range(len(self.recurrences))

        def norm(name):
            return keras.layers.LayerNormalization(epsilon=1e-6, name=name)

        self.norms = [norm(f"norm_{n}_recurrence") for n in blocks]
        self.forward_norms = [norm(f"norm_{n}_forward") for n in blocks if expand]
        self.inner = [keras.layers.Dense(expand * units, activation, name=f"inner_{n}") for n in blocks if expand]
        self.outer = [keras.layers.Dense(units, name=f"outer_{n}") for n in blocks if expand]
        self.last_norm = norm("last_norm")
        self.widths = [layer.state_width for layer in self.recurrences]
        self.state_width = sum(self.widths) + units

    def build(self, inputs_shape, starts_shape=None, state_shape=None):
        shape = (None, None, self.units)
        for layer in [*self.recurrences, *self.norms, *self.forward_norms, *self.inner, self.last_norm]:
            layer.build(shape)
        for layer in self.outer:
            layer.build((None, None, self.expand * self.units))
        self.built = True

    def call(self, inputs, starts, state, training=False):
        """Encodes packed rows.

        Args:
            inputs: float [rows, steps, units].
            starts: bool [rows, steps], true where a session starts.
            state: float32 [rows, state_width], from before the first step.
            training: whether dropout acts.

        Returns:
            float [rows, steps, units], and float32 [rows, state_width], the state after the last step.
        """
        before, after = tf.split(state[:, : -self.units], self.widths, axis=-1), []
        hidden = self.drop(inputs, training=training)
        for number, recurrence in enumerate(self.recurrences):
            found, last = recurrence(self.norms[number](hidden), starts, before[number])  # (rows, steps, units)
            after.append(last)
            hidden += self.drop(found, training=training)
            if self.expand:
                found = self.outer[number](self.inner[number](self.forward_norms[number](hidden)))
                hidden += self.drop(found, training=training)
        hidden = self.last_norm(hidden)  # (rows, steps, units)
        return hidden, tf.concat([*after, ops.cast(hidden[:, -1], "float32")], axis=-1)  # (rows, state_width)

    def output(self, state):
        """Returns the output of the step that left this state: [rows, state_width] -> [rows, units]."""
        return state[:, -self.units :]

    def compute_output_shape(self, inputs_shape, starts_shape=None, state_shape=None):
        return inputs_shape, (inputs_shape[0], self.state_width)

    def get_config(self):
        return super().get_config() | {
            "recurrences": [keras.saving.serialize_keras_object(layer) for layer in self.recurrences],
            "units": self.units,
            "expand": self.expand,
            "activation": self.activation,
            "dropout": self.drop.rate,
        }

    @classmethod
    def from_config(cls, config):
        layers = [keras.saving.deserialize_keras_object(layer) for layer in config["recurrences"]]
        return cls(**config | {"recurrences": layers})
