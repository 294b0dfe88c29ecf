"""Context joins vectors by the equations of its four forms."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrecsession import InputError
from tfrecsession.layers import EventInput
from tfrecsession.optimizers import LazyAdagrad

COLUMNS = [("device", 4, 1), ("price", 0, 0), ("hour", 26, 0)]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 5, 6)).astype(np.float32)
BATCH = {
    "context/device": RNG.integers(0, 4, (3, 5)).astype(np.int32),
    "context/hour": RNG.integers(0, 26, (3, 5)).astype(np.int32),
    "context/price": np.where(RNG.random((3, 5)) < 0.3, np.nan, RNG.normal(size=(3, 5))).astype(np.float32),
}


def filled(**settings):
    """A layer whose weights are all random."""
    layer = EventInput(COLUMNS, **settings)
    layer(X, BATCH)
    for weight in layer.weights:
        if "seed" not in weight.path:
            weight.assign(RNG.normal(size=weight.shape))
    return layer


def vector(layer):
    """The vector c of every event, from its equation."""
    table, kernel = layer.table.numpy(), layer.number_kernel.numpy()
    price = BATCH["context/price"]
    known = np.where(np.isnan(price), 0, price)[..., None] * kernel[0] + np.isnan(price)[..., None] * kernel[1]
    return table[BATCH["context/device"]] + table[4 + BATCH["context/hour"]] + known


@pytest.mark.parametrize("keep_width", [False, True])
@pytest.mark.parametrize("join", ["concatenate", "multiply", "both", "latent_cross"])
def test_the_equations(join, keep_width):
    layer = filled(join=join, keep_width=keep_width)
    c = vector(layer)
    expected = X * (1 + c) if join == "latent_cross" else X
    if join in ("multiply", "both"):
        expected = X * (1 + c @ layer.factor.numpy())
    if join in ("concatenate", "both"):
        expected = expected + c @ layer.projection.numpy() if keep_width else np.concatenate([expected, c], axis=-1)
    found = layer(X, BATCH)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert layer.compute_output_shape(X.shape) == found.shape
    again = EventInput.from_config(layer.get_config())
    again(X, BATCH)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(X, BATCH), found)


@pytest.mark.parametrize("join", ["concatenate", "multiply", "both", "latent_cross"])
def test_at_first_the_vectors_pass(join):
    layer = EventInput(COLUMNS, join=join)
    np.testing.assert_allclose(layer(X, BATCH)[..., :6], X, atol=0.2 if join == "latent_cross" else 1e-6)
    table = layer.table.numpy()
    assert not table[[0, 1, 4, 5]].any() and table[[2, 3, 6]].all()


@pytest.mark.parametrize("columns", [COLUMNS, COLUMNS[:1]], ids=len)
def test_context_moves_as_far_in_a_step_as_one_vector(columns):
    layer = EventInput(columns)
    batch = {key: values[:1, :1] for key, values in BATCH.items()} | {"context/price": np.full((1, 1), np.nan, "f")}
    before = layer(X[:1, :1], batch)[..., 6:].numpy()
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(X[:1, :1], batch))
    weights = layer.trainable_variables
    gradients = tape.gradient(total, [weight.value for weight in weights])
    LazyAdagrad(0.1).apply(gradients, weights)  # its first step is the rate for every number that has a gradient
    np.testing.assert_allclose(layer(X[:1, :1], batch)[..., 6:], before - 0.1, atol=1e-5)


def test_dropout_hides_rows_and_columns():
    keras.utils.set_random_seed(0)
    layer = filled(join="concatenate", dropout=0.5)
    layer.number_kernel.assign(np.zeros(layer.number_kernel.shape))
    table = layer.table.numpy()
    batch = {key: np.repeat(values[:1, :1], 4000, axis=0) for key, values in BATCH.items()}
    batch["context/device"][:], batch["context/hour"][:] = 3, 9
    found = layer(np.zeros((4000, 1, 6), np.float32), batch, training=True).numpy()[:, 0, 6:]
    shares = {}
    for device in (0, 1, 3):
        for hour in (0, 9):
            same = np.isclose(found, table[device] + table[4 + hour], atol=1e-5).all(axis=1)
            shares[device, hour] = same.mean()
    expected = {(0, 0): 0.5, (1, 0): 0.125, (1, 9): 0.125, (3, 0): 0.125, (3, 9): 0.125, (0, 9): 0.0}
    for key, share in expected.items():
        assert abs(shares[key] - share) < 0.03, key
    np.testing.assert_array_equal(layer(X, BATCH, training=False), layer(X, BATCH))


def test_a_batch_without_the_columns_is_named():
    layer = EventInput(COLUMNS, side="request")
    with pytest.raises(InputError, match="batch: must have 'request/device'"):
        layer(X, BATCH)


@pytest.mark.parametrize("codes", [300, 9000])
def test_gradients_of_small_and_large_tables(codes):
    layer = EventInput([("city", codes, 1)], join="latent_cross")
    batch = {"context/city": RNG.integers(0, codes, (3, 5)).astype(np.int32)}
    layer(X, batch)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(X, batch))
    gradient = tf.convert_to_tensor(tape.gradient(total, layer.table.value)).numpy()
    expected = np.zeros((codes, 6))
    np.add.at(expected, batch["context/city"].ravel(), X.reshape(-1, 6))
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)
