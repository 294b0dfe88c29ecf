"""FTRL-Proximal on the rows touched."""

import keras
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.optimizers.lazy_optimizer import LazyOptimizer


@keras.saving.register_keras_serializable(package="tfrecsession")
class LazyFTRL(LazyOptimizer):
    """n' = n + g^2;  s = (sqrt(n') - sqrt(n)) / learning_rate;  z += g - s p;  S += s
    p = 0 where |z| <= l1, else (sign(z) l1 - z) / (S + l2)

    with S = beta / learning_rate before the first step: FTRL-Proximal per coordinate (McMahan et al., KDD 2013,
    algorithm 1), the optimizer of the wide part of Wide & Deep (arXiv 1606.07792). L1 makes weights exactly 0 that do
    not pay, so that a table of many crosses is mostly zeros.

    With a constant learning rate S is (beta + sqrt(n)) / learning_rate, as the paper writes it. The sum is kept so that
    a falling rate makes steps smaller; in `keras.optimizers.Ftrl` it shrinks the weights. Keras also counts its
    `l2_regularization_strength` double, so that it is half of `l2`, and starts n at 0.1.

    Variables should begin at 0: the first step forgets most of what is in them.

    Args:
        learning_rate: alpha of the paper, as in `LazyOptimizer`.
        l1: strength of the L1 penalty, from 0.
        l2: strength of the L2 penalty, from 0.
        beta: as in the paper, from 0; larger values make the first steps smaller.
        initial_accumulator_value: of n, from 0.
        **kwargs: as in `LazyOptimizer`, without `weight_decay`, which would undo the zeros.

    Raises:
        InputError: a value out of its range, or `weight_decay`.
    """

    reads_values = True

    def __init__(
        self,
        learning_rate=0.1,
        l1=0.0,
        l2=0.0,
        beta=1.0,
        initial_accumulator_value=0.0,
        name="lazy_ftrl",
        **kwargs,
    ):
        numbers = {"l1": l1, "l2": l2, "beta": beta, "initial_accumulator_value": initial_accumulator_value}
        for argument, value in numbers.items():
            if not 0 <= value < float("inf"):
                raise InputError(f"{argument}={value}: must be a number of at least 0 for LazyFTRL")
        if not beta + l2 + initial_accumulator_value:
            raise InputError(f"beta={beta}: must be above 0 where l2 and initial_accumulator_value are 0, e.g. 1.0")
        if kwargs.get("weight_decay"):
            raise InputError("weight_decay: is not supported by LazyFTRL, as it undoes zeros; use l2 instead")
        super().__init__(learning_rate, name=name, **kwargs)
        self.l1 = l1
        self.l2 = l2
        self.beta = beta
        self.initial_accumulator_value = initial_accumulator_value

    def slots(self):
        return {"accumulator": self.initial_accumulator_value, "linear": 0.0, "strength": 0.0}

    def change(self, gradient, state, learning_rate):
        value, before = state["value"], state["accumulator"]
        accumulator = before + tf.square(gradient)
        sigma = (tf.sqrt(accumulator) - tf.sqrt(before)) / learning_rate
        strength = tf.where(state["strength"] > 0, state["strength"], (self.beta + tf.sqrt(before)) / learning_rate)
        strength += sigma
        linear = state["linear"] + gradient - sigma * value
        clipped = tf.clip_by_value(linear, -self.l1, self.l1)
        new = tf.math.divide_no_nan(clipped - linear, strength + self.l2)
        after = {"accumulator": accumulator, "linear": linear, "strength": strength}
        moves = learning_rate > 0  # a rate of 0, the end of a decay, changes nothing
        return tf.where(moves, new - value, 0.0), {name: tf.where(moves, after[name], state[name]) for name in after}

    def get_config(self):
        return super().get_config() | {
            "l1": self.l1,
            "l2": self.l2,
            "beta": self.beta,
            "initial_accumulator_value": self.initial_accumulator_value,
        }
