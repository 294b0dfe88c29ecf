"""Recurrent cells whose previous state is multiplied by an attribute vector of the event."""

from __future__ import annotations

import keras
from keras import ops

from tfrecsession.layers.recurrent.session_recurrent import SessionRecurrent


class SessionAttributes(SessionRecurrent):
    """The base of cells that read attributes a of each event, and features f of a whole sequence.

        A = 1 + tanh(a K)                [units], the factor of the previous state; K begins with zeros
        f F                              [units], added to every gate

    Args:
        units, dropout: as in `SessionRecurrent`.
        features: the width of f; 0: there are none.
    """

    def __init__(self, units: int, features: int = 0, **kwargs):
        super().__init__(units, **kwargs)
        self.features = features

    def build(self, inputs_shape, starts_shape=None, state_shape=None, attributes_shape=None, features_shape=None):
        super().build(inputs_shape)
        self.attribute_kernel = self.add_weight(
            name="attribute_kernel", shape=(attributes_shape[-1], self.units), initializer="zeros"
        )
        if self.features:
            self.feature_kernel = self.add_weight(
                name="feature_kernel", shape=(self.features, self.units), initializer="glorot_uniform"
            )

    def call(self, inputs, starts, state=None, attributes=None, features=None, training=False):
        """Runs over all steps.

        Args:
            inputs, starts, state, training: as in `SessionRecurrent.call`.
            attributes: float [rows, steps, width], a of each event.
            features: float [rows, steps, features], f at each event; None: zeros.

        Returns:
            float [rows, steps, units], the output of each step; and float [rows, state_width], the last state.
        """
        parts = [inputs, attributes] if features is None else [inputs, attributes, features]
        return super().call(ops.concatenate(parts, axis=-1), starts, state, training=training)

    def projected(self, inputs):
        """Projects [inputs | attributes | features]: [rows, steps, all widths] -> [rows, steps, (gates + 1) units]."""
        width = self.kernel.shape[0]
        end = width + self.attribute_kernel.shape[0]
        gates = super().projected(inputs[..., :width])  # (rows, steps, gates * units)
        if inputs.shape[-1] > end:
            of_sequence = ops.matmul(inputs[..., end:], self.feature_kernel)  # (rows, steps, units)
            gates = gates + ops.tile(of_sequence, [1, 1, self.gates])
        factor = 1 + ops.tanh(ops.matmul(inputs[..., width:end], self.attribute_kernel))  # (rows, steps, units)
        return ops.concatenate([gates, factor], axis=-1)

    def compute_output_shape(
        self, inputs_shape, starts_shape=None, state_shape=None, attributes_shape=None, features_shape=None
    ):
        return super().compute_output_shape(inputs_shape)

    def get_config(self):
        return super().get_config() | {"features": self.features}


@keras.saving.register_keras_serializable(package="tfrecsession")
class SessionAttributeRNN(SessionAttributes):
    """h' = tanh(x W + (h * A) U + f F + b), A = 1 + tanh(a K): the CLoSe-RNN cell (Baral et al., RecSys 2018).

    How the attributes a become a factor is ours: without any, A is 1.

    Args:
        units, dropout, features: as in `SessionAttributes`.
    """

    def step(self, projected, state, kernels):
        inputs, factor = ops.split(projected, 2, axis=-1)  # (rows, units)
        return ops.tanh(inputs + ops.matmul(state * factor, kernels))  # (rows, units)


@keras.saving.register_keras_serializable(package="tfrecsession")
class SessionAttributeLSTM(SessionAttributes):
    """The CLoSe-LSTM cell (Baral et al., RecSys 2018): attributes multiply the state, and the gates see the memory.

        A = 1 + tanh(a K)                                         how a becomes a factor is ours
        i, f, o = sigmoid(x W + (h * A) U + p * m + s F + b)      each with its own W, U, p and b; one F for all
        g = tanh(x W_g + (h * A) U_g + s F + b_g)                 s: the features of the sequence
        m' = f * m + i * g
        h' = o * tanh(m')                                         o sees the memory m before the step, as printed

    The state is `[h | m]`. The forget gate's bias starts at 1, the peepholes p at 0.

    Args:
        units, dropout, features: as in `SessionAttributes`.
    """

    gates = 4
    memory = 2

    def build(self, inputs_shape, starts_shape=None, state_shape=None, attributes_shape=None, features_shape=None):
        super().build(inputs_shape, attributes_shape=attributes_shape)
        self.peepholes = self.add_weight(name="peepholes", shape=(3 * self.units,), initializer="zeros")
        ones, zeros = ops.ones(self.units), ops.zeros(self.units)
        self.bias.assign(ops.concatenate([zeros, ones, zeros, zeros]))  # (4 units,)

    def kernels(self):
        return super().kernels(), ops.convert_to_tensor(self.peepholes)

    def step(self, projected, state, kernels):
        recurrent, peepholes = kernels
        hidden, memory = ops.split(state, 2, axis=-1)  # (rows, units)
        gates, factor = projected[:, : 4 * self.units], projected[:, 4 * self.units :]
        gates = gates + ops.matmul(hidden * factor, recurrent)  # (rows, 4 units)
        seen = ops.tile(memory, [1, 3]) * peepholes  # (rows, 3 units)
        into, forget, out = ops.split(ops.sigmoid(gates[:, : 3 * self.units] + seen), 3, axis=-1)  # (rows, units)
        memory = forget * memory + into * ops.tanh(gates[:, 3 * self.units :])
        return ops.concatenate([out * ops.tanh(memory), memory], axis=-1)  # (rows, 2 units)
