"""RepeatNet against its equations in NumPy; its loss against its scores."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tests.logs import packed
from tests.numpy_reference import sigmoid, softmax
from tfrecsession import InputError
from tfrecsession.models import RepeatNet

SESSIONS = [5, 9, 5, 5, 12, 30, 9], [3], [7, 1, 40, 7]


class EveryItem(trs.negatives.Uniform):
    """A sampler whose draw has every item once."""

    def draw(self, targets=None):
        return tf.range(2, self.size)

    def log_expected(self, ids, targets=None):
        return tf.zeros(tf.shape(ids))


def model_of(items, negatives=None, **given):
    keras.utils.set_random_seed(0)
    model = RepeatNet(items, **{"units": [4], "dim": 3, "repeat_window": 4} | given, negatives=negatives)
    rng = np.random.default_rng(0)
    for weight in model.trainable_variables:
        weight.assign(rng.normal(size=weight.shape))
    return model


def attention(h, states, weights):
    query, key, energy = (np.asarray(weight, float) for weight in weights)
    return softmax(np.array([np.tanh(h @ query + k @ key) @ energy[:, 0] for k in states]))


def probabilities(model, states, items):
    """Returns P [size] after a session, from the states of the recurrence."""
    h, head, explore = states[-1], model.repeat_head, model.explore
    everything = attention(h, states, (explore.query_kernel, explore.key_kernel, explore.energy))
    scores = np.asarray(model.output_items.table, float) @ np.concatenate([h, everything @ states])
    known = [j for j in range(len(items)) if items[j] > 1 and len(items) - j <= head.window]
    if not known:
        return softmax(scores[2:])
    others = np.array([item for item in range(2, len(scores)) if item not in [items[j] for j in known]])
    mode = attention(h, states[known], head.mode_weights) @ states[known]
    gate = sigmoid(mode @ np.asarray(head.mode_kernel, float)[:, 0])
    found = np.zeros(len(scores))
    found[others] = (1 - gate) * softmax(scores[others])
    for j, weight in zip(known, attention(h, states[known], head.repeat_weights), strict=True):
        found[items[j]] += gate * weight
    return found[2:]


@pytest.mark.parametrize("steps", [14, 40])
def test_equals_the_equations(shop, steps):
    """Every step of a packed row, beside other sessions and padding."""
    model = model_of(shop.items)
    encoded, column = model.encode(packed(list(SESSIONS), steps=steps)), 0
    scores = np.asarray(model.score_all(encoded[0]))
    for session in SESSIONS:
        alone = packed([session])
        states = model.recurrent[0](model.input_items(alone["items"]), alone["position"] == 0)[0]
        states = np.asarray(states[0], float)  # (steps, units)
        for t in range(len(session)):
            expected = probabilities(model, states[: t + 1], session[: t + 1])
            np.testing.assert_allclose(np.exp(scores[column, 2:]), expected, rtol=1e-3, atol=1e-5)
            column += 1


@pytest.mark.parametrize("negatives", [None, EveryItem(1)], ids=["softmax", "sampled"])
def test_the_loss_is_that_of_the_probabilities(shop, negatives):
    """Whether the target is in the session or not; a session's items take no part in the softmax of new ones."""
    model = model_of(shop.items, negatives)
    model.compile("sgd", trs.losses.CrossEntropy(logq=1.0))
    batch = packed(list(SESSIONS), steps=14)
    targets = np.array([[9, 5, 5, 12, 30, 9, 0, 0, 0, 40, 40, 7, 0, 0]], np.int32)
    encoded = model.encode(batch)
    loss, count = model.training_loss(encoded, tf.constant(targets))
    scores = np.asarray(model.score_all(encoded[0]), float)
    expected = -np.mean([scores[step, target] for step, target in enumerate(targets[0]) if target])
    assert count == 9
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"repeats": False}, "repeats=False: must be True for RepeatNet"),
        ({"units": [0]}, r"units=\[0\]: must be"),
        ({"dropout": 2}, "dropout=2: must be a number from 0 to 1"),
    ],
)
def test_bad_arguments_are_named(shop, given, message):
    with pytest.raises(InputError, match=message):
        model_of(shop.items, **given)
