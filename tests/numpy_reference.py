"""NumPy versions of the functions that tests write equations with."""

import numpy as np


def sigmoid(x):
    """Computes 1 / (1 + exp(-x)), without overflow."""
    return np.exp(-softplus(-x))


def softplus(x):
    """Computes log(1 + exp(x)), without overflow."""
    return np.logaddexp(0.0, x)


def activated(x, elu):
    """Computes elu with this alpha: x where x > 0, else elu (exp(x) - 1). As in the losses, 0 is linear."""
    return np.where(x > 0, x, elu * np.expm1(np.minimum(x, 0))) if elu else x


def log_softmax(x):
    """Computes the logarithm of the softmax over the last axis; -inf masks a column."""
    return x - np.logaddexp.reduce(x, axis=-1)[..., None]


def softmax(x):
    """Computes the softmax over the last axis; -inf masks a column."""
    return np.exp(log_softmax(x))
