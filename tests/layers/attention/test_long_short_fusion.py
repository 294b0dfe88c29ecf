"""SHAN's two levels of attention, SDM's gate and the lists of earlier items, against NumPy and loops."""

import numpy as np
import pytest
import tensorflow as tf

from tests.numpy_reference import sigmoid
from tfrecsession.layers import AttentiveMean, LongShortAttention, LongShortGate
from tfrecsession.layers.items.earlier_items import EarlierItems

UNITS = 5


def softmax(x):
    weights = np.exp(x - x.max())
    return weights / weights.sum()


def weights_of(layer):
    return {weight.path.split("/", 1)[1]: np.asarray(weight, np.float64) for weight in layer.weights}


def shan_by_hand(layer, earlier, session):
    """Returns the output after every event of a session: float64 [events, units]."""
    w = weights_of(layer)

    def logits(vectors, level):
        return (np.maximum(vectors @ w[f"{level}_kernel"] + w[f"{level}_bias"], 0) @ w["context"])[:, 0]

    found = []
    for last in range(1, len(session) + 1):
        read = session[:last]
        if len(earlier):
            read = np.concatenate([(softmax(logits(earlier, "long")) @ earlier)[None], read])
        found.append(softmax(logits(read, "session")) @ read)
    return np.array(found)


def randomize(layer, rng):
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_shan_equals_numpy(scale):
    rng = np.random.default_rng(0)
    layer, mean = LongShortAttention(UNITS), AttentiveMean()
    layer.build()
    randomize(layer, rng)
    layer.context.assign(layer.context * scale)  # logits far from 0
    sessions, counts = rng.normal(size=(3, 7, UNITS)), [4, 0, 1]
    earlier = rng.normal(size=(3, 4, UNITS))
    inputs = layer.session_inputs(tf.constant(sessions, tf.float32))
    starts = tf.constant([[True] + [False] * 6] * 3)
    states, _ = mean(inputs, starts)
    is_item = tf.sequence_mask(counts, 4)
    long = layer(tf.constant(earlier, tf.float32), is_item)
    for row, count in enumerate(counts):
        found = layer.join(states[row], tf.tile(long[row][None], [7, 1]))
        np.testing.assert_allclose(found, shan_by_hand(layer, earlier[row, :count], sessions[row]), atol=2e-4)


def test_the_mean_restarts_and_goes_on_from_a_state():
    rng = np.random.default_rng(1)
    inputs = tf.constant(rng.normal(size=(2, 8, UNITS + 1)), tf.float32)
    starts = tf.constant([[True, False, False, True, False, False, False, True], [True] + [False] * 7])
    layer = AttentiveMean()
    whole, last = layer(inputs, starts)
    first, state = layer(inputs[:, :5], starts[:, :5])
    second, end = layer(inputs[:, 5:], starts[:, 5:], state)
    np.testing.assert_allclose(tf.concat([first, second], axis=1), whole, atol=1e-6)
    np.testing.assert_allclose(end, last, atol=1e-6)
    vectors, logits = inputs[0, 3:7, :-1].numpy(), inputs[0, 3:7, -1].numpy()
    np.testing.assert_allclose(whole[0, 6, :-2], softmax(logits) @ vectors, atol=1e-6)
    np.testing.assert_allclose(whole[0, 6, -2], np.log(np.exp(logits).sum()), atol=1e-6)


def test_the_gate_equals_numpy():
    rng = np.random.default_rng(2)
    layer = LongShortGate(UNITS)
    layer.build()
    randomize(layer, rng)
    session, earlier, counts = rng.normal(size=(3, UNITS)), rng.normal(size=(3, 4, UNITS)), [3, 0, 1]
    found = layer(*(tf.constant(array, tf.float32) for array in (session, earlier)), tf.sequence_mask(counts, 4))
    w = weights_of(layer)
    for row, count in enumerate(counts):
        s, read = session[row], earlier[row, :count]
        expected = s
        if count:
            p = np.tanh((softmax(read @ s) @ read) @ w["profile/kernel"] + w["profile/bias"])
            g = sigmoid(np.concatenate([s, p]) @ w["gate/kernel"] + w["gate/bias"])
            expected = (1 - g) * p + g * s
        np.testing.assert_allclose(found[row], expected, atol=1e-5)


def by_loops(rows, past, size):
    """rows: a list of steps each, (user, session, item); item None: padding. Returns the earlier items per step."""
    found = []
    for row in rows:
        of_row = []
        for step, (user, session, _) in enumerate(row):
            earlier = [item for u, s, item in row[:step] if u == user and s != session and item > 1]
            of_row.append(earlier[::-1][:past])
        found.append(of_row)
    return found


def batch_of(row, first=None):
    """Returns the batch of one row of steps (user, session, item); the first step continues if `first` says so."""
    position, visit, seen = [], [], {}
    for user, session, _ in row:
        of_user = seen.setdefault(user, [])
        if session not in of_user:
            of_user.append(session)
        number = of_user.index(session)
        before = sum(1 for u, s, _ in row[: len(position)] if (u, s) == (user, session))
        position.append(before)
        visit.append(number)
    items = [item for *_, item in row]
    arrays = {"items": items, "position": position, "visit": visit, "segment": [1] * len(items)}
    return {name: np.array(values, np.int32)[None] for name, values in arrays.items()}


@pytest.mark.parametrize("seed", range(6))
def test_earlier_items_equal_loops_in_one_row_and_over_a_state(seed):
    rng = np.random.default_rng(seed)
    past, size = int(rng.integers(1, 6)), 40
    row, session = [], 0
    for user in range(3):
        for _ in range(rng.integers(1, 5)):
            session += 1
            row += [(user, session, int(rng.integers(0, size))) for _ in range(rng.integers(1, 5))]
    expected = by_loops([row], past, size)[0]
    layer, batch = EarlierItems(size, past), batch_of(row)
    found, owner, whole = layer.windows(batch, tf.zeros([1, 2 * past]))
    for step, items in enumerate(expected):
        assert found[owner[step]].numpy().tolist() == items + [0] * (past - len(items))
    cut = int(rng.integers(1, len(row)))
    padded = {name: np.pad(array[:, :cut], [[0, 0], [0, 2]]) for name, array in batch.items()}
    _, _, state = layer.windows(padded, tf.zeros([1, 2 * past]))
    rest = {name: array[:, cut:] for name, array in batch.items()}
    found, owner, after = layer.windows(rest, state)
    for step, items in enumerate(expected[cut:]):
        assert found[owner[step]].numpy().tolist() == items + [0] * (past - len(items))
    np.testing.assert_array_equal(after, whole)
    for name in batch:  # nothing but padding changes nothing
        rest[name] = np.zeros((1, 3), np.int32)
    np.testing.assert_array_equal(layer.windows(rest, whole)[2], whole)


def test_a_session_ends():
    layer = EarlierItems(20, 3)
    state = tf.constant([[9, 8, 0, 5, 4, 0], [9, 8, 7, 0, 0, 0], [0, 0, 0, 6, 5, 4]], tf.float32)
    ended = layer.end_session(state).numpy().tolist()
    assert ended == [[5, 4, 9, 0, 0, 0], [9, 8, 7, 0, 0, 0], [6, 5, 4, 0, 0, 0]]


@pytest.mark.parametrize("wrong", [2.5, -1.0, 20.0])
def test_a_user_state_of_another_model_is_refused(wrong):
    layer = EarlierItems(20, 3)
    assert layer.checked(tf.constant([[19.0, 2.0, 0.0]])).shape == (1, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="the output of advance_user"):
        layer.checked(tf.constant([[wrong, 2.0, 0.0]]))
