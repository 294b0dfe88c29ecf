"""The repeat head against its equations in NumPy, event by event."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.logs import packed
from tests.numpy_reference import sigmoid, softmax
from tfrecsession import InputError
from tfrecsession.layers import RepeatHead

WIDTH, SIZE = 4, 9
ROWS = [[[2, 3, 2, 2, 4], [5], [3, 3, 1, 6]], [[1, 1, 2], [8, 7, 8, 7, 8, 2, 8]]]


def head_of(window):
    """A head whose weights are all random."""
    head, rng = RepeatHead(window), np.random.default_rng(0)
    head.build((None, None, WIDTH))
    for weight in head.weights:
        weight.assign(rng.normal(size=weight.shape))
    return head


def inputs(steps=None):
    batch, rng = packed(*ROWS, steps=steps), np.random.default_rng(1)
    shape = (*batch["items"].shape, WIDTH)
    hidden, keys = (rng.normal(size=shape).astype(np.float32) for _ in range(2))
    return hidden, keys, batch["items"], batch["position"]


def mixture(head, hidden, keys, items, scores):
    """Returns P [size] after the events `items`, whose keys are `keys`, for one state and its scores [size]."""
    kernel, ages, gate_kernel, gate_features, bias = (weight.numpy() for weight in head.weights)
    of_again, of_length = gate_features[:, 0]
    events = [index for index in range(len(items)) if items[index] > 1 and len(items) - index <= head.window]
    share = np.exp(scores) / np.exp(scores[2:]).sum()
    if not events:
        return share
    logits = np.array([hidden @ kernel @ keys[j] / WIDTH**0.5 + ages[len(items) - 1 - j] for j in events])
    again = any(items[j] == items[-1] for j in events if j < len(items) - 1)
    gate = sigmoid(gate_kernel[:, 0] @ hidden + of_again * again + of_length * np.log(len(events)) + bias[0])
    share = (1 - gate) * share
    for j, weight in zip(events, softmax(logits), strict=True):
        share[items[j]] += gate * weight
    return share


def expected(head, hidden, keys, items, position, scores):
    """Returns P [rows, steps, size]."""
    found = np.zeros((*items.shape, SIZE))
    for row, step in np.ndindex(items.shape):
        first = step - min(position[row, step], step)
        session = slice(first, step + 1)
        found[row, step] = mixture(head, hidden[row, step], keys[row, session], items[row, session], scores[row, step])
    return found[..., 2:]


def probabilities(head, joined, scores):
    flat = tf.reshape(joined, (-1, joined.shape[-1]))
    mixed = head.mixed(tf.constant(scores.reshape(-1, SIZE), tf.float32), flat).numpy()
    return np.exp(mixed.reshape(scores.shape))[..., 2:]


def scores_of(items):
    return np.random.default_rng(2).normal(size=(*items.shape, SIZE))


@pytest.mark.parametrize("window", [1, 2, 3, 6, 30])
@pytest.mark.parametrize("static", [True, False])
def test_the_mixture(window, static):
    """In one block and in several, with steps that are known before and not; sessions never mix."""
    head, arrays = head_of(window), inputs(steps=12)
    call = tf.function(lambda *arrays: head(*arrays), autograph=False)
    if not static:
        shapes = [(None, None, WIDTH)] * 2 + [(None, None)] * 2
        specs = [tf.TensorSpec(shape, array.dtype) for shape, array in zip(shapes, arrays, strict=True)]
        call = tf.function(lambda *arrays: head(*arrays), input_signature=specs, autograph=False)
    joined, scores = call(*map(tf.constant, arrays)), scores_of(arrays[2])
    found = probabilities(head, joined, scores)
    np.testing.assert_allclose(found, expected(head, *arrays, scores), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-5)


def test_the_loss_is_that_of_the_mixture():
    head, arrays = head_of(6), inputs()
    scores, targets = scores_of(arrays[2]), np.random.default_rng(3).integers(2, SIZE, arrays[2].size)
    joined = tf.reshape(head(*map(tf.constant, arrays)), (targets.size, -1))
    log_fresh = np.log(softmax(scores.reshape(-1, SIZE)[:, 2:]))[np.arange(targets.size), targets - 2]
    found = head.losses(tf.constant(log_fresh, tf.float32), joined, tf.constant(targets, tf.int32))
    share = expected(head, *arrays, scores).reshape(targets.size, -1)[np.arange(targets.size), targets - 2]
    np.testing.assert_allclose(found, -np.log(share), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("window", [3, 30])
def test_gradients_equal_finite_differences(window):
    head, (hidden, keys, items, position) = head_of(window), inputs()
    targets = tf.constant(np.roll(items, -1, axis=1).reshape(-1))

    def loss(hidden, keys):
        joined = head(hidden, keys, tf.constant(items), tf.constant(position))
        each = head.losses(tf.fill([items.size], -2.0), tf.reshape(joined, (items.size, -1)), targets)
        return tf.reduce_sum(tf.where(targets > 1, each, 0.0))

    inputs_ = [tf.constant(hidden), tf.constant(keys)]
    weights = [weight.value for weight in head.trainable_weights]
    with tf.GradientTape() as tape:
        tape.watch(inputs_)
        value = loss(*inputs_)
    gradients, rng = tape.gradient(value, [*inputs_, *weights]), np.random.default_rng(4)
    for index, gradient in enumerate(gradients):
        direction = rng.normal(size=gradient.shape).astype(np.float32)
        direction /= np.linalg.norm(direction)
        ends = []
        for sign in (1, -1):
            if index < 2:
                moved = [array + sign * 0.01 * direction * (place == index) for place, array in enumerate(inputs_)]
                ends.append(float(loss(*moved)))
            else:
                before = weights[index - 2].numpy()
                weights[index - 2].assign(before + sign * 0.01 * direction)
                ends.append(float(loss(*inputs_)))
                weights[index - 2].assign(before)
        slope = float(np.sum(np.asarray(gradient) * direction))
        assert slope == pytest.approx((ends[0] - ends[1]) / 0.02, rel=2e-2, abs=2e-3)


@pytest.mark.parametrize("window", [1, 3, 30])
def test_one_event_at_a_time_equals_the_whole_session(window):
    """Events without a known item leave the state as it is."""
    head, rng = head_of(window), np.random.default_rng(5)
    items = np.array([[2, 3, 2, 2, 4, 8, 2]], np.int32)
    hidden, keys = (rng.normal(size=(1, 7, WIDTH)).astype(np.float32) for _ in range(2))
    whole = head(*map(tf.constant, (hidden, keys, items, np.arange(7, dtype=np.int32)[None])))
    state, scores = tf.zeros([1, head.state_width]), scores_of(items)
    for step in range(7):
        joined, state = head.advance(hidden[:, step], keys[:, step], tf.constant(items[:, step]), state)
        for empty in (0, 1):
            again, after = head.advance(hidden[:, step], -keys[:, step], tf.constant([empty]), state)
            np.testing.assert_array_equal(after, state)
            np.testing.assert_array_equal(again, joined)
        found = probabilities(head, joined, scores[:, step])
        np.testing.assert_allclose(found, probabilities(head, whole[:, step], scores[:, step]), rtol=1e-5)


def test_padding_changes_nothing():
    head, arrays = head_of(4), inputs()
    joined = head(*map(tf.constant, arrays)).numpy()
    padded = [np.pad(array, [(0, 0), (0, 3)] + [(0, 0)] * (array.ndim - 2)) for array in arrays]
    np.testing.assert_allclose(head(*map(tf.constant, padded)).numpy()[:, :-3], joined, rtol=1e-5, atol=1e-6)


def test_its_configuration():
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(RepeatHead(5)))
    assert again.window == 5 and again.compute_dtype == "float32"
    for window in (0, 1.5, True, None):
        with pytest.raises(InputError, match="window=.*: must be a whole number"):
            RepeatHead(window)
