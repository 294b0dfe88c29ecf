"""Plain recurrent network over packed rows."""

import keras
from keras import ops

from tfrecsession.layers.recurrent.session_recurrent import SessionRecurrent


@keras.saving.register_keras_serializable(package="tfrecsession")
class SessionRNN(SessionRecurrent):
    """h' = tanh(x W + h U + b)  (Elman, 1990)

    Args:
        units: width of the state.
        dropout, project: as in `SessionRecurrent`.
    """

    def step(self, projected, state, kernels):
        return ops.tanh(projected + ops.matmul(state, kernels))  # (rows, units)
