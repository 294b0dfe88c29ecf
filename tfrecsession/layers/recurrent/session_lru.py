"""Linear recurrent unit over packed rows: a complex diagonal recurrence, all steps at once."""

from __future__ import annotations

import math

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfrecsession.layers.recurrent.linear_scan import linear_scan

RING = (0.8, 0.99)  # |lambda| at the start


@keras.saving.register_keras_serializable(package="tfrecsession")
class SessionLRU(keras.layers.Layer):
    """The linear recurrent unit of LRURec (arXiv 2310.02367), after arXiv 2303.06349.

        lambda = exp(-exp(nu) + i exp(theta))          [channels]: |lambda| < 1 whatever nu is
        h_t = lambda * h_{t-1} + exp(gamma) * (x_t B)  [channels], complex
        y_t = Re(h_t C) + x_t * D                      [units]

    At the start |lambda| lies within 0.8 and 0.99, uniformly over the ring, and exp(gamma) = sqrt(1 - |lambda|^2), so
    that the state is of the size of its inputs. The state is `[Re h | Im h]`.

    Args:
        units: width of inputs and outputs.
        channels: complex numbers of the state; None: as many as units.
    """

    def __init__(self, units: int, channels: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.channels = channels or units
        self.state_width = 2 * self.channels

    def build(self, inputs_shape, starts_shape=None, state_shape=None):
        channels, width = self.channels, inputs_shape[-1]

        def weight(name, shape, initializer):
            # autocast would round what stands in an exponent
            return self.add_weight(name=name, shape=shape, initializer=initializer, dtype="float32", autocast=False)

        low, high = (edge**2 for edge in RING)
        squares = keras.random.uniform((channels,), low, high)  # |lambda|^2
        turns = keras.random.uniform((channels,), 1e-4, 1.0)
        self.nu = weight("nu", (channels,), lambda *_, **__: ops.log(-0.5 * ops.log(squares)))
        self.theta = weight("theta", (channels,), lambda *_, **__: ops.log(2 * np.pi * turns))
        self.gamma = weight("gamma", (channels,), lambda *_, **__: 0.5 * ops.log(1 - squares))
        inwards = keras.initializers.RandomNormal(0.0, 1 / math.sqrt(2 * width))
        outwards = keras.initializers.RandomNormal(0.0, 1 / math.sqrt(channels))
        self.kernel = self.add_weight(name="kernel", shape=(width, 2 * channels), initializer=inwards)  # Re B | Im B
        self.back = self.add_weight(name="back", shape=(2 * channels, self.units), initializer=outwards)  # Re C, -Im C
        self.skip = self.add_weight(name="skip", shape=(self.units,), initializer="ones")
        self.built = True

    def call(self, inputs, starts, state):
        """Runs over all steps.

        Args:
            inputs: float [rows, steps, units].
            starts: bool [rows, steps], true where the state is reset to zero before the step.
            state: float [rows, 2 channels] carried from before.

        Returns:
            float [rows, steps, units], the output of each step; and float32 [rows, 2 channels], the last state.
        """
        nu, theta, gamma = (tf.convert_to_tensor(weight) for weight in (self.nu, self.theta, self.gamma))
        radius, angle = tf.exp(-tf.exp(nu)), tf.exp(theta)  # (channels,)
        factor = tf.complex(radius * tf.cos(angle), radius * tf.sin(angle))
        projected = ops.cast(ops.matmul(inputs, self.kernel), "float32")  # (rows, steps, 2 channels)
        scaled = _complex(projected * tf.tile(tf.exp(gamma), [2]))  # (rows, steps, channels)
        factors = factor * tf.cast(~starts, tf.complex64)[..., None]  # (rows, steps, channels)
        states = linear_scan(factors, scaled, _complex(tf.cast(state, tf.float32)))  # (rows, steps, channels)
        flat = _real(states)  # (rows, steps, 2 channels)
        read = ops.matmul(tf.cast(flat, self.compute_dtype), self.back)  # (rows, steps, units)
        return read + inputs * self.skip, flat[:, -1]

    def compute_output_shape(self, inputs_shape, starts_shape=None, state_shape=None):
        return (*inputs_shape[:2], self.units), (inputs_shape[0], self.state_width)

    def get_config(self):
        return super().get_config() | {"units": self.units, "channels": self.channels}


def _complex(pairs):
    """Joins `[real | imaginary]` [..., 2 n] to complex [..., n]."""
    return tf.complex(*tf.split(pairs, 2, axis=-1))


def _real(numbers):
    """Splits complex [..., n] to `[real | imaginary]` [..., 2 n]."""
    return tf.concat([tf.math.real(numbers), tf.math.imag(numbers)], axis=-1)
