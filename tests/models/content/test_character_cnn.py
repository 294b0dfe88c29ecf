"""CharacterCNN: the paper's cube, its sizes, its equations in NumPy, and the set of later targets."""

import math

import keras
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

import tfrecsession as trs
from tests import logs
from tests.numpy_reference import log_softmax
from tfrecsession.errors import InputError
from tfrecsession.models import CharacterCNN
from tfrecsession.models.content.character_cnn import FORMS, later
from tfrecsession.models.content.character_cube import CubeCNN
from tfrecsession.sessions.content_columns import ALPHABET
from tfrecsession.sessions.vocabulary import Items

TINY = {"characters": 6, "embedding": 3, "filters": [2, 3], "hidden": 4, "clicks": 3}
TITLES = ["Red shoe", "blue hat", None, "é=mc2", "x", "hat", "Shoe"]


@pytest.fixture(scope="module")
def items():
    table = pa.table({"title": TITLES, "tags": [["a"]] * 7, "category": ["up/shoes", "up/hats"] * 3 + [None]})
    return Items(["1", "22", "333", "a-4", "5", "6", "7"], [9, 8, 7, 6, 5, 4, 3], table)


def made(items, **settings):
    keras.utils.set_random_seed(2)
    model = CharacterCNN(items, **{**TINY, "content": ["title"], **settings})
    random = np.random.default_rng(0)
    for weight in model.trainable_weights:  # biases that matter
        if weight.path.endswith("bias") or weight.path.endswith("biases"):
            weight.assign(random.normal(size=weight.shape, scale=0.3))
    return model


@pytest.fixture(scope="module")
def model(items):
    return made(items)


def text(codes):
    """The text of a row of codes; ? stands for any character beside the paper's."""
    return "".join(" " if not code else ("?" if code > 54 else ALPHABET[code - 1]) for code in codes).rstrip()


def cube_of(model, *sessions):
    """The texts of the cube of the last event of a row of sessions: [clicks][fields]."""
    batch = logs.packed(list(sessions))
    cells = tf.constant([[0, sum(map(len, sessions)) - 1]])
    return [[text(field) for field in click] for click in model.codes(batch, cells).numpy()[0]]


def test_a_cube_holds_ids_and_texts_of_the_first_and_last_events(items):
    model = made(items, clicks=7, characters=8)
    assert cube_of(model, [8, 8], [2, 5, 4]) == [["1", "red shoe"], ["a-4", "??mc2"], ["333", ""], *[["", ""]] * 4]
    long = cube_of(model, [3, 2, 3, 4, 5, 6, 7, 8, 4])
    assert [click[0] for click in long] == ["22", "1", "22", "5", "6", "7", "333"]


