"""Item content: encodings learned once, and the encoders against NumPy."""

import json

import keras
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.layers.items.column_encoders import KNOTS
from tfrecsession.layers.items.item_content import ContentEncoder, ItemContent
from tfrecsession.optimizers import LazyAdagrad, LazyAdam
from tfrecsession.sessions.content_columns import ContentColumns
from tfrecsession.sessions.item_columns import Tensor
from tfrecsession.sessions.item_table import read_item_table
from tfrecsession.sessions.sounds import FRAMES
from tfrecsession.sessions.vocabulary import Items

TABLE = pa.table(
    {
        "color": ["red", "blue", "red", None, "gold"],
        "tags": [["x", "y"], ["y"], None, ["x"], ["z"]],
        "title": ["Red shoe, red sole", "blue shoe", "red hat", None, "gold hat"],
        "price": [1.0, 3.0, None, 5.0, 100.0],
        "code": ["AB-1", "é", None, "ab-1", "x"],
    }
)
VECTORS = np.arange(10, dtype=np.float32).reshape(5, 2)
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3)).astype(np.uint8)
SOUNDS = np.random.default_rng(1).normal(3, 2, (5, FRAMES, 6)).astype(np.float16)
PRESENT = np.array([True, True, False, True, True])


@pytest.fixture(scope="module")
def items():
    """Five items; the last has no event in training."""
    tensors = {"vector": Tensor("vector", VECTORS, PRESENT), "image": Tensor("image", IMAGES, PRESENT)}
    tensors["song"] = Tensor("audio", SOUNDS, PRESENT)
    return Items(list("abcde"), [9, 8, 7, 6, 0], TABLE, tensors)


def learned(items, *names):
    columns = ContentColumns.learn(items, names)
    content = ItemContent(columns.columns, items.size)
    content.hold(columns.encode(items.content), items.tensors)
    return columns, content


def test_values_of_a_single_item_or_without_events_are_unknown(items):
    columns = ContentColumns.learn(items, ["color", "tags:list", "title:words", "price", "code:characters"])
    found = columns.encode(TABLE)
    assert found["color"][:, 0].tolist() == [2, 1, 2, 0, 1]  # red; blue is of one item, gold was never seen
    assert found["tags"].tolist() == [[2, 3], [3, 0], [0, 0], [2, 0], [1, 0]]
    assert columns.columns[2].values == ("red", "shoe")  # words of one item alone say nothing
    assert found["price"][2].tolist() == [0, 0, 0]
    assert found["price"][:, 2].tolist() == [1, 1, 0, 1, 1]
    np.testing.assert_allclose(found["price"][:2, 0], (np.array([1, 3]) - 3) / np.std([1, 3, 5]), rtol=1e-6)
    assert found["price"][4, 0] == 5  # clipped
    np.testing.assert_allclose(found["price"][[0, 1, 3, 4], 1], [0, 0.5, 1, 1], atol=1e-6)
    assert found["code"][0].tolist() == found["code"][3].tolist() == [1, 2, 38, 28]
    assert found["code"][1, 0] == 56  # a character beside the alphabet


def test_words_are_weighted_by_tf_idf(items):
    columns = ContentColumns.learn(items, ["title:words"])
    weight = columns.encode(TABLE)["title/weight"]
    idf = {word: np.log(4 / (1 + count)) + 1 for word, count in (("red", 2), ("shoe", 2))}
    expected = np.array([2 * idf["red"], idf["shoe"]])
    np.testing.assert_allclose(weight[0, :2], expected / np.linalg.norm(expected), rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(weight, axis=1), [1, 1, 1, 0, 0], rtol=1e-6)


def test_columns_go_through_json(items):
    columns = ContentColumns.learn(items, ["color", "title:words", "price", "vector", "image", "song"])
    again = ContentColumns.from_config(json.loads(json.dumps(columns.get_config())))
    assert again.columns == columns.columns


def mean_of(table, codes):
    return np.mean([table[code] for code in codes], axis=0)


