"""Gated recurrent unit with a rectified update gate, as in RecGAN."""

from __future__ import annotations

import keras
from keras import ops

from tfrecsession.layers.recurrent.session_gru import SessionGRU

LEAK = 0.01  # slope of the update gate below 0


@keras.saving.register_keras_serializable(package="tfrecsession")
class SessionRectifiedGRU(SessionGRU):
    """The modified cell of RecGAN (Bharadhwaj, Park and Lim, RecSys 2018): the update gate is a leaky ReLU.

        z = max(a, 0.01 a),  a = x W_z + h U_z + b_z      bounded: cut to 0..1
        r = sigmoid(x W_r + h U_r + b_r)
        c = tanh(x W_c + (r * h) U_c + b_c)
        h' = (1 - z) * h + z * c

    Args:
        units: width of the state.
        bounded: whether z is cut to 0..1. The paper does not; then 1 - z may be negative, and the state may explode:
            clip gradients.
        dropout, project: as in `SessionRecurrent`.
    """

    def __init__(self, units: int, bounded: bool = True, dropout: float = 0.0, **kwargs):
        super().__init__(units, dropout=dropout, **kwargs)
        self.bounded = bounded

    def update_gate(self, inputs):
        gate = ops.leaky_relu(inputs, LEAK)
        return ops.clip(gate, 0.0, 1.0) if self.bounded else gate

    def get_config(self):
        config = super().get_config()
        config.pop("reset_after")
        return config | {"bounded": self.bounded}