def conv(maps, kernel, bias, strides):
    """A 3D convolution, padded as TensorFlow's "same": maps [d, h, w, channels]."""
    sizes = kernel.shape[:3]
    shape = [math.ceil(size / stride) for size, stride in zip(maps.shape, strides, strict=False)]
    pads = [max((n - 1) * s + k - size, 0) for n, s, k, size in zip(shape, strides, sizes, maps.shape, strict=False)]
    padded = np.pad(maps, [(pad // 2, pad - pad // 2) for pad in pads] + [(0, 0)])
    found = np.zeros((*shape, kernel.shape[-1]))
    for cell in np.ndindex(*shape):
        window = padded[tuple(slice(c * s, c * s + k) for c, s, k in zip(cell, strides, sizes, strict=True))]
        found[cell] = np.tensordot(window, kernel, 4) + bias
    return found


def pooled(maps):
    """The average pool [3, 3, 3] of stride 2, over the cells that exist."""
    ones = conv(np.ones((*maps.shape[:3], 1)), np.ones((3, 3, 3, 1, 1)), 0, (2, 2, 2))
    each = [conv(maps[..., c : c + 1], np.ones((3, 3, 3, 1, 1)), 0, (2, 2, 2)) for c in range(maps.shape[-1])]
    return np.concatenate(each, axis=-1) / ones


def scores_of(model, codes):
    """Scores [size] of one cube, int [clicks, fields, characters]."""
    codes = np.minimum(codes, 55)
    table = np.eye(56)[:, 1:] if not model.embedding else model.cnn.letters.numpy()
    frames = np.where(codes[..., None] > 0, table[codes], 0)  # (clicks, fields, characters, rows)
    cube = np.concatenate(np.split(np.moveaxis(frames, 3, 2), frames.shape[1], axis=1), axis=2)[:, 0, ..., None]

    def layer(maps, conv_layer):
        kernel, bias = (weight.numpy() for weight in conv_layer.weights)
        return conv(maps, kernel, bias, conv_layer.strides)

    maps = np.maximum(layer(cube, model.cnn.first), 0)
    for first, second, *shortcut in model.cnn.blocks:
        beside = layer(maps, shortcut[0]) if shortcut else maps
        maps = np.maximum(layer(np.maximum(layer(maps, first), 0), second) + beside, 0)
    kernel, bias = (weight.numpy() for weight in model.dense.weights)
    hidden = np.maximum(pooled(maps).ravel() @ kernel + bias, 0)
    return model.output_items.table.numpy() @ hidden + model.output_items.biases.numpy()


@pytest.mark.parametrize("embedding", [3, 0])
def test_scores_are_the_paper_s_equations(items, embedding):
    model = made(items, embedding=embedding)
    rows = ([[2, 3, 4, 5, 6], [3, 7]], [[4], [8, 5]])
    batch = logs.packed(*rows)
    found = model.score_all(tf.reshape(model.encode(batch), (-1, model.hidden))).numpy()
    found = found.reshape(*batch["items"].shape, model.size)
    for row, step in [(0, 0), (0, 2), (0, 4), (0, 6), (1, 0), (1, 2)]:
        codes = model.codes(batch, tf.constant([[row, step]])).numpy()[0]
        np.testing.assert_allclose(found[row, step], scores_of(model, codes), rtol=1e-4, atol=1e-5)


def test_no_event_reads_a_later_one(model):
    session = [2, 3, 4, 5, 6, 7]
    encoded = model.encode(logs.packed([session]))[0].numpy()
    for event in range(6):
        changed = model.encode(logs.packed([[*session[:event], 8, *session[event + 1 :]]]))[0].numpy()
        assert not np.abs(changed - encoded)[:event].any()


def test_blocks_of_events_change_nothing(model, monkeypatch):
    batch = logs.packed([[2, 3, 4, 5, 6], [3, 7]], [[4], [8, 5]])
    expected = model.encode(batch)
    monkeypatch.setattr("tfrecsession.layers.blocks.BLOCK_BYTES", 4096)
    spec = {key: tf.TensorSpec((None, None), tf.int32) for key in batch}
    graph = tf.function(model.encode, input_signature=[spec])  # as in evaluation: unknown numbers of steps
    np.testing.assert_allclose(graph(batch), expected, atol=1e-6)


def sizes_of(cnn, clicks, characters):
    """The maps of a stack of convolutions without padding, its parameters and its multiplications."""
    shape, maps, parameters, multiplications = (1, clicks, cnn.fields * cnn.rows, characters, 1), [], 0, 0

    def through(layer, shape):
        nonlocal parameters, multiplications
        found = layer.compute_output_shape(shape)
        kernel = math.prod(layer.kernel_size) * shape[-1] * layer.filters
        parameters += kernel + layer.filters
        multiplications += kernel * math.prod(found[1:4])
        return found

    shape = through(cnn.first, shape)
    maps.append(shape[1:])
    for first, second, *shortcut in cnn.blocks:
        for layer in shortcut:
            through(layer, shape)
        shape = through(second, through(first, shape))
        maps.append(shape[1:])
    return maps, cnn.pool.compute_output_shape(shape)[1:], parameters, multiplications


def test_the_paper_s_size():
    cnn = CubeCNN(3, 0, (16, 32, 64, 128, 256, 512))
    maps, pool, parameters, multiplications = sizes_of(cnn, 7, 150)
    # 75x83x4 -> 38x42x4 -> 19x21x4 -> 10x11x4 -> 5x6x4 -> 3x3x4 -> pool 2x2x2x512 = 4096
    sizes = [(83, 75, 16), (83, 75, 16), (42, 38, 32), (21, 19, 64), (11, 10, 128), (6, 5, 256), (3, 3, 512)]
    assert maps == [(4, *size) for size in sizes]
    assert pool == (2, 2, 2, 512)
    weights = parameters - sum(layer.filters for layer in cnn.convolutions)
    assert weights == 14_352_368  # 14.4 million
    assert 2.4e9 < multiplications < 2.45e9
    assert len(cnn.convolutions) - 5 == 13  # without shortcuts
    small = CubeCNN(3, FORMS["small"]["embedding"], FORMS["small"]["filters"])
    assert 10e6 < sizes_of(small, 7, FORMS["small"]["characters"])[3] < 12e6


@pytest.mark.slow
def test_the_paper_s_size_learns_and_exports(tmp_path):
    table = pa.table({"title": [f"ring of gold {n}" for n in range(40)], "category": ["rings/jewelry"] * 40})
    train = logs.sessions_of([[2 + n, 3 + n, 4 + n] for n in range(30)], items=40)
    train.items.content = table
    model = CharacterCNN(train.items, form="paper", content=["title", "category"], negatives=None)
    assert sum(math.prod(weight.shape) for weight in model.dense.weights) == 4096 * 1000 + 1000
    convolutions = sum(math.prod(weight.shape) for weight in model.cnn.trainable_weights)
    assert convolutions == 14_352_368 + sum(layer.filters for layer in model.cnn.convolutions)
    assert sum(math.prod(weight.shape) for weight in model.output_items.trainable_weights) == 42 * 1001
    model.compile(trs.optimizers.LazyAdam(0.001), trs.losses.CrossEntropy(), [trs.metrics.Recall(20)])
    model.fit(train.batches(rows=2, steps=2), epochs=1, steps_per_epoch=1, verbose=0)
    model.export(tmp_path / "cnn" / "1", k=5)
    served = tf.saved_model.load(str(tmp_path / "cnn" / "1")).signatures["serving_default"]
    answer = served(tf.constant([["i2", "i3"]]))["items"].numpy()
    assert answer.astype(str).tolist() == model.recommend([["i2", "i3"]], k=5).items.tolist()


def test_the_set_of_later_targets():
    segment = np.array([[1, 1, 1, 1, 2, 2, 0]], np.int32)
    targets = np.array([[5, 6, 5, 1, 5, 7, 0]], np.int32)
    counts = np.array([[1, 1, 1, 1, 1, 0, 1]], bool)
    found = {}
    for row, event, target in later(tf.constant(segment), tf.constant(targets), tf.constant(counts)).numpy().tolist():
        found.setdefault((row, event), []).append(target)
    assert found == {(0, 0): [0, 1], (0, 1): [1, 2], (0, 2): [2], (0, 4): [4]}


def test_the_loss_sums_over_the_set(items):
    """-sum over the later targets of log softmax, over all items, for every event that has one."""
    model = made(items, targets="rest", negatives=None, l2=0, dropout=0.0)
    model.compile(trs.optimizers.LazyAdam(0.001), trs.losses.CrossEntropy(), [trs.metrics.Recall(20)])
    batch = logs.packed([[2, 3, 4], [5]])
    targets, weight = np.array([[3, 4, 6, 7]], np.int32), np.array([[0, 2, 1, 1]], np.float32)
    scores = model.score_all(model.encode(batch)[0]).numpy()[:, 2:]
    logp = log_softmax(scores)
    sets = {0: {4: 2, 6: 1}, 1: {4: 2, 6: 1}, 2: {6: 1}, 3: {7: 1}}
    losses = [-logp[step, item - 2] * w for step, wanted in sets.items() for item, w in wanted.items()]
    total = sum(w for wanted in sets.values() for w in wanted.values())
    found = model.test_step((batch, targets, weight))["loss"]
    np.testing.assert_allclose(found, sum(losses) / total, rtol=1e-5)


def test_an_added_item_is_read(items, model, tmp_path):
    new = pa.table({"item": ["new-1"], "title": ["a new shoe"]})
    larger = trs.training.add_items(model, new, key="item")
    assert cube_of(larger, [9])[0] == ["new-1", "a new"]
    assert cube_of(larger, [2])[0] == ["1", "red sh"]
    np.testing.assert_allclose(
        larger.encode(logs.packed([[2, 3]])), model.encode(logs.packed([[2, 3]])), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"form": "big"}, "form='big': must be one of small, paper"),
        ({"ids": False, "content": []}, "ids=True|ids=False: must be True without content"),
        ({"content": ["tags"]}, "its kind must be list"),
        ({"content": ["title:words"]}, "'title' or 'title:characters'"),
        ({"content_side": "output"}, "content_side='output': must be 'input'"),
        ({"characters": 0}, "characters=0"),
        ({"clicks": 1}, "clicks=1"),
        ({"context": ["hour"]}, "context"),
        ({"targets": "all"}, "targets='all'"),
    ],
)
def test_bad_arguments(items, arguments, message):
    with pytest.raises(InputError, match=message):
        CharacterCNN(items, **{**TINY, **arguments})


@pytest.fixture
def half():
    """Layers compute in bfloat16."""
    before = keras.config.dtype_policy()
    yield lambda: keras.config.set_dtype_policy("mixed_bfloat16")
    keras.config.set_dtype_policy(before)


def test_half_the_bits_give_the_same_cube(half):
    """TensorFlow's 3D convolutions write outside their memory in bfloat16, for maps smaller than the kernel."""
    codes = np.random.default_rng(0).integers(0, 56, (8, 3, 1, 8)).astype(np.int32)

    def computed():
        keras.utils.set_random_seed(1)
        cnn = CubeCNN(1, 4, [8, 16, 16, 16])
        with tf.GradientTape() as tape:
            features = cnn(codes)  # the last two blocks have maps of 1 row
            loss = tf.reduce_sum(tf.cast(features, tf.float32) ** 2)
        assert features.dtype == cnn.compute_dtype
        gradients = tape.gradient(loss, cnn.trainable_variables)
        return [tf.cast(tf.convert_to_tensor(value), tf.float32).numpy() for value in (features, *gradients)]

    whole = computed()
    half()
    for found, expected in zip(computed(), whole, strict=True):
        assert np.linalg.norm(found - expected) < 0.01 * np.linalg.norm(expected)
