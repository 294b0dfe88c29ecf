import numpy as np
import pytest
import tensorflow as tf

from tests.numpy_reference import log_softmax, softmax
from tfrecsession.losses import CrossEntropy, full_softmax

RNG = np.random.default_rng(6)
SIZE, DIM = 23, 5
TARGETS = np.array([4, 2, 22, 0, 4, 1, 9], np.int32)  # two cells without target, one item twice
ONE_EVENT = 4 * SIZE  # bytes of a block that holds the scores of one event


def world(scale=1.0):
    hidden, table = RNG.normal(size=(len(TARGETS), DIM)) * scale, RNG.normal(size=(SIZE, DIM)) * scale
    return hidden, table, RNG.normal(size=SIZE)


def reference(hidden, table, biases):
    """-log softmax over the items, in float64, as the definition reads; 0 where there is no target."""
    scores = hidden @ table[2:].T + biases[2:]
    losses = -log_softmax(scores)[np.arange(len(TARGETS)), np.maximum(TARGETS - 2, 0)]
    return np.where(TARGETS > 1, losses, 0.0)


def reference_gradients(hidden, table, biases, upstream):
    """softmax - onehot, carried back by hand."""
    scores = hidden @ table[2:].T + biases[2:]
    d_scores = softmax(scores)
    real = TARGETS > 1
    d_scores[np.flatnonzero(real), TARGETS[real] - 2] -= 1.0
    d_scores = np.concatenate([np.zeros((len(TARGETS), 2)), d_scores * (upstream * real)[:, None]], axis=1)
    return d_scores @ table, d_scores.T @ hidden, d_scores.sum(axis=0)


def losses_and_gradients(hidden, table, biases, upstream=None, **kwargs):
    parts = [tf.constant(part, tf.float32) for part in (hidden, table, biases)]
    with tf.GradientTape() as tape:
        tape.watch(parts)
        losses = full_softmax(parts[0], parts[1], TARGETS, parts[2], **kwargs)
        total = tf.reduce_sum(losses if upstream is None else losses * upstream)
    return losses.numpy(), *(gradient.numpy() for gradient in tape.gradient(total, parts))


@pytest.mark.parametrize("events_at_once", [1, 2, 3, 7, 100])
def test_equals_its_definition_in_blocks_of_any_size(events_at_once):
    parts, upstream = world(), RNG.random(len(TARGETS)).astype("f")
    result = losses_and_gradients(*parts, upstream=upstream, block_bytes=events_at_once * ONE_EVENT)
    for got, expected in zip(result, (reference(*parts), *reference_gradients(*parts, upstream)), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_the_gradient_is_that_of_finite_differences():
    hidden, table, biases = world()
    _, d_hidden, d_table, d_biases = losses_and_gradients(hidden, table, biases, block_bytes=2 * ONE_EVENT)
    for part, gradient in ((hidden, d_hidden), (table, d_table), (biases, d_biases)):
        for place in [(0,) * part.ndim, (4,) * part.ndim, (1,) * part.ndim]:
            kept, ends = part[place], []
            for step in (1e-5, -1e-5):
                part[place] = kept + step
                ends.append(reference(hidden, table, biases).sum())
            part[place] = kept
            np.testing.assert_allclose(gradient[place], (ends[0] - ends[1]) / 2e-5, rtol=1e-4, atol=1e-6)


def test_padding_and_unknown_are_no_items():
    hidden, table, biases = world()
    loss, d_hidden, d_table, d_biases = losses_and_gradients(hidden, table, biases)
    assert not d_table[:2].any() and not d_biases[:2].any()
    assert not loss[TARGETS < 2].any() and not d_hidden[TARGETS < 2].any()
    table[:2], biases[:2] = 50.0, 1e6
    np.testing.assert_array_equal(losses_and_gradients(hidden, table, biases)[0], loss)


def test_without_biases():
    hidden, table, _ = world()
    loss = full_softmax(tf.constant(hidden, tf.float32), tf.constant(table, tf.float32), TARGETS)
    np.testing.assert_allclose(loss, reference(hidden, table, np.zeros(SIZE)), rtol=1e-5)


def test_equals_sampled_cross_entropy_with_every_other_item_sampled():
    # no second softmax anywhere
    hidden, table, biases = world()
    loss = losses_and_gradients(hidden, table, biases)[0]
    scores = (hidden @ table.T + biases).astype("f")
    ids = np.arange(2, SIZE)
    sampled = CrossEntropy().compare(scores[np.arange(7), TARGETS], scores[:, 2:], ids != TARGETS[:, None])
    np.testing.assert_allclose(loss[TARGETS > 1], sampled.numpy()[TARGETS > 1], rtol=1e-5)


def test_extreme_scores_stay_finite():
    hidden, table, biases = world(scale=60.0)  # scores in the thousands
    result = losses_and_gradients(hidden, table, biases)
    assert all(np.isfinite(part).all() for part in result)
    np.testing.assert_allclose(result[0], reference(hidden, table, biases), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_products_give_float32_losses(dtype):
    hidden, table, biases = world(0.5)
    low = tf.cast(tf.constant(hidden, tf.float32), dtype)
    table = tf.constant(table, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([low, table])
        loss = full_softmax(low, table, TARGETS, tf.constant(biases, tf.float32))
    assert loss.dtype == tf.float32
    np.testing.assert_allclose(loss, reference(hidden, table.numpy(), biases), rtol=0.05, atol=0.02)
    assert [gradient.dtype for gradient in tape.gradient(loss, [low, table])] == [low.dtype, tf.float32]


def test_no_events_at_all():
    loss = full_softmax(tf.zeros([0, DIM]), tf.zeros([SIZE, DIM]), tf.zeros([0], tf.int32))
    assert loss.shape == (0,)


def test_same_in_a_graph_that_computes_scores_twice_and_keeps_none():
    hidden, table, biases = (tf.constant(part, tf.float32) for part in world())

    @tf.function
    def step(hidden, table, biases):
        with tf.GradientTape() as tape:
            tape.watch([hidden, table])
            total = tf.reduce_sum(full_softmax(hidden, table, TARGETS, biases, block_bytes=2 * ONE_EVENT))
        return tape.gradient(total, [hidden, table])

    graph = step.get_concrete_function(hidden, table, biases).graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    assert sum(node.op == "MatMul" for node in nodes) == 4  # scores, scores again, two of the gradient
    expected = reference_gradients(*(part.numpy().astype("f8") for part in (hidden, table, biases)), np.ones(7))
    np.testing.assert_allclose(step(hidden, table, biases)[0], expected[0], rtol=1e-4, atol=1e-5)
