"""Session networks that read what items are made of: training, files, exports, items that training never saw."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tfrecsession.errors import InputError
from tfrecsession.sessions.item_columns import Tensor

COLUMNS = ["title", "category", "price", "vector", "photo", "song"]


@pytest.fixture(scope="module")
def data():
    """A small shop whose last five items have no event in training."""
    data = trs.synthetic_sessions(items=60, sessions=300, seed=3)
    random = np.random.default_rng(0)
    size = len(data.items)
    present = np.ones(size, bool)
    present[3] = False
    data.items.tensors = {
        "vector": Tensor("vector", random.normal(size=(size, 3)).astype(np.float32), present),
        "photo": Tensor("image", random.integers(0, 256, (size, 8, 8, 3)).astype(np.uint8), present),
        "song": Tensor("audio", random.normal(size=(size, 12, 4)).astype(np.float16), present),
    }
    data.items.counts = np.array([*data.items.counts[:-5], *[0] * 5])
    return data


def trained(data, model="gru4rec", columns=COLUMNS, **settings):
    keras.utils.set_random_seed(1)
    made = trs.models.by_name(model)(data.items, content=columns, **{"units": [16], **settings})
    made.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0), [trs.metrics.Recall(20)])
    made.fit(data.train.batches(rows=8, steps=16, by_user=made.reads.by_user), epochs=1, steps_per_epoch=4, verbose=0)
    return made


@pytest.fixture(scope="module")
def model(data):
    return trained(data)


HISTORIES = [["item-1", "item-2"], ["item-7"]]


def same(found, expected, tolerance=1e-4):
    items, scores = found
    assert (items == expected.items).all()
    np.testing.assert_allclose(scores, expected.scores, atol=tolerance)


def test_vectors_are_ids_plus_content(model):
    ids = tf.range(2, model.size)
    content = model.output_items.encoder(model.item_content(ids)).numpy()
    table = model.output_items.items.table.numpy()
    own = np.r_[np.arange(2, model.size - 5), [1] * 5]  # the last five items have no row of their own
    expected = table[own] + content
    np.testing.assert_allclose(model.input_items(ids), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.item_vectors()[2:], expected, rtol=1e-5, atol=1e-6)
    biases = model.output_items.items.biases.numpy()
    np.testing.assert_allclose(model.score_vectors(ids)[:, -1], biases[own], atol=1e-6)
    hidden = tf.random.normal([3, 16], seed=1)
    for scores in (model.score_all(hidden), model.scorer()(hidden)):
        np.testing.assert_allclose(scores[:, 2:], hidden @ expected.T + biases[own], rtol=1e-4, atol=1e-4)
        few = model.output_items.score(hidden, tf.constant([5, 9, 5]))
        np.testing.assert_allclose(few, tf.gather(scores, [5, 9, 5], axis=1), rtol=1e-4, atol=1e-4)
        each = model.output_items.score_each(hidden, tf.constant([5, 9, model.size - 1]))
        np.testing.assert_allclose(each, [scores[0, 5], scores[1, 9], scores[2, -1]], rtol=1e-4, atol=1e-4)


def test_training_moves_ids_and_content(data):
    model = trs.models.GRU4Rec(data.items, content=COLUMNS, units=[16])
    model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0))
    before = [variable.numpy() for variable in model.trainable_variables]
    model.fit(data.train.batches(rows=8, steps=16), epochs=1, steps_per_epoch=2, verbose=0)
    moved = {v.path: bool((v.numpy() != b).any()) for v, b in zip(model.trainable_variables, before, strict=True)}
    still = {path for path, has_moved in moved.items() if not has_moved}
    complete = {part.missing.path for part in model.output_items.encoder.parts[:3]}  # no item lacks these columns
    assert still <= complete, still
    table = model.output_items.items.table.numpy()
    unseen = np.arange(model.size - 5, model.size)
    assert (table[unseen] == before[[v.path for v in model.trainable_variables].index(table_path(model))][unseen]).all()


def table_path(model):
    return model.output_items.items.table.path


@pytest.mark.slow
def test_a_saved_model_answers_the_same_without_images(model, data, tmp_path):
    expected = model.recommend(HISTORIES, k=8)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    loaded.item_content.arrays.clear()  # as in another process
    assert not loaded.item_content.is_complete
    same(loaded.recommend(HISTORIES, k=8), expected, 1e-6)
    assert trs.evaluation.evaluate(loaded, data.test).metrics == trs.evaluation.evaluate(model, data.test).metrics
    assert loaded.item_content.is_complete  # the data set has them
    loaded.fit(data.train.batches(rows=8, steps=16), epochs=1, steps_per_epoch=1, verbose=0)
    assert (loaded.recommend(HISTORIES, k=8).scores != expected.scores).any()


@pytest.mark.slow
def test_exports_hold_vectors_alone(model, tmp_path):
    expected = model.recommend(HISTORIES, k=8)
    model.export(tmp_path / "1", k=8)
    same(trs.export.ask(tmp_path / "1", HISTORIES), expected)
    stored = tf.saved_model.load(str(tmp_path / "1")).weights
    rows = [variable for variable in stored if variable.shape.rank == 2 and variable.shape[0] == model.size]
    # neither ids nor content, but the vectors of `title` that rules may compare
    assert [(variable.shape[1], variable.dtype) for variable in rows] == [(16, tf.float32), (3, tf.float16)]
    model.export(tmp_path / "2", k=8, index="exact-bf16")
    assert trs.export.ask(tmp_path / "2", HISTORIES)[0].shape == (2, 8)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("gru4rec", {"content_side": "output", "repeats": True}),
        pytest.param(
            "gru4rec",
            {"content_side": "input", "embedding": "one_hot", "negatives": None},
            marks=pytest.mark.slow,
        ),
        pytest.param("narm", {"negatives": None}, marks=pytest.mark.slow),
        pytest.param("hrnn", {"embedding": "separate"}, marks=pytest.mark.slow),
    ],
)
def test_models_and_sides(data, tmp_path, name, settings):
    model = trained(data, name, ["title", "price"], **settings)
    expected = model.recommend(HISTORIES, k=8)
    assert np.isfinite(expected.scores).all()
    model.save(tmp_path / "model.keras")
    same(keras.models.load_model(tmp_path / "model.keras").recommend(HISTORIES, k=8), expected, 1e-5)
    model.export(tmp_path / "1", k=8)
    same(trs.export.ask(tmp_path / "1", HISTORIES), expected)
    on_inputs = model.input_items is not None and hasattr(model.input_items, "encoder")
    assert on_inputs == (settings.get("content_side") != "output")
    assert hasattr(model.output_items, "encoder") == (settings.get("content_side") != "input")


def test_a_model_grows_with_its_content(model, data):
    grown = trs.training.grow(model, data)
    assert grown.item_content.is_complete
    kept = np.arange(2, model.size - 5)
    np.testing.assert_allclose(grown.item_vectors().numpy()[kept], model.item_vectors().numpy()[kept], rtol=1e-5)


def test_arguments(data):
    for settings, message in (
        ({"content": ["size"]}, "content='size': no such column; the items have: category, price, title"),
        ({"content": ["title"], "content_side": "left"}, "content_side='left': must be"),
        ({"content": ["title"], "id_dropout": 2}, "id_dropout=2: must be"),
    ):
        with pytest.raises(InputError, match=message):
            trs.models.GRU4Rec(data.items, **settings)


@pytest.mark.slow
def test_a_model_that_is_compiled_and_fitted_again_has_the_vectors_of_the_last_training(data):
    model = trained(data, columns=["title", "price"])
    model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0), [trs.metrics.Recall(20)])
    model.fit(data.train.batches(rows=8, steps=16), epochs=1, steps_per_epoch=4, verbose=0)  # as many steps as before
    kept = np.array(model.output_items.settled)
    model.settle(force=True)
    np.testing.assert_allclose(kept, np.array(model.output_items.settled), atol=1e-6)
