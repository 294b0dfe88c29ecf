"""A GRU over packed rows: it starts afresh where a session starts."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import ops

UNROLLED = 64  # steps up to which the loop is laid out in the graph: 2-3 times faster than a loop op on CPU


@keras.saving.register_keras_serializable(package="tfrecsession.layers")
class SessionGRU(keras.layers.Layer):
    """The gated recurrent unit of GRU4Rec (arXiv 1511.06939, section 3).

        z = sigmoid(x W_z + h U_z + b_z)
        r = sigmoid(x W_r + h U_r + b_r)
        c = tanh(x W_c + (r * h) U_c + b_c)          reset_after=False, as in the paper
        c = tanh(x W_c + b_c + r * (h U_c + d_c))    reset_after=True, as in cuDNN: one matmul a step
        h' = (1 - z) * h + z * c

    Args:
        units: width of the state.
        reset_after: where the reset gate acts.
        dropout: share of the state set to zero after each step of training (the rest is scaled up); the next step
            starts from the dropped state, as in the authors' code.
    """

    def __init__(self, units: int, reset_after: bool = False, dropout: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.reset_after = reset_after
        self.dropout = dropout
        self.seed_generator = keras.random.SeedGenerator()

    def build(self, input_shape):
        width = input_shape[-1]
        self.kernel = self.add_weight(name="kernel", shape=(width, 3 * self.units), initializer=_gate_by_gate)
        self.recurrent_kernel = self.add_weight(
            name="recurrent_kernel", shape=(self.units, 3 * self.units), initializer=_gate_by_gate
        )
        self.bias = self.add_weight(name="bias", shape=(3 * self.units,), initializer="zeros")
        if self.reset_after:
            self.recurrent_bias = self.add_weight(name="recurrent_bias", shape=(self.units,), initializer="zeros")
        self.built = True

    def call(self, inputs, starts, state=None, training=False):
        """Run over all steps.

        Args:
            inputs: float [rows, steps, width].
            starts: bool [rows, steps], true where the state before the step is to be zero.
            state: float [rows, units] carried from before, or None for zeros.
            training: whether dropout acts.

        Returns:
            float [rows, steps, units], the state after each step; and float [rows, units], the last one.
        """
        projected = ops.matmul(inputs, self.kernel) + self.bias  # (rows, steps, 3 units)
        keep = ops.expand_dims(ops.cast(ops.logical_not(starts), projected.dtype), -1)  # (rows, steps, 1)
        if state is None:
            state = ops.zeros((ops.shape(inputs)[0], self.units), projected.dtype)

        along = [projected, keep]
        if training and self.dropout:
            ones = ops.ones_like(projected[..., : self.units])
            along.append(keras.random.dropout(ones, self.dropout, seed=self.seed_generator))
        kernels = self._kernels()

        def advance(before, now):
            after = self._step(now[0], before * now[1], kernels)
            return after * now[2] if len(now) > 2 else after

        steps = inputs.shape[1]
        if steps is not None and steps <= UNROLLED:
            states = []
            # unstacked once: the gradient of a slice per step would fill the whole array at every step
            for now in zip(*(ops.unstack(array, steps, axis=1) for array in along), strict=True):
                state = advance(state, now)
                states.append(state)
            return ops.stack(states, axis=1), state

        # Many or unknown steps; keras.ops.scan wants to know their number.
        time_major = tuple(ops.transpose(array, (1, 0, 2)) for array in along)
        states = tf.scan(advance, time_major, initializer=state)
        return ops.transpose(states, (1, 0, 2)), states[-1]

    def _kernels(self):
        """The recurrent kernel as the step wants it, cut once for all steps."""
        kernel = ops.convert_to_tensor(self.recurrent_kernel)
        return (kernel,) if self.reset_after else (kernel[:, : 2 * self.units], kernel[:, 2 * self.units :])

    def _step(self, projected, state, kernels):
        update_x, reset_x, candidate_x = ops.split(projected, 3, axis=-1)
        if self.reset_after:
            update_h, reset_h, candidate_h = ops.split(ops.matmul(state, kernels[0]), 3, axis=-1)
            reset = ops.sigmoid(reset_x + reset_h)
            candidate = candidate_x + reset * (candidate_h + self.recurrent_bias)
        else:
            update_h, reset_h = ops.split(ops.matmul(state, kernels[0]), 2, axis=-1)
            reset = ops.sigmoid(reset_x + reset_h)
            candidate = candidate_x + ops.matmul(reset * state, kernels[1])
        update = ops.sigmoid(update_x + update_h)
        return state + update * (ops.tanh(candidate) - state)

    def compute_output_shape(self, inputs_shape, starts_shape=None, state_shape=None):
        rows, steps = inputs_shape[:2]
        return (rows, steps, self.units), (rows, self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "reset_after": self.reset_after, "dropout": self.dropout}


def _gate_by_gate(shape, dtype=None):
    """Each gate's matrix drawn by itself, uniform(+-sqrt(6 / (fan in + fan out))), as the authors do."""
    draw = keras.initializers.GlorotUniform()
    return ops.concatenate([draw((shape[0], shape[1] // 3), dtype=dtype) for _ in range(3)], axis=1)
