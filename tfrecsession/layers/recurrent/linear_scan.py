"""Linear recurrences h_t = a_t h_{t-1} + b_t over all steps of packed rows at once."""

from __future__ import annotations

import tensorflow as tf

UNROLLED = 64  # steps up to which the loop is unrolled in the graph; beyond, log2(steps) passes over the whole array


@tf.custom_gradient
def linear_scan(factors, inputs, state):
    """Computes h_t = factors_t * h_{t-1} + inputs_t for every step t, with h before the first step = state.

    Few steps are a plain unrolled loop, whose operations touch a step each. Many or unknown steps are computed by
    doubling: after pass k, every step has summed 2^k steps. The gradient is the same recurrence, run backwards:

        d inputs_t = d h_t + conj(factors_{t+1}) d inputs_{t+1},   d factors_t = d inputs_t conj(h_{t-1})

    Args:
        factors: float or complex [rows, steps, units]; 0 forgets all before, as at the start of a session.
        inputs: [rows, steps, units].
        state: [rows, units].

    Returns:
        [rows, steps, units].
    """
    states = _scan(factors, inputs, state)

    def gradient(upstream):
        conj = tf.math.conj(factors)  # real arrays stay as they are
        # d inputs_t reads the factor of step t + 1
        backwards = tf.reverse(tf.concat([conj[:, 1:], tf.zeros_like(conj[:, :1])], axis=1), [1])
        d_inputs = tf.reverse(_scan(backwards, tf.reverse(upstream, [1]), tf.zeros_like(state)), [1])
        before = tf.concat([state[:, None], states[:, :-1]], axis=1)  # (rows, steps, units)
        return d_inputs * tf.math.conj(before), d_inputs, conj[:, 0] * d_inputs[:, 0]

    return states, gradient


def _scan(factors, inputs, state):
    steps = inputs.shape[1]
    if steps is None or steps > UNROLLED:
        return _doubled(factors, inputs, state)
    states = []
    for factor, now in zip(tf.unstack(factors, steps, axis=1), tf.unstack(inputs, steps, axis=1), strict=True):
        state = factor * state + now  # (rows, units)
        states.append(state)
    return tf.stack(states, axis=1)  # (rows, steps, units)


def _doubled(factors, inputs, state):
    first = inputs[:, :1] + factors[:, :1] * state[:, None]  # the state enters by the first step
    sums = tf.concat([first, inputs[:, 1:]], axis=1)
    steps = tf.shape(sums)[1]
    shape = tf.TensorShape([factors.shape[0], None, factors.shape[2]])

    def double(shift, factors, sums):
        front = [[0, 0], [shift, 0], [0, 0]]
        earlier = tf.pad(sums[:, :-shift], front)  # (rows, steps, units), 0 before the first step
        sums = tf.ensure_shape(sums + factors * earlier, shape)
        factors = tf.ensure_shape(factors * tf.pad(factors[:, :-shift], front), shape)
        return 2 * shift, factors, sums

    invariants = (tf.TensorShape([]), shape, shape)
    return tf.while_loop(lambda shift, *_: shift < steps, double, (1, factors, sums), shape_invariants=invariants)[2]
