"""Adagrad on the rows touched, with the momentum of GRU4Rec."""

import keras
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.optimizers.lazy_optimizer import LazyOptimizer


@keras.saving.register_keras_serializable(package="tfrecsession")
class LazyAdagrad(LazyOptimizer):
    """acc += g^2;  v = momentum v - learning_rate g / sqrt(acc + epsilon);  p += v

    Duchi, Hazan and Singer, 2011. The accumulator starts at 0, as in the authors' GRU4Rec (Keras: 0.1, which slows
    the first steps of every rare item), and epsilon is inside the root. Momentum is as in GRU4Rec: only the velocity of
    rows touched acts and decays.

    Args:
        learning_rate: as in `LazyOptimizer`.
        initial_accumulator_value: of acc.
        epsilon: above 0; the authors' code has 1e-6.
        momentum: from 0 (none, and no state for it) to below 1.
        **kwargs: as in `LazyOptimizer`.

    Raises:
        InputError: `epsilon` is not above 0 (a row without gradient would become NaN), or `momentum` out of range.
    """

    def __init__(
        self,
        learning_rate=0.05,
        initial_accumulator_value=0.0,
        epsilon=1e-7,
        momentum=0.0,
        name="lazy_adagrad",
        **kwargs,
    ):
        super().__init__(learning_rate, name=name, **kwargs)
        if epsilon <= 0:
            raise InputError(f"epsilon={epsilon}: must be above 0 for LazyAdagrad, e.g. 1e-7")
        if not 0 <= momentum < 1:
            raise InputError(f"momentum={momentum}: must be from 0 to below 1 for LazyAdagrad")
        self.initial_accumulator_value = initial_accumulator_value
        self.epsilon = epsilon
        self.momentum = momentum

    def slots(self):
        velocity = {"velocity": 0.0} if self.momentum else {}
        return {"accumulator": self.initial_accumulator_value} | velocity

    def change(self, gradient, state, learning_rate):
        accumulator = state["accumulator"] + tf.square(gradient)
        step = -learning_rate * gradient / tf.sqrt(accumulator + self.epsilon)
        if not self.momentum:
            return step, {"accumulator": accumulator}
        velocity = self.momentum * state["velocity"] + step
        return velocity, {"accumulator": accumulator, "velocity": velocity}

    def get_config(self):
        return super().get_config() | {
            "initial_accumulator_value": self.initial_accumulator_value,
            "epsilon": self.epsilon,
            "momentum": self.momentum,
        }
