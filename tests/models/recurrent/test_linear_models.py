"""MinGRU and LRU: recurrences that training computes over all steps at once."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tests.logs import packed
from tests.numpy_reference import sigmoid
from tfrecsession import InputError
from tfrecsession.models import LRU, MinGRU

KINDS = {
    "min_gru": (MinGRU, {}),
    "min_gru, two blocks": (MinGRU, {"layers": 2, "expand": 1}),
    "min_gru, recurrence alone": (MinGRU, {"expand": 0, "bias": False}),
    "lru": (LRU, {}),
    "lru, two blocks": (LRU, {"layers": 2, "channels": 2}),
}


def model_of(items, kind, **given):
    keras.utils.set_random_seed(0)
    cls, settings = KINDS[kind]
    model = cls(items, negatives=trs.negatives.Popularity(8), **{"dim": 6, "dropout": 0.0} | settings | given)
    model.compile(trs.optimizers.LazyAdam(0.01), trs.losses.CrossEntropy(logq=1.0))
    rng = np.random.default_rng(0)
    for weight in model.trainable_variables:
        if len(weight.shape) > 1 or "norm" in weight.path or "bias" in weight.path:
            weight.assign(rng.normal(size=weight.shape))
    return model


def norm(layer, x):
    gamma, beta = np.asarray(layer.gamma, float), np.asarray(layer.beta, float)
    return (x - x.mean()) / np.sqrt(x.var() + 1e-6) * gamma + beta


def recurrence(layer, x, h):
    """Returns output and state of one step of one session."""
    if "min_gru" in layer.name:
        z, a = np.split(x @ np.asarray(layer.kernel, float) + np.asarray(layer.bias, float), 2)
        h = (1 - sigmoid(z)) * h + sigmoid(z) * np.where(a >= 0, a + 0.5, sigmoid(a))
        return h, h
    nu, theta, gamma = (np.asarray(weight, float) for weight in (layer.nu, layer.theta, layer.gamma))
    re, im = np.split(x @ np.asarray(layer.kernel, float), 2)
    h = np.exp(-np.exp(nu) + 1j * np.exp(theta)) * h + np.exp(gamma) * (re + 1j * im)
    y = np.concatenate([h.real, h.imag]) @ np.asarray(layer.back, float) + x * np.asarray(layer.skip, float)
    return y, h


def by_hand(model, prefix):
    """Returns the scores after one prefix, float64 [size], from the equations, step by step."""
    table, blocks = np.asarray(model.output_items.table, float), model.blocks
    states = [0.0] * len(blocks.recurrences)
    for item in prefix:
        x = table[item] * np.sqrt(model.dim)
        for n, layer in enumerate(blocks.recurrences):
            y, states[n] = recurrence(layer, norm(blocks.norms[n], x), states[n])
            x = x + y
            if model.expand:
                inner, outer = blocks.inner[n], blocks.outer[n]
                a = norm(blocks.forward_norms[n], x) @ np.asarray(inner.kernel, float) + np.asarray(inner.bias)
                erf = np.vectorize(math.erf)
                a = a * sigmoid(a) if isinstance(model, MinGRU) else a * (1 + erf(a / np.sqrt(2))) / 2
                x = x + a @ np.asarray(outer.kernel, float) + np.asarray(outer.bias)
    biases = np.asarray(model.output_items.biases, float) if model.bias else 0.0
    return table @ norm(blocks.last_norm, x) + biases


@pytest.mark.parametrize("kind", KINDS)
def test_every_step_of_a_packed_row_equals_the_equations(shop, kind):
    model = model_of(shop.items, kind)
    sessions = [5, 9, 5, 5, 12, 30], [3], [7, 1, 40, 7]
    encoded, column = model.encode(packed(list(sessions), steps=13)), 0
    found = np.asarray(model.score_all(encoded[0]))
    for session in sessions:
        for upto in range(1, len(session) + 1):
            np.testing.assert_allclose(found[column], by_hand(model, session[:upto]), rtol=1e-3, atol=1e-3)
            column += 1


@pytest.mark.parametrize("kind", KINDS)
def test_going_on_from_a_state_equals_the_whole_row(shop, kind):
    model, rng = model_of(shop.items, kind), np.random.default_rng(1)
    session = rng.integers(2, 60, 90).astype(np.int32)  # more steps than are unrolled
    whole = np.asarray(model.encode(packed([session])))[0]
    for cut in (1, 2, 9, 60):
        _, state = model.encode_from(packed([[3, 4], session[:cut]]), tf.zeros([1, model.state_width]))
        np.testing.assert_allclose(model.encode_state(state)[0], whole[cut - 1], atol=1e-4)
        rest = packed([session[cut:], [8, 8]])
        rest["position"][0, : 90 - cut] += cut
        found, _ = model.encode_from(rest, state)
        np.testing.assert_allclose(found[0, : 90 - cut], whole[cut:], atol=1e-4)
        alone = np.asarray(model.encode(packed([[8, 8]])))[0]
        np.testing.assert_allclose(found[0, 90 - cut :], alone, atol=1e-4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dim": 0}, r"dim=0: must be a whole number, at least 1"),
        ({"expand": -1}, r"expand=-1: must be a whole number, at least 0"),
        ({"dropout": 2}, r"dropout=2: must be a number from 0 to 1"),
        ({"layers": 0}, r"layers=0: must be a whole number"),
    ],
)
@pytest.mark.parametrize("kind", ["min_gru", "lru"])
def test_bad_arguments_are_named(shop, kind, given, message):
    with pytest.raises(InputError, match=message):
        model_of(shop.items, kind, **given)
