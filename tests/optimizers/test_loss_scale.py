"""Loss scaling with sparse gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.optimizers import LazyAdagrad, LazyAdam, LossScale

ROWS, DIM = 6, 3


def gradients(rng, scale=1.0):
    values = rng.normal(size=(4, DIM)).astype("float32") * scale
    rows = tf.IndexedSlices(tf.constant(values), tf.constant([1, 3, 1, 4]), tf.constant([ROWS, DIM]))
    return [rows, tf.constant(rng.normal(size=2) * scale, tf.float32)]


def variables():
    start = np.random.default_rng(0).normal(size=(ROWS, DIM)).astype("float32")
    return [keras.Variable(start), keras.Variable(np.ones(2, "float32"))]


def in_graph(optimizer, held):
    optimizer.build(held)
    return tf.function(lambda gradients: optimizer.apply(gradients, held))


@pytest.mark.parametrize("more", [{}, {"gradient_accumulation_steps": 2}], ids=str)
def test_scaled_steps_equal_unscaled_ones(more):
    def inner():
        return LazyAdam(0.1, global_clipnorm=1.0, **more)

    scaled, plain, scaled_vars, plain_vars = LossScale(inner(), 2.0**10), inner(), variables(), variables()
    apply, rng, same = in_graph(scaled, scaled_vars), np.random.default_rng(1), np.random.default_rng(1)
    assert float(scaled.scale_loss(tf.constant(3.0))) == 3.0 * 2**10
    for _ in range(4):
        apply(gradients(rng, 2.0**10))
        plain.apply(gradients(same), plain_vars)
    for one, other in zip(scaled_vars, plain_vars, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert int(scaled.iterations) == int(plain.iterations) == 4 // more.get("gradient_accumulation_steps", 1)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("place", ["sparse", "dense"])
def test_a_step_that_is_not_finite_is_skipped(bad, place):
    optimizer, held = LossScale(LazyAdagrad(0.1, momentum=0.5), 2.0**8), variables()
    apply, rng = in_graph(optimizer, held), np.random.default_rng(2)
    apply(gradients(rng))
    before = [v.numpy() for v in [*held, *optimizer.inner_optimizer.variables]]
    sparse, dense = gradients(rng)
    if place == "sparse":
        values = sparse.values.numpy()
        values[2, 1] = bad
        sparse = tf.IndexedSlices(tf.constant(values), sparse.indices, sparse.dense_shape)
    else:
        dense = tf.constant([1.0, bad], tf.float32)
    apply([sparse, dense])
    after = [v.numpy() for v in [*held, *optimizer.inner_optimizer.variables]]
    assert all((one == other).all() for one, other in zip(before, after, strict=True))
    assert float(optimizer.dynamic_scale) == 2**7 and int(optimizer.iterations) == 1


def test_the_scale_doubles_and_halves():
    optimizer, held = LossScale(LazyAdagrad(0.1), 8.0, dynamic_growth_steps=3, highest=32.0), variables()
    apply, rng = in_graph(optimizer, held), np.random.default_rng(3)
    scales = []
    for good in "ggggg!ggggggggg!!":
        apply(gradients(rng, 1.0 if good == "g" else np.inf))
        scales.append(float(optimizer.dynamic_scale))
    assert scales == [8, 8, 16, 16, 16, 8, 8, 8, 16, 16, 16, 32, 32, 32, 32, 16, 8]


def test_no_op_makes_a_tensor_as_large_as_the_table():
    size = 12_347
    optimizer, table = LossScale(LazyAdagrad(0.1)), keras.Variable(np.zeros((size, DIM), "f"))
    optimizer.build([table])

    @tf.function
    def apply(values, rows):
        optimizer.apply([tf.IndexedSlices(values, rows, tf.constant([size, DIM]))], [table])

    graph = apply.get_concrete_function(tf.zeros((4, DIM)), tf.zeros(4, tf.int64)).graph
    graphs = [graph, *(graph._get_function(name).graph for name in graph._functions)]
    tensors = [tensor for g in graphs for op in g.get_operations() for tensor in op.outputs]
    assert len(graphs) > 2 and not [t for t in tensors if t.shape.rank and t.shape[0] == size]


@pytest.mark.parametrize("more", [{}, {"gradient_accumulation_steps": 2}], ids=str)
def test_norms_are_of_the_unscaled_gradient(more):
    optimizer, held = LossScale(LazyAdagrad(0.1, **more), 2.0**6), variables()
    optimizer.build(held)
    assert optimizer.norms is None and optimizer.watch_norms(held) and not optimizer.watch_norms(held)
    values = np.full((2, DIM), 2.0**6, "float32")
    rows = tf.IndexedSlices(tf.constant(values), tf.constant([1, 1]), tf.constant([ROWS, DIM]))
    for _ in range(2):
        optimizer.apply([rows, tf.constant([3.0, 4.0]) * 2**6], held)
    np.testing.assert_allclose(optimizer.norms.numpy(), [2 * np.sqrt(DIM), 5.0], rtol=1e-6)
    assert not LossScale(keras.optimizers.SGD()).watch_norms(held)


def test_config_round_trip():
    optimizer = LossScale(LazyAdam(0.01, gradient_accumulation_steps=2), 4.0, dynamic_growth_steps=5, highest=64.0)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(again) is LossScale and again.get_config() == optimizer.get_config()
    again.learning_rate = 0.5
    assert float(again.inner_optimizer.learning_rate) == 0.5


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"initial_scale": 0.5}, "initial_scale=0.5"), ({"dynamic_growth_steps": 0}, "dynamic_growth")],
)
def test_bad_input(settings, named):
    with pytest.raises(InputError, match=named):
        LossScale(LazyAdagrad(0.1), **settings)
