"""The session so far as the mean of its vectors, weighted by a softmax over logits that the events bring."""

import keras
from keras import ops

from tfrecsession.layers.recurrent.session_recurrent import SessionRecurrent


@keras.saving.register_keras_serializable(package="tfrecsession")
class AttentiveMean(SessionRecurrent):
    """m_t = sum_j softmax_j(l_j) v_j over the events j <= t of the session, step by step.

        w_t = sigmoid(l_t - s_{t-1}),   m_t = m_{t-1} + w_t (v_t - m_{t-1}),   s_t = log(exp s_{t-1} + exp l_t)

    Inputs are `[v | l]`. Output and state are `[m | s | 1]`, zeros before the first event.
    """

    def __init__(self, **kwargs):
        super().__init__(**{"units": 0, "dtype": "float32", **kwargs})  # `build` sets the width

    def build(self, inputs_shape, starts_shape=None, state_shape=None):
        self.units = inputs_shape[-1] + 1
        self.built = True

    def kernels(self):
        return None

    def projected(self, inputs):
        return ops.pad(inputs, ((0, 0), (0, 0), (0, 1)), constant_values=1)  # (rows, steps, units)

    def step(self, projected, state, kernels):
        vector, logit, one = projected[:, :-2], projected[:, -2:-1], projected[:, -1:]
        mean, sums, some = state[:, :-2], state[:, -2:-1], state[:, -1:]
        weight = ops.where(some > 0, ops.sigmoid(logit - sums), 1.0)  # (rows, 1)
        sums = ops.where(some > 0, ops.logaddexp(sums, logit), logit)
        return ops.concatenate([mean + weight * (vector - mean), sums, one], axis=-1)  # (rows, units)

    def get_config(self):
        config = super().get_config()
        return {name: value for name, value in config.items() if name not in ("units", "dropout", "project")}
