"""The base of the recurrences over packed rows: the state is reset where a session starts."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import ops

from tfrecsession.layers.marks import check_marks

UNROLLED = 64  # steps up to which the loop is unrolled in the graph: 2-3 times faster than a loop op on CPU


class SessionRecurrent(keras.layers.Layer):
    """A recurrent layer with one state vector per row, `[rows, state_width]`; its first `units` are the output.

    A new cell is one file: a subclass with `gates`, `step` and its equation.

    Args:
        units: width of the output.
        dropout: share of the output set to zero after each step of training (the rest is scaled up); the next step
            starts from the dropped state, as in GRU4Rec's own code.
        project: whether inputs are multiplied by the input kernel. False: they are its products already, e.g. rows of
            the table of a one-hot input; their width is then `gates * units`.
    """

    gates = 1  # products with the input and with the state per step, each `units` wide
    memory = 1  # the state's width in units: more than 1 where a cell keeps more than its output

    def __init__(self, units: int, dropout: float = 0.0, project: bool = True, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.dropout = dropout
        self.project = project
        self.seed_generator = keras.random.SeedGenerator()

    @property
    def state_width(self) -> int:
        return self.memory * self.units

    def build(self, inputs_shape, starts_shape=None, state_shape=None):
        if self.project:
            self.kernel = self.add_weight(
                name="kernel", shape=(inputs_shape[-1], self.gates * self.units), initializer=self.gate_by_gate
            )
        self.recurrent_kernel = self.add_weight(
            name="recurrent_kernel", shape=(self.units, self.gates * self.units), initializer=self.gate_by_gate
        )
        self.bias = self.add_weight(name="bias", shape=(self.gates * self.units,), initializer="zeros")
        self.built = True

    def step(self, projected, state, kernels):
        """Computes one step: projected [rows, gates * units], state [rows, state_width] -> the new state."""
        raise NotImplementedError(f"{type(self).__name__} does not implement step")

    def kernels(self):
        """Returns the recurrent kernel as `step` takes it, prepared once for all steps."""
        return ops.convert_to_tensor(self.recurrent_kernel)

    def projected(self, inputs):
        """Projects inputs: [rows, steps, width] -> [rows, steps, gates * units]."""
        return (ops.matmul(inputs, self.kernel) if self.project else inputs) + self.bias

    def output(self, states):
        """Returns the outputs of states: [rows, steps, state_width] -> [rows, steps, units]."""
        return states if self.memory == 1 else states[..., : self.units]

    def call(self, inputs, starts, state=None, training=False):
        """Runs over all steps.

        Args:
            inputs: float [rows, steps, width].
            starts: bool [rows, steps], true where the state is reset to zero before the step.
            state: float [rows, state_width] carried from before, or None for zeros.
            training: whether dropout acts.

        Returns:
            float [rows, steps, units], the output of each step; and float [rows, state_width], the last state.

        Raises:
            InputError: `starts` is not bool, such as a batch's `position`.
        """
        check_marks("starts", starts)
        projected = self.projected(inputs)  # (rows, steps, gates * units)
        keep = ops.expand_dims(ops.cast(ops.logical_not(starts), projected.dtype), -1)  # (rows, steps, 1)
        if state is None:
            state = ops.zeros((ops.shape(inputs)[0], self.state_width), projected.dtype)  # (rows, state_width)

        per_step = [projected, keep]
        if training and self.dropout:
            per_step.append(self._dropout_mask(projected))  # (rows, steps, state_width)
        kernels = self.kernels()

        def advance(before, now):
            after = self.step(now[0], before * now[1], kernels)
            return after * now[2] if len(now) > 2 else after

        steps = inputs.shape[1]
        if steps is not None and steps <= UNROLLED:
            states = []
            # unstacked once: the gradient of a slice per step would fill the whole array at every step
            for now in zip(*(ops.unstack(array, steps, axis=1) for array in per_step), strict=True):
                state = advance(state, now)  # (rows, state_width)
                states.append(state)
            return self.output(ops.stack(states, axis=1)), state  # (rows, steps, units), (rows, state_width)

        # Many or unknown steps; keras.ops.scan must know their number.
        time_major = tuple(ops.transpose(array, (1, 0, 2)) for array in per_step)  # (steps, rows, ...)
        states = tf.scan(advance, time_major, initializer=state)  # (steps, rows, state_width)
        return self.output(ops.transpose(states, (1, 0, 2))), states[-1]  # (rows, steps, units), (rows, state_width)

    def _dropout_mask(self, projected):
        """Returns the factors of each step's state: dropout for the output, 1 for the rest."""
        shape = (*ops.shape(projected)[:2], self.units)
        mask = keras.random.dropout(ops.ones(shape, projected.dtype), self.dropout, seed=self.seed_generator)
        rest = self.state_width - self.units
        if not rest:
            return mask  # (rows, steps, units)
        return ops.pad(mask, ((0, 0), (0, 0), (0, rest)), constant_values=1)  # (rows, steps, state_width)

    def gate_by_gate(self, shape, dtype=None):
        """Initializes each gate's matrix apart: uniform(+-sqrt(6 / (fan in + fan out))), as GRU4Rec's authors do."""
        glorot = keras.initializers.GlorotUniform()
        matrices = [glorot((shape[0], self.units), dtype=dtype) for _ in range(self.gates)]
        return ops.concatenate(matrices, axis=1)  # (fan in, gates * units)

    def compute_output_shape(self, inputs_shape, starts_shape=None, state_shape=None):
        rows, steps = inputs_shape[:2]
        return (rows, steps, self.units), (rows, self.state_width)

    def get_config(self):
        return super().get_config() | {"units": self.units, "dropout": self.dropout, "project": self.project}
