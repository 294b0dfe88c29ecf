"""Gated recurrent unit over packed rows."""

from __future__ import annotations

import keras
from keras import ops

from tfrecsession.layers.recurrent.session_recurrent import SessionRecurrent


@keras.saving.register_keras_serializable(package="tfrecsession")
class SessionGRU(SessionRecurrent):
    """The gated recurrent unit of GRU4Rec (arXiv 1511.06939, section 3).

        z = sigmoid(x W_z + h U_z + b_z)
        r = sigmoid(x W_r + h U_r + b_r)
        c = tanh(x W_c + (r * h) U_c + b_c)          reset_after=False, as in the paper
        c = tanh(x W_c + b_c + r * (h U_c + d_c))    reset_after=True, as in cuDNN and PyTorch: one matmul a step
        h' = (1 - z) * h + z * c

    Args:
        units: width of the state.
        reset_after: whether the reset gate acts after the matmul. If so, every gate has a second bias d beside b, as in
            cuDNN: redundant for z and r, but under Adagrad the two together learn twice as fast as one.
        dropout, project: as in `SessionRecurrent`.
    """

    gates = 3

    def __init__(self, units: int, reset_after: bool = False, dropout: float = 0.0, **kwargs):
        super().__init__(units, dropout, **kwargs)
        self.reset_after = reset_after

    def build(self, inputs_shape, starts_shape=None, state_shape=None):
        super().build(inputs_shape)
        if self.reset_after:
            self.recurrent_bias = self.add_weight(name="recurrent_bias", shape=(3 * self.units,), initializer="zeros")

    def kernels(self):
        kernel = super().kernels()
        return (kernel,) if self.reset_after else (kernel[:, : 2 * self.units], kernel[:, 2 * self.units :])

    def step(self, projected, state, kernels):
        update_x, reset_x, candidate_x = ops.split(projected, 3, axis=-1)  # (rows, units)
        if self.reset_after:
            recurrent = ops.matmul(state, kernels[0]) + self.recurrent_bias  # (rows, 3 units)
            update_h, reset_h, candidate_h = ops.split(recurrent, 3, axis=-1)  # (rows, units)
            reset = ops.sigmoid(reset_x + reset_h)
            candidate = candidate_x + reset * candidate_h
        else:
            update_h, reset_h = ops.split(ops.matmul(state, kernels[0]), 2, axis=-1)  # (rows, units)
            reset = ops.sigmoid(reset_x + reset_h)
            candidate = candidate_x + ops.matmul(reset * state, kernels[1])  # (rows, units)
        update = self.update_gate(update_x + update_h)
        return state + update * (ops.tanh(candidate) - state)

    def update_gate(self, inputs):
        """Returns z, float [rows, units], from the sum of its products."""
        return ops.sigmoid(inputs)

    def get_config(self):
        return super().get_config() | {"reset_after": self.reset_after}
