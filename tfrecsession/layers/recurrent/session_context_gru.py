"""Gated recurrent unit whose dynamics depend on the context of each event."""

from __future__ import annotations

import keras
from keras import ops

from tfrecsession.layers.recurrent.session_gru import SessionGRU


@keras.saving.register_keras_serializable(package="tfrecsession")
class SessionContextGRU(SessionGRU):
    """A `SessionGRU` whose products with the state are scaled by the context vector of the event.

        f = 1 + D v                                                [3 units]: f_z, f_r, f_c; v is the event's context
        z = sigmoid(x W_z + (h U_z) * f_z + b_z)
        r = sigmoid(x W_r + (h U_r) * f_r + b_r)
        c = tanh(x W_c + ((r * h) U_c) * f_c + b_c)                reset_after=False
        c = tanh(x W_c + b_c + r * ((h U_c) * f_c + d_c))          reset_after=True
        h' = (1 - z) * h + z * c

    D begins with zeros: at first it is a `SessionGRU`. The same holds for every step whose v is zero. With
    `reset_after`, z and r have a second bias too, as in `SessionGRU`.

    Args:
        units, reset_after, dropout, project: as in `SessionGRU`.
    """

    def build(self, inputs_shape, starts_shape=None, state_shape=None, context_shape=None):
        super().build(inputs_shape)
        self.context_kernel = self.add_weight(
            name="context_kernel", shape=(context_shape[-1], 3 * self.units), initializer="zeros"
        )

    def call(self, inputs, starts, state=None, context=None, training=False):
        """Runs over all steps.

        Args:
            inputs, starts, state, training: as in `SessionRecurrent.call`.
            context: float [rows, steps, context width], v of each event.

        Returns:
            float [rows, steps, units], the output of each step; and float [rows, units], the last state.
        """
        # (rows, steps, width + context width)
        return super().call(ops.concatenate([inputs, context], axis=-1), starts, state, training=training)

    def projected(self, inputs):
        """Projects inputs and context: [rows, steps, width + context width] -> [rows, steps, 6 units]."""
        width = inputs.shape[-1] - self.context_kernel.shape[0]
        factor = 1 + ops.matmul(inputs[..., width:], self.context_kernel)  # (rows, steps, 3 units)
        return ops.concatenate([super().projected(inputs[..., :width]), factor], axis=-1)  # (rows, steps, 6 units)

    def step(self, projected, state, kernels):
        projected, factor = ops.split(projected, 2, axis=-1)  # (rows, 3 units)
        two = 2 * self.units
        products = ops.matmul(state, kernels[0])  # (rows, 3 units) with reset_after, else (rows, 2 units)
        products = products * factor[:, : products.shape[-1]]
        if self.reset_after:
            products = products + self.recurrent_bias
        gates = ops.sigmoid(projected[:, :two] + products[:, :two])  # (rows, 2 units)
        update, reset = ops.split(gates, 2, axis=-1)  # (rows, units)
        if self.reset_after:
            recurrent = reset * products[:, two:]  # (rows, units)
        else:
            recurrent = ops.matmul(reset * state, kernels[1]) * factor[:, two:]  # (rows, units)
        return state + update * (ops.tanh(projected[:, two:] + recurrent) - state)

    def compute_output_shape(self, inputs_shape, starts_shape=None, state_shape=None, context_shape=None):
        return super().compute_output_shape(inputs_shape)
