import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.layers import ItemEmbedding

SIZE, DIM = 12_347, 8  # no other shape has this size


def embedding(size=SIZE, bias=True, **kwargs):
    layer = ItemEmbedding(size, DIM, bias=bias, **kwargs)
    if bias:
        layer.biases.assign(np.random.default_rng(1).normal(size=size))
    return layer


def table(layer):
    return layer.table.numpy(), layer.biases.numpy()


def test_rows_and_scores_equal_numpy():
    layer = embedding(20)
    vectors, biases = table(layer)
    rng = np.random.default_rng(0)
    ids, hidden = rng.integers(0, 20, size=(3, 4)), rng.normal(size=(3, 4, DIM)).astype("f")
    np.testing.assert_array_equal(layer(ids), vectors[ids])
    each = (hidden * vectors[ids]).sum(axis=-1) + biases[ids]
    np.testing.assert_allclose(layer.score_each(hidden, ids), each, rtol=1e-5, atol=1e-6)
    whole = hidden[0] @ vectors.T + biases
    np.testing.assert_allclose(layer.score_all(hidden[0]), whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.score(hidden[0], ids[1]), whole[:, ids[1]], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 4, 5, 48, 49])
def test_scores_of_any_number_of_vectors(count):
    layer = embedding(30)
    vectors, biases = table(layer)
    hidden = np.random.default_rng(0).normal(size=(count, DIM)).astype("f")
    np.testing.assert_allclose(layer.score_all(hidden), hidden @ vectors.T + biases, rtol=1e-5, atol=1e-6)


def test_without_bias():
    layer = embedding(20, bias=False)
    assert layer.biases is None and len(layer.weights) == 1
    hidden = np.ones((2, DIM), "f")
    expected = hidden @ layer.table.numpy().T
    np.testing.assert_allclose(layer.score_all(hidden), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.score(hidden, [3, 4]), expected[:, [3, 4]], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.score_each(hidden, [3, 4]), expected[[0, 1], [3, 4]], rtol=1e-5, atol=1e-6)


def test_is_built_by_its_constructor():
    layer = ItemEmbedding(10, 4)
    assert layer.built and layer.table.shape == (10, 4)
    assert layer.compute_output_shape((None, 7)) == (None, 7, 4)


def test_gradients_hold_only_the_gathered_rows():
    layer = embedding(30)
    hidden = tf.constant(np.random.default_rng(0).normal(size=(2, DIM)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(hidden)
        positive, negatives = layer.score_each(hidden, [5, 6]), layer.score(hidden, [7, 5, 7])
        loss = tf.reduce_sum(layer(np.array([3]))) + tf.reduce_sum(positive) + 2 * tf.reduce_sum(negatives)
    d_table, d_biases = tape.gradient(loss, layer.trainable_variables)
    assert isinstance(d_table, tf.IndexedSlices) and isinstance(d_biases, tf.IndexedSlices)

    h = hidden.numpy()
    expected = np.zeros((30, DIM), "f")
    expected[3] += 1
    expected[[5, 6]] += h
    for item in (7, 5, 7):
        expected[item] += 2 * h.sum(axis=0)
    np.testing.assert_allclose(tf.convert_to_tensor(d_table), expected, rtol=1e-5, atol=1e-6)
    counts = np.zeros(30)
    counts[[5, 6, 7]] = [1 + 4, 1, 8]
    np.testing.assert_allclose(tf.convert_to_tensor(d_biases), counts)


def tensors_of(graph):
    """Yields every output of an op of the graph, or of a function it calls."""
    yield from (tensor for op in graph.get_operations() for tensor in op.outputs)
    for name in graph._functions:
        yield from tensors_of(graph._get_function(name).graph)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_no_op_outputs_a_tensor_as_large_as_the_table(policy):
    layer = embedding(dtype=policy)

    @tf.function
    def step(hidden, ids):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(ids)) + tf.reduce_sum(layer.score_each(hidden, ids))
            loss += tf.reduce_sum(layer.score(hidden, ids))
        return [gradient.values for gradient in tape.gradient(loss, layer.trainable_variables)]

    graph = step.get_concrete_function(tf.TensorSpec((4, DIM)), tf.TensorSpec((4,), tf.int32)).graph
    large = [tensor.name for tensor in tensors_of(graph) if tensor.shape.rank and tensor.shape[0] == SIZE]
    assert not large


@pytest.mark.parametrize("policy, dtype", [("mixed_bfloat16", tf.bfloat16), ("mixed_float16", tf.float16)])
def test_mixed_precision_keeps_the_table_in_float32(policy, dtype):
    layer = embedding(20, dtype=policy)
    hidden = tf.constant(np.random.default_rng(0).normal(size=(2, DIM)), tf.float32)
    ids = np.array([3, 4])
    outputs = [layer(ids), layer.score(hidden, ids), layer.score_each(hidden, ids), layer.score_all(hidden)]
    assert all(output.dtype == dtype for output in outputs)
    assert layer.table.dtype == "float32" and layer.biases.dtype == "float32"
    vectors, biases = table(layer)
    np.testing.assert_allclose(tf.cast(outputs[3], tf.float32), hidden @ vectors.T + biases, atol=0.05)


@pytest.mark.parametrize("size", [100, 100_000])
def test_initial_rows_have_a_length_near_1_for_any_catalogue(size):
    keras.utils.set_random_seed(0)
    lengths = np.linalg.norm(ItemEmbedding(size, 100).table.numpy(), axis=1)
    assert lengths.min() > 0.75 and lengths.max() < 1.25 and abs(lengths.mean() - 1) < 0.01


def test_the_papers_initializer():
    values = ItemEmbedding(998, 100, initializer="glorot_uniform").table.numpy()
    limit = np.sqrt(6 / (998 + 100))
    assert np.abs(values).max() <= limit and np.abs(values).max() > 0.99 * limit


def test_is_restored_from_its_config_and_its_file(tmp_path):
    inputs = keras.Input((5,), dtype="int32")
    model = keras.Model(inputs, embedding(20, initializer="glorot_uniform", name="items")(inputs))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras").get_layer("items")
    assert again.get_config() == model.get_layer("items").get_config()
    for restored, saved in zip(again.weights, model.get_layer("items").weights, strict=True):
        np.testing.assert_array_equal(restored.numpy(), saved.numpy())


@pytest.mark.parametrize("arguments", [(2, 8), (10, 0)])
def test_a_table_without_items_or_dimensions_is_refused(arguments):
    with pytest.raises(InputError, match=r"size=2: must be at least 3|dim=0: must be at least 1"):
        ItemEmbedding(*arguments)


@pytest.mark.parametrize("bias", [False, True])
def test_a_shift_is_added_to_every_score_of_an_item(bias):
    layer = ItemEmbedding(9, 4, bias=bias)
    if bias:
        layer.biases.assign(np.arange(9.0))
    rng = np.random.default_rng(0)
    hidden, ids, shift = rng.normal(size=(3, 4)).astype("f"), np.array([5, 2, 8]), np.array([0.5, -1.0, 9.0], "f")
    expected = hidden @ layer.table.numpy()[ids].T + shift + (ids if bias else 0)
    np.testing.assert_allclose(layer.score(hidden, ids, shift), expected, rtol=1e-5, atol=1e-6)
    half = layer.score(hidden, ids, shift, dtype="bfloat16")
    assert half.dtype == "bfloat16"
    np.testing.assert_allclose(tf.cast(half, "float32"), expected, rtol=2e-2, atol=2e-2)
