"""The recurrence across sessions against the equations of arXiv 1706.04148, one event at a time."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tests.numpy_reference import sigmoid
from tfrecsession.layers import SessionHierarchy
from tfrecsession.layers.recurrent.session_recurrent import UNROLLED

WIDTH = 3
FORMS = [
    {"units": [4], "user_units": [5]},
    {"units": [4], "user_units": [5], "user_in": "all_gates"},
    {"units": [4], "user_units": [5], "user_in": "reset_update", "initialize": "first", "last_event": False},
    {"units": [4, 6], "user_units": [5, 2]},
    {"units": [4, 6], "user_units": [5, 2], "user_in": "all_gates"},
    {"units": [4, 6], "user_units": [5, 2], "user_in": "reset_update", "initialize": "first", "last_event": False},
]


def gru(layer, x, h, extra=0):
    """Computes one step; gates are z, r, candidate, and `extra` is added to the input products."""
    kernel, recurrent, bias = (np.asarray(weight, np.float64) for weight in layer.weights[:3])
    u = layer.units
    a = x @ kernel + bias + extra
    z, r = sigmoid(a[:u] + h @ recurrent[:, :u]), sigmoid(a[u : 2 * u] + h @ recurrent[:, u : 2 * u])
    return (1 - z) * h + z * np.tanh(a[2 * u :] + (r * h) @ recurrent[:, 2 * u :])


def users_by_hand(layer, users):
    """Returns the output after each event; a user is a list of sessions of inputs."""
    outputs = []
    for sessions in users:
        c = [np.zeros(width) for width in layer.user_units]
        s = read = [np.zeros(width) for width in layer.units]
        for number, session in enumerate(sessions):
            if number:
                below = read[-1]
                for i, cell in enumerate(layer.user):
                    c[i] = below = gru(cell, below, c[i])
                starts = [np.tanh(c[-1] @ np.asarray(kernel) + np.asarray(bias)) for kernel, bias in layer.init]
                # layers that are not initialized keep their state
                s = [*starts, *read[len(starts) :]]
                assert len(starts) == (len(s) if layer.initialize == "all" else 1)
            for x in session:
                read = [*s]  # the states before the event
                extra = 0
                if layer.user_in:
                    extra = c[-1] @ np.asarray(layer.user_kernel)
                    if layer.user_in == "reset_update":
                        extra = np.concatenate([extra, np.zeros(layer.units[0])])
                below = x
                for i, cell in enumerate(layer.session):
                    s[i] = below = gru(cell, below, s[i], 0 if i else extra)
                outputs.append(s[-1])
            if layer.last_event:
                read = [*s]
    return np.array(outputs)


def layer_of(seed=0, **settings):
    layer = SessionHierarchy(**settings)
    layer.build((None, None, WIDTH))
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        if weight.name != "seed_generator_state":
            weight.assign(rng.normal(size=weight.shape) * 0.7)
    return layer


def laid_out(*rows):
    """Packs rows of users of sessions of inputs: inputs, starts, new, there."""
    width = max(sum(len(session) for user in row for session in user) for row in rows)
    inputs = np.zeros((len(rows), width, WIDTH), np.float32)
    starts, new = np.ones((len(rows), width), bool), np.ones((len(rows), width), bool)
    there = np.zeros((len(rows), width), bool)
    for i, row in enumerate(rows):
        cells = [(x, n == 0, n == 0 and m == 0) for user in row for m, s in enumerate(user) for n, x in enumerate(s)]
        for j, (x, start, first) in enumerate(cells):
            inputs[i, j], starts[i, j], new[i, j], there[i, j] = x, start, first, True
    return inputs, tf.constant(starts), tf.constant(new), tf.constant(there)


def users_of(rng, *lengths):
    return [[rng.normal(size=(length, WIDTH)) for length in user] for user in lengths]


A, B, C = (3, 1, 2), (2,), (1, 4)


@pytest.mark.parametrize("settings", FORMS)
@pytest.mark.parametrize("long", [False, True])
def test_equals_the_equations(settings, long):
    layer = layer_of(**settings)
    rng = np.random.default_rng(1)
    many = [(rng.integers(1, 5) for _ in range(10)) for _ in range(UNROLLED // 10)] if long else []
    first, second = users_of(rng, A, B, *many), users_of(rng, C, A)
    outputs, _ = layer(*laid_out(first, second))
    assert (outputs.shape[1] > UNROLLED) == long
    for row, users in zip(np.asarray(outputs), (first, second), strict=True):
        expected = users_by_hand(layer, users)
        np.testing.assert_allclose(row[: len(expected)], expected, atol=2e-6)


@pytest.mark.parametrize("settings", FORMS)
def test_a_user_is_the_same_in_any_row_and_column(settings):
    layer = layer_of(**settings)
    a, b, c = users_of(np.random.default_rng(2), A, B, C)
    alone, _ = layer(*laid_out([a]))
    together, _ = layer(*laid_out([c, a], [b]))
    np.testing.assert_allclose(together[0, 5:11], alone[0, :6], atol=1e-6)


@pytest.mark.parametrize("settings", FORMS)
def test_a_row_cut_anywhere_continues_from_the_carried_state(settings):
    layer = layer_of(**settings)
    a, b = users_of(np.random.default_rng(3), A, C)
    inputs, starts, new, there = laid_out([a, b])
    whole, end = layer(inputs, starts, new)
    for cut in range(1, inputs.shape[1]):
        left, state = layer(inputs[:, :cut], starts[:, :cut], new[:, :cut])
        right, last = layer(inputs[:, cut:], starts[:, cut:], new[:, cut:], state=state)
        np.testing.assert_allclose(np.concatenate([left, right], axis=1), whole, atol=1e-6)
        np.testing.assert_allclose(last, end, atol=1e-6)
        assert state.shape == (1, layer.state_width)


@pytest.mark.parametrize("settings", FORMS)
@pytest.mark.parametrize("steps", [20, UNROLLED + 1])
def test_padding_leaves_the_state_unchanged(settings, steps):
    layer = layer_of(**settings)
    (a,) = users_of(np.random.default_rng(4), A)
    inputs, starts, new, there = laid_out([a])
    _, expected = layer(inputs, starts, new)
    more = [[0, 0], [0, steps - inputs.shape[1]]]
    first = [tf.pad(cells, more, constant_values=True) for cells in (starts, new)]
    _, state = layer(tf.pad(inputs, [*more, [0, 0]]), *first, tf.pad(there, more))
    np.testing.assert_allclose(state, expected, atol=1e-6)


@pytest.mark.parametrize("settings", FORMS)
def test_session_by_session_from_the_kept_user_state(settings):
    """end_session and state_from_user: between two sessions only `user_width` numbers are kept."""
    layer = layer_of(**settings)
    (a,) = users_of(np.random.default_rng(5), (3, 1, 2, 4))
    whole, _ = layer(*laid_out([a]))
    kept, outputs = tf.zeros((1, layer.user_width)), []
    for session in a:
        state = layer.state_from_user(kept)
        inputs, starts, new, _ = laid_out([[session]])
        never = tf.zeros_like(starts)
        output, state = layer(inputs, never, never, state=state)
        outputs.append(output)
        kept = layer.end_session(state)[:, : layer.user_width]
        np.testing.assert_allclose(layer.state_from_user(kept), layer.end_session(state), atol=1e-6)
    np.testing.assert_allclose(np.concatenate(outputs, axis=1), whole, atol=1e-6)


def test_a_new_user_starts_from_zeros_not_from_the_bias():
    layer = layer_of(**FORMS[3])
    kept = np.zeros((2, layer.user_width), np.float32)
    kept[1, 0] = 1
    state = np.asarray(layer.state_from_user(tf.constant(kept)))
    assert not state[0].any() and state[1, layer.user_width :].all()


@pytest.mark.parametrize("settings", FORMS)
def test_every_weight_gets_a_gradient_across_sessions(settings):
    layer = layer_of(**settings)
    (a,) = users_of(np.random.default_rng(6), A)
    cells = laid_out([a])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(*cells[:3])[0][:, -1] ** 2)
    weights = [weight.value for weight in layer.trainable_weights]
    for weight, gradient in zip(layer.trainable_weights, tape.gradient(loss, weights), strict=True):
        assert gradient is not None and np.abs(gradient).max() > 0, weight.path


def test_gradients_equal_finite_differences():
    layer = layer_of(**FORMS[4])
    cells = laid_out(users_of(np.random.default_rng(7), A, C))[:3]
    weights = [layer.user_kernel, layer.init[0][0], layer.user[1].recurrent_kernel, layer.session[1].kernel]

    def loss():
        return tf.reduce_sum(layer(*cells)[0] ** 2)

    with tf.GradientTape() as tape:
        value = loss()
    for weight, gradient in zip(weights, tape.gradient(value, [weight.value for weight in weights]), strict=True):
        before, step = weight.numpy(), np.zeros(weight.shape, np.float32)
        step[1, 1] = 1e-2
        weight.assign(before + step)
        above = float(loss())
        weight.assign(before - step)
        below = float(loss())
        weight.assign(before)
        assert (above - below) / 2e-2 == pytest.approx(float(gradient[1, 1]), rel=2e-2, abs=1e-3)


def test_dropout_acts_in_training_alone_and_is_carried():
    rates = {"dropout": 0.5, "user_dropout": 0.5, "init_dropout": 0.5}
    layer = layer_of(units=[64], user_units=[64], **rates)
    (a,) = users_of(np.random.default_rng(8), (2, 2))
    cells = laid_out([a])[:3]
    np.testing.assert_array_equal(layer(*cells)[0], layer(*cells)[0])
    outputs, state = layer(*cells, training=True)
    assert 0.3 < np.mean(np.asarray(outputs) == 0) < 0.7
    user = np.asarray(state)[0, :64]
    assert 0.2 < np.mean(user == 0) < 0.8
    np.testing.assert_array_equal(np.asarray(state)[0, 64:], outputs[0, -1])
    for name in rates:
        one = layer_of(units=[64], user_units=[64], **{name: 0.5})
        changed = np.any(np.asarray(one(*cells, training=True)[0]) != np.asarray(one(*cells)[0]), axis=-1)[0]
        assert changed.tolist() == ([True] * 4 if name == "dropout" else [False, False, True, True])


def test_config_round_trip():
    for settings, rate in itertools.product(FORMS, (0.0, 0.3)):
        layer = SessionHierarchy(**settings, dropout=rate, user_dropout=rate / 2, init_dropout=rate / 3, project=False)
        assert SessionHierarchy.from_config(layer.get_config()).get_config() == layer.get_config()
