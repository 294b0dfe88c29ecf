"""The session so far as one input: a weighted mean in which older events count less."""

import keras
from keras import ops

from tfrecsession.errors import InputError
from tfrecsession.layers.recurrent.session_recurrent import SessionRecurrent


@keras.saving.register_keras_serializable(package="tfrecsession")
class DiscountedMean(SessionRecurrent):
    """y_t = sum_j discount^(t - j) x_j / sum_j discount^(t - j), over the events j <= t of the session.

    The second input encoding of arXiv 1511.06939, section 3: a weighted sum of the items so far, "discounted if they
    have occurred earlier", and normalized; here the weights sum to 1. It is linear, so one-hot vectors and their
    products with a table give the same. The paper measured no gain over the last item alone.

    The state is `[sum | weight]`, so that it is carried over session-parallel lanes like any other state.

    Args:
        discount: from 0 (the last event alone) to 1 (a plain mean).
    """

    def __init__(self, discount: float, **kwargs):
        if not 0 <= discount <= 1:
            raise InputError(f"discount={discount}: must be from 0 to 1: the weight of an event relative to the next")
        kwargs = {"units": 0, **kwargs}  # `build` sets it to the width of the inputs
        super().__init__(**kwargs)
        self.discount = discount

    @property
    def state_width(self):
        return self.units + 1

    def build(self, inputs_shape, starts_shape=None, state_shape=None):
        self.units = inputs_shape[-1]
        self.built = True

    def kernels(self):
        return None

    def projected(self, inputs):
        return ops.pad(inputs, ((0, 0), (0, 0), (0, 1)), constant_values=1)  # (rows, steps, units + 1)

    def step(self, projected, state, kernels):
        return projected + self.discount * state

    def output(self, states):
        return states[..., :-1] / states[..., -1:]  # (rows, steps, units)

    def get_config(self):
        config = super().get_config() | {"discount": self.discount}
        return {name: value for name, value in config.items() if name not in ("dropout", "project")}
