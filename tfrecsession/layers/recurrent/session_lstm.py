"""Long short-term memory over packed rows."""

import keras
from keras import ops

from tfrecsession.layers.recurrent.session_recurrent import SessionRecurrent


@keras.saving.register_keras_serializable(package="tfrecsession")
class SessionLSTM(SessionRecurrent):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997, with the forget gate of Gers et al., 2000).

        i, f, o = sigmoid(x W + h U + b), each with its own W, U and b
        g = tanh(x W_g + h U_g + b_g)
        m' = f * m + i * g
        h' = o * tanh(m')

    The state is `[h | m]`. The forget gate's bias starts at 1, so that the cell remembers until it learns to forget.

    Args:
        units: width of h, and of m.
        dropout: of h, as in `SessionRecurrent`; m is never dropped.
        project: as in `SessionRecurrent`.
    """

    gates = 4
    memory = 2

    def build(self, inputs_shape, starts_shape=None, state_shape=None):
        super().build(inputs_shape)
        ones, zeros = ops.ones(self.units), ops.zeros(self.units)
        self.bias.assign(ops.concatenate([zeros, ones, zeros, zeros]))  # (4 units,)

    def step(self, projected, state, kernels):
        hidden, memory = ops.split(state, 2, axis=-1)  # (rows, units)
        into, forget, out, new = ops.split(projected + ops.matmul(hidden, kernels), 4, axis=-1)  # (rows, units)
        memory = ops.sigmoid(forget) * memory + ops.sigmoid(into) * ops.tanh(new)
        return ops.concatenate([ops.sigmoid(out) * ops.tanh(memory), memory], axis=-1)  # (rows, 2 units)
