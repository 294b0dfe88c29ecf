"""Adam on the rows touched."""

import keras
import tensorflow as tf

from tfrecsession.optimizers.lazy_optimizer import LazyOptimizer


@keras.saving.register_keras_serializable(package="tfrecsession")
class LazyAdam(LazyOptimizer):
    """m += (1 - beta_1)(g - m);  v += (1 - beta_2)(g^2 - v);  p -= learning_rate m^ / (sqrt(v^) + epsilon)

    with m^ = m / (1 - beta_1^t), v^ = v / (1 - beta_2^t), t the step of the whole model (arXiv 1412.6980). The moments
    of a row decay only when the row is touched, so that a rare item keeps the moments of its few events.

    Args:
        learning_rate: as in `LazyOptimizer`.
        beta_1, beta_2: how slowly the moments decay, from 0 to below 1.
        epsilon: as in Keras, added to the root of v before the bias correction.
        **kwargs: as in `LazyOptimizer`.
    """

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7, name="lazy_adam", **kwargs):
        super().__init__(learning_rate, name=name, **kwargs)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def slots(self):
        return {"first_moment": 0.0, "second_moment": 0.0}

    def change(self, gradient, state, learning_rate):
        t = tf.cast(self.iterations + 1, gradient.dtype)
        first = state["first_moment"] + (1.0 - self.beta_1) * (gradient - state["first_moment"])
        second = state["second_moment"] + (1.0 - self.beta_2) * (tf.square(gradient) - state["second_moment"])
        rate = learning_rate * tf.sqrt(1.0 - tf.pow(self.beta_2, t)) / (1.0 - tf.pow(self.beta_1, t))
        step = -rate * first / (tf.sqrt(second) + self.epsilon)
        return step, {"first_moment": first, "second_moment": second}

    def get_config(self):
        return super().get_config() | {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