def test_encoders_are_their_equations(items):
    names = ["color", "tags:list", "title:words", "price", "code:characters", "vector", "image", "song"]
    columns, content = learned(items, *names)
    keras.utils.set_random_seed(1)
    encoder = ContentEncoder(columns.columns, 6)
    read = {key: value.numpy() for key, value in content(tf.range(items.size)).items()}
    for part in encoder.parts:
        part.missing.assign(np.random.default_rng(2).normal(size=6))
    found = {part.column.name: part(read).numpy() for part in encoder.parts}
    parts = {part.column.name: part for part in encoder.parts}
    missing = {name: part.missing.numpy() for name, part in parts.items()}

    table = parts["color"].table.numpy()
    assert not table[:2].any()
    np.testing.assert_allclose(found["color"][[2, 3, 5]], [table[2], table[1], missing["color"]], rtol=1e-6)
    table = parts["tags"].table.numpy()
    np.testing.assert_allclose(found["tags"][2], mean_of(table, [2, 3]), rtol=1e-5)
    table, weight = parts["title"].table.numpy(), read["title/weight"][2]
    np.testing.assert_allclose(found["title"][2], weight[0] * table[2] + weight[1] * table[3], rtol=1e-5)

    z, quantile, _ = read["price"][3]
    hats = np.maximum(1 - np.abs(quantile - np.linspace(0, 1, KNOTS)) * (KNOTS - 1), 0)
    expected = np.r_[z, hats] @ parts["price"].projection.numpy() / (1 + KNOTS)
    np.testing.assert_allclose(found["price"][3], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["price"][4], missing["price"])  # c has no price

    known = VECTORS[[0, 1, 3]]
    scaled = (VECTORS[1] - known.mean()) / known.std()
    expected = scaled @ parts["vector"].projection.numpy() / 2
    np.testing.assert_allclose(found["vector"][3], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["vector"][4], missing["vector"])

    kernels = [kernel.numpy() / np.prod(kernel.shape[:-1]) ** 0.5 for kernel in parts["code"].filters]
    table, codes = parts["code"].table.numpy(), read["code"][2]
    vectors = np.pad(table[codes], [(2, 2), (0, 0)])
    pooled = []
    for kernel in kernels:
        size, first = len(kernel), 2 - len(kernel) // 2
        windows = [vectors[at + first : at + first + size] for at in range(len(codes))]
        pooled.append(np.maximum([np.tensordot(window, kernel, 2) for window in windows], 0).max(axis=0))
    features = np.concatenate(pooled)
    features = (features - features.mean()) / np.sqrt(features.var() + 1e-6)
    expected = features @ parts["code"].projection.numpy() / len(features)
    np.testing.assert_allclose(found["code"][2], expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found["code"][4], missing["code"])

    assert found["image"].shape == (7, 6)
    np.testing.assert_allclose(found["image"][[0, 1, 4]], [missing["image"]] * 3)
    assert np.ptp(found["image"][[2, 3, 5, 6]], axis=0).min() > 0
    known = SOUNDS[[0, 1, 3]].astype(np.float64)
    maps = (SOUNDS[1] - known.mean()) / known.std()
    for kernel in (kernel.numpy() / np.prod(kernel.shape[:-1]) ** 0.5 for kernel in parts["song"].filters):
        after = -(-len(maps) // 2)  # SAME: as much padding as the windows lack, the larger half behind
        lacking = max(2 * (after - 1) + 4 - len(maps), 0)
        padded = np.pad(maps, [(lacking // 2, lacking - lacking // 2), (0, 0)])
        maps = np.maximum([np.tensordot(padded[2 * at : 2 * at + 4], kernel, 2) for at in range(after)], 0)
    features = np.concatenate([maps.mean(axis=0), maps.max(axis=0)])
    features = (features - features.mean()) / np.sqrt(features.var() + 1e-6)
    expected = features @ parts["song"].projection.numpy() / len(features)
    np.testing.assert_allclose(found["song"][3], expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found["song"][4], missing["song"])
    np.testing.assert_allclose(encoder(read).numpy(), sum(found.values()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("optimizer", [LazyAdagrad, LazyAdam])
def test_a_step_moves_a_text_no_farther_than_the_vector_of_an_id(optimizer):
    """However many words it has: each of them moves, and the text by their sum."""
    words = [f"w{number}" for number in range(50)]
    table = pa.table({"title": [" ".join(words), " ".join(words[:25]), " ".join(words[25:])]})
    columns, content = learned(Items(list("abc"), [9, 8, 7], table), "title:words")
    encoder, own = ContentEncoder(columns.columns, 4), tf.Variable(tf.zeros([5, 4]))
    read = content(tf.constant([2]))
    weights = [*encoder.trainable_variables, own]
    before = encoder(read).numpy()[0], own.numpy()[2]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum((encoder(read) + tf.gather(own, [2])) * tf.constant([1.0, -2.0, 0.5, 3.0]))
    optimizer(0.1).apply(tape.gradient(loss, weights, unconnected_gradients="zero"), weights)
    of_text, of_id = np.abs(encoder(read).numpy()[0] - before[0]), np.abs(own.numpy()[2] - before[1])
    assert (of_text <= 1.001 * of_id).all() and (of_text > 0.5 * of_id).all()


def test_content_of_a_few_ids(items):
    _, content = learned(items, "color", "vector", "image", "song")
    found = content(tf.constant([3, 0, 6, 1]))
    assert found["color"].numpy()[:, 0].tolist() == [1, 0, 1, 0]
    assert found["vector"].numpy().tolist() == [[2, 3], [0, 0], [8, 9], [0, 0]]
    assert found["vector/present"].numpy().tolist() == [1, 0, 1, 0]
    np.testing.assert_array_equal(found["image"].numpy()[[0, 2]], IMAGES[[1, 4]])
    np.testing.assert_array_equal(found["song"].numpy()[[0, 2]], SOUNDS[[1, 4]].astype(np.float32))
    assert not found["song"].numpy()[1].any()


def test_content_that_does_not_fit(items):
    for names, message in (
        (
            ["size"],
            r"content='size': no such column; the items have: color, tags, title, price, code, vector, image, song",
        ),
        (["price:words"], "content='price:words': its kind must be number, as it was prepared"),
        (["tags:category"], "its kind must be list"),
    ):
        with pytest.raises(InputError, match=message):
            ContentColumns.learn(items, names)
    with pytest.raises(InputError, match="this data set has no content; prepare the log with items=TABLE"):
        ContentColumns.learn(Items(["a"], [1]), ["title"])


def test_the_table_of_tomorrow_is_checked(items):
    columns = ContentColumns.learn(items, ["price", "vector", "song"])
    bands = [0.0] * 6
    good = {"item": ["f"], "price": [2.0], "vector": [[1.0, 2.0]], "more": [1], "song": [[bands, bands]]}
    encoded, tensors = columns.encode_contents(read_item_table(good))
    assert encoded["price"].shape == (1, 3)
    assert tensors["vector"].values.tolist() == [[1, 2]]
    for change, message in (
        ({"price": ["cheap"]}, "item 'f': price='cheap' is no number"),
        ({"vector": [[1.0]]}, "vector holds vectors of 1 numbers, in training they had 2"),
        ({"song": [[[1.0]]]}, "song holds sounds of 1 bands, in training they had 6"),
        ({"song": ["new.wav"]}, "song: 1 of 1 sounds cannot be read; the first, of item 'f', there is no such file"),
        ({"song": [[1.0, 2.0]]}, r"item 'f': song=\[1.0, 2.0\] is no audio"),
        ({"vector": [None]}, None),
    ):
        table = read_item_table({**good, **change})
        if message is None:
            assert not columns.encode_contents(table)[1]["vector"].present.any()
            continue
        with pytest.raises(InputError, match=message):
            columns.encode_contents(table)
    with pytest.raises(InputError, match="column 'price' is missing, which this model reads; there are: vector, song"):
        columns.encode_contents(read_item_table({"item": ["f"], "vector": [[1.0, 2.0]], "song": [None]}))
