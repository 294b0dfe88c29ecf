"""Gated recurrent units that know the user: linear, rectified linear and attentional (Donkers et al., RecSys 2017)."""

from __future__ import annotations

import keras
from keras import ops

from tfrecsession.layers.recurrent.session_gru import SessionGRU

LEAK = 0.2  # what a user value between the thresholds keeps
SOFTNESS = 0.1  # of the thresholds' gradient


@keras.saving.register_keras_serializable(package="tfrecsession")
class SessionUserGRU(SessionGRU):
    """The linear user-based GRU: the user's vector v is an input beside that of the item.

        z, r = sigmoid(x W + h U + v V + b)                each with its own W, U, V and b
        c = tanh(x W_c + (r * h) U_c + v V_c + b_c)
        h' = (1 - z) * h + z * c

    Args:
        units: width of the state.
        dropout: as in `SessionRecurrent`.
    """

    def __init__(self, units: int, dropout: float = 0.0, **kwargs):
        super().__init__(units, dropout=dropout, **kwargs)

    def build(self, inputs_shape, starts_shape=None, state_shape=None, users_shape=None):
        self.widths = (inputs_shape[-1], users_shape[-1])
        super().build((*inputs_shape[:-1], sum(self.widths)))

    def call(self, inputs, starts, state=None, users=None, training=False):
        """Runs over all steps.

        Args:
            inputs, starts, state, training: as in `SessionRecurrent.call`.
            users: float [rows, steps, user width], the vector of the user of each event.

        Returns:
            float [rows, steps, units], the output of each step; and float [rows, units], the last state.
        """
        return super().call(ops.concatenate([inputs, users], axis=-1), starts, state, training=training)

    def compute_output_shape(self, inputs_shape, starts_shape=None, state_shape=None, users_shape=None):
        return super().compute_output_shape(inputs_shape)

    def get_config(self):
        config = super().get_config()
        config.pop("reset_after")
        return config


@keras.saving.register_keras_serializable(package="tfrecsession")
class SessionRectifiedUserGRU(SessionUserGRU):
    """The rectified linear user-based GRU: a user's value counts where it is above learned thresholds.

        k1, d = x X + h H + v Y + b                       [user width] each; k2 = k1 + softplus(d)
        v' = 0 where v < k1, 0.2 v where v < k2, else v
        h' = the linear cell of x, h and v'

    In the paper k2 is learned freely, and thresholds have no gradient, for they act by steps. Ours are that k2 is never
    below k1, and that the gradient is the one of sigmoids in place of the steps (straight-through): an approximation,
    without which the thresholds do not learn. The values are exactly those above, in training too.

    Args:
        units, dropout: as in `SessionUserGRU`.
    """

    def build(self, inputs_shape, starts_shape=None, state_shape=None, users_shape=None):
        super().build(inputs_shape, users_shape=users_shape)
        width = users_shape[-1]
        self.threshold_kernel = self.add_weight(
            name="threshold_kernel", shape=(sum(self.widths), 2 * width), initializer="glorot_uniform"
        )
        self.threshold_recurrent = self.add_weight(
            name="threshold_recurrent", shape=(self.units, 2 * width), initializer="glorot_uniform"
        )
        self.threshold_bias = self.add_weight(name="threshold_bias", shape=(2 * width,), initializer="zeros")

    def projected(self, inputs):
        """Returns products with x, thresholds without the state, and v: [rows, steps, 3 units + 3 user widths]."""
        items, users = ops.split(inputs, [self.widths[0]], axis=-1)
        of_items = ops.matmul(items, self.kernel[: self.widths[0]]) + self.bias  # (rows, steps, 3 units)
        thresholds = ops.matmul(inputs, self.threshold_kernel) + self.threshold_bias  # (rows, steps, 2 user widths)
        return ops.concatenate([of_items, thresholds, users], axis=-1)

    def kernels(self):
        of_users = ops.convert_to_tensor(self.kernel)[self.widths[0] :]  # (user width, 3 units)
        return super().kernels(), of_users, ops.convert_to_tensor(self.threshold_recurrent)

    def step(self, projected, state, kernels):
        recurrent, of_users, of_thresholds = kernels
        gates, width = 3 * self.units, self.widths[1]
        thresholds = projected[:, gates : gates + 2 * width] + ops.matmul(state, of_thresholds)
        users = projected[:, gates + 2 * width :]  # (rows, user width)
        low, gap = ops.split(thresholds, 2, axis=-1)  # (rows, user width)
        users = users * rectifier(users, low, low + ops.softplus(gap))
        return super().step(projected[:, :gates] + ops.matmul(users, of_users), state, recurrent)


@keras.saving.register_keras_serializable(package="tfrecsession")
class SessionAttentionalUserGRU(SessionUserGRU):
    """The attentional user-based GRU: it weighs user against item, value by value and step by step.

        a = sigmoid(x X + h H + v Y + b)                  [input width]; near 1: the user counts, near 0: the item
        h' = the linear cell of (1 - a) * x, h and a * v

    X, H, Y and b begin at zero: at first a is 1/2. Where v is not as wide as x, v P takes its place.

    Args:
        units, dropout: as in `SessionUserGRU`.
    """

    def build(self, inputs_shape, starts_shape=None, state_shape=None, users_shape=None):
        width, users = inputs_shape[-1], users_shape[-1]
        super().build(inputs_shape, users_shape=(*users_shape[:-1], width))
        self.widths = (width, users)
        self.user_kernel = None
        if users != width:
            self.user_kernel = self.add_weight(name="user_kernel", shape=(users, width), initializer="glorot_uniform")
        self.attention_kernel = self.add_weight(name="attention_kernel", shape=(2 * width, width), initializer="zeros")
        self.attention_recurrent = self.add_weight(
            name="attention_recurrent", shape=(self.units, width), initializer="zeros"
        )
        self.attention_bias = self.add_weight(name="attention_bias", shape=(width,), initializer="zeros")

    def projected(self, inputs):
        """Returns x, v and the attention without the state: [rows, steps, 3 input widths]."""
        items, users = ops.split(inputs, [self.widths[0]], axis=-1)
        users = users if self.user_kernel is None else ops.matmul(users, self.user_kernel)
        both = ops.concatenate([items, users], axis=-1)  # (rows, steps, 2 input widths)
        attention = ops.matmul(both, self.attention_kernel) + self.attention_bias  # (rows, steps, input width)
        return ops.concatenate([both, attention], axis=-1)

    def kernels(self):
        own = (self.kernel, self.bias, self.attention_recurrent)
        return super().kernels(), *map(ops.convert_to_tensor, own)

    def step(self, projected, state, kernels):
        recurrent, kernel, bias, of_attention = kernels
        items, users, attention = ops.split(projected, 3, axis=-1)  # (rows, input width)
        attention = ops.sigmoid(attention + ops.matmul(state, of_attention))
        weighed = ops.concatenate([(1 - attention) * items, attention * users], axis=-1)  # (rows, 2 input widths)
        return super().step(ops.matmul(weighed, kernel) + bias, state, recurrent)


def rectifier(values, low, high):
    """Returns 0 below `low`, 0.2 below `high`, else 1; its gradient is that of sigmoids in place of the steps."""
    hard = ops.where(values < low, 0.0, ops.where(values < high, LEAK, 1.0))
    above = ops.sigmoid((values - low) / SOFTNESS)
    soft = above * (LEAK + (1 - LEAK) * ops.sigmoid((values - high) / SOFTNESS))
    return soft + ops.stop_gradient(ops.cast(hard, soft.dtype) - soft)
