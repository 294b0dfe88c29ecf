import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.numpy_reference import sigmoid
from tfrecsession import InputError
from tfrecsession.layers import SessionAttention
from tfrecsession.layers.attention import session_attention
from tfrecsession.training.memory import PeakMemory

RNG = np.random.default_rng(0)
POSITION = np.array([[0, 1, 2, 3, 0, 1, 2, 0, 0], [0, 1, 2, 3, 4, 5, 6, 7, 8], [0, 0, 0, 1, 2, 3, 4, 0, 1]], np.int32)
STATES = RNG.normal(size=(3, 9, 5)).astype(np.float32)
KINDS = pytest.mark.parametrize(
    "settings", [{}, {"activation": "hard_sigmoid"}, {"normalize": False}, {"activation": "hard_sigmoid", "units": 5}]
)


def layer_of(units=7, width=5, **settings):
    keras.utils.set_random_seed(0)
    layer = SessionAttention(units, **settings)
    layer.build((None, None, width))
    layer.energy.assign(np.random.default_rng(1).normal(size=(units, 1)) * 3)
    return layer


def by_hand(layer, states, position):
    """Computes what each step reads, and its weights, pair by pair."""
    query, key, energy = (np.asarray(weight, float) for weight in (layer.query_kernel, layer.key_kernel, layer.energy))
    read, weights = np.zeros_like(states, float), np.zeros((*position.shape, position.shape[1]))
    for row, steps in enumerate(position):
        for t, before in enumerate(steps):
            for j in range(t - before, t + 1):
                x = states[row, t] @ query + states[row, j] @ key
                s = sigmoid(x) if layer.activation == "sigmoid" else np.clip(x / 5 + 0.5, 0, 1)
                weights[row, t, j] = energy[:, 0] @ s
                if layer.normalize:
                    weights[row, t, j] = np.exp(weights[row, t, j])
            if layer.normalize:
                weights[row, t] /= weights[row, t].sum()
            read[row, t] = weights[row, t] @ states[row]
    return read, weights


@KINDS
def test_every_pair_by_hand(settings):
    layer = layer_of(**settings)
    read, weights = by_hand(layer, STATES, POSITION)
    np.testing.assert_allclose(layer(STATES, POSITION), read, atol=2e-6)
    np.testing.assert_allclose(layer.matrix(STATES, POSITION), weights, atol=2e-6)


@KINDS
@pytest.mark.parametrize("pairs", [1, 11, 40])
def test_blocks_change_nothing_not_even_the_gradient(settings, pairs, monkeypatch):
    layer = layer_of(**settings)
    variables = [weight.value for weight in layer.trainable_variables]

    def results():
        @tf.function  # blocks are a loop in the graph, as they are in training
        def read_and_gradients(states):
            with tf.GradientTape() as tape:
                tape.watch(states)
                read = layer(states, POSITION)
                loss = tf.reduce_sum(read * np.cos(np.arange(5)))
            return read, *map(tf.convert_to_tensor, tape.gradient(loss, [states, *variables]))

        return read_and_gradients(tf.constant(STATES))

    whole = results()
    monkeypatch.setattr(session_attention, "PAIRS", pairs)
    for expected, in_blocks in zip(whole, results(), strict=True):
        np.testing.assert_allclose(expected, in_blocks, atol=1e-5)


@KINDS
def test_the_last_step_alone(settings):
    layer = layer_of(**settings)
    position = np.tile(np.arange(9, dtype=np.int32), (3, 1))
    read, _ = by_hand(layer, STATES, position)
    found = layer.last(STATES, tf.constant([9, 4, 0]))
    np.testing.assert_allclose(found, [read[0, 8], read[1, 3], np.zeros(5)], atol=2e-6)


def test_large_energies_do_not_overflow():
    layer = layer_of()
    layer.energy.assign(np.full((7, 1), 1e4))
    assert np.isfinite(layer(STATES, POSITION)).all()


@pytest.mark.parametrize("position", [[[3, 4, 5]], [[100, 101, 0]]])
def test_steps_before_the_row_are_ignored(position):
    """A lane continues a session that began in an earlier batch."""
    layer, position = layer_of(), np.array(position, np.int32)
    inside = np.minimum(position, np.arange(3))
    read, _ = by_hand(layer, STATES[:1, :3], inside)
    np.testing.assert_allclose(layer(STATES[:1, :3], position), read, atol=2e-6)


def test_memory_is_bounded_on_wide_rows():
    """One array of two million pairs of 64 units takes half a gigabyte."""
    layer, steps = layer_of(units=64, width=8), 2000
    states, position = np.zeros((1, steps, 8), np.float32), np.arange(steps, dtype=np.int32)[None]
    states[0, :, 0] = np.arange(steps)
    layer(states[:, :50], position[:, :50])
    with PeakMemory() as memory:
        read = layer(states, position)
    assert np.isfinite(read).all()
    if memory.growth is None:
        pytest.skip("the system does not report the peak memory")
    assert memory.growth < 256 << 20


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"units": 0}, "units=0"), ({"activation": "relu"}, "activation='relu': must be one of sigmoid")],
)
def test_bad_settings_are_named(settings, named):
    with pytest.raises(InputError, match=named):
        SessionAttention(**{"units": 4, **settings})


def test_config_round_trip():
    layer = SessionAttention(3, "hard_sigmoid", normalize=False)
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert (again.units, again.activation, again.normalize) == (3, "hard_sigmoid", False)
