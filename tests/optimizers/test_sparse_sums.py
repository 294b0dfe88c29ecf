"""Steps with the gradients of several batches."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.optimizers import LazyAdagrad, LazyAdam
from tfrecsession.optimizers.sparse_sums import GradientSum

ROWS, DIM = 9, 3
MAKERS = {
    "adagrad": lambda **more: LazyAdagrad(0.1, momentum=0.5, global_clipnorm=1.0, **more),
    "adam": lambda **more: LazyAdam(0.1, weight_decay=0.1, **more),
}


def sparse(rng, named):
    values = rng.normal(size=(named, DIM)).astype("float32")
    return tf.IndexedSlices(tf.constant(values), tf.constant(rng.integers(1, ROWS, named)), tf.constant([ROWS, DIM]))


def variables():
    start = np.random.default_rng(0).normal(size=(ROWS, DIM)).astype("float32")
    return [keras.Variable(start), keras.Variable(np.ones((2, 2), "float32")), keras.Variable(np.float32(3.0))]


@pytest.mark.parametrize("compiled", [True, False])
def test_sums_are_those_of_numpy(compiled):
    """Any number of rows per batch; `take` empties the sum."""
    rng = np.random.default_rng(1)
    table, _, number = (GradientSum(variable) for variable in variables())

    def step(gradient, dense, taken):
        if taken:
            return table.take(gradient), number.take(dense)
        table.add(gradient)
        number.add(dense)
        return gradient, dense

    step = tf.function(step, reduce_retracing=True) if compiled else step
    for rounds in ([4, 1, 0, 7], [2], [30, 1], [3, 3, 3]):
        expected, total = np.zeros((ROWS, DIM), np.float64), 0.0
        for place, named in enumerate(rounds):
            gradient, dense = sparse(rng, named), tf.constant(rng.normal(), tf.float32)
            np.add.at(expected, gradient.indices.numpy(), gradient.values.numpy())
            total += float(dense)
            found = step(gradient, dense, place == len(rounds) - 1)
        assert isinstance(found[0], tf.IndexedSlices) and len(found[0].indices) == sum(rounds)
        np.testing.assert_allclose(tf.convert_to_tensor(found[0]), expected, rtol=1e-5, atol=1e-6)
        assert found[1].shape == () and float(found[1]) == pytest.approx(total, rel=1e-5)
        assert int(table.filled) == 0
    assert len(table.rows.numpy()) == len(table.values.numpy()) == 30  # the most rows held at once


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_steps_equal_those_on_the_joint_batch(make):
    rng = np.random.default_rng(2)
    parts, joint = make(gradient_accumulation_steps=3), make()
    part_vars, joint_vars = variables(), variables()

    apply = tf.function(lambda gradients: parts.apply(gradients, part_vars), reduce_retracing=True)
    parts.build(part_vars)
    joint.build(joint_vars)
    for step in range(3):
        before = [variable.numpy() for variable in part_vars]
        of_step = [[sparse(rng, 5), tf.constant(rng.normal(size=(2, 2)), tf.float32), tf.constant(2.0)] for _ in "abc"]
        for gradients in of_step:
            assert all((v.numpy() == kept).all() for v, kept in zip(part_vars, before, strict=True))
            apply(gradients)
        tables, others = [g[0] for g in of_step], [[g[index] for g in of_step] for index in (1, 2)]
        whole = tf.IndexedSlices(
            tf.concat([g.values for g in tables], 0) / 3, tf.concat([g.indices for g in tables], 0), [ROWS, DIM]
        )
        joint.apply([whole, *(tf.add_n(dense) / 3 for dense in others)], joint_vars)
        assert int(parts.iterations) == int(joint.iterations) == step + 1
        for one, other in zip(part_vars, joint_vars, strict=True):
            np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-6, atol=1e-6)
    assert (part_vars[0].numpy()[0] == variables()[0].numpy()[0]).all()  # a row that no gradient names


@pytest.mark.parametrize("steps", [1, 0, 2.0, True, "2"])
def test_an_invalid_number_of_batches(steps):
    with pytest.raises(InputError, match="gradient_accumulation_steps=.*: must be a number of batches per step"):
        LazyAdagrad(0.1, gradient_accumulation_steps=steps)


def test_a_loaded_model_begins_with_a_new_step(tmp_path):
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile(LazyAdam(0.1, gradient_accumulation_steps=3), "mse")
    x, y = np.ones((10, 2), "f"), np.ones((10, 1), "f")
    model.fit(x, y, batch_size=2, verbose=0)  # 5 batches: a step, and two batches of the next
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.optimizer.gradient_accumulation_steps == 3 and int(again.optimizer.iterations) == 1
    kernel = again.layers[-1].kernel
    before = kernel.numpy()
    again.fit(x[:4], y[:4], batch_size=2, verbose=0)
    assert (kernel.numpy() == before).all()
    again.fit(x[:2], y[:2], batch_size=2, verbose=0)
    assert (kernel.numpy() != before).any() and int(again.optimizer.iterations) == 2
