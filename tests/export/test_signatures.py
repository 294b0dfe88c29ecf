"""The signatures of an export against the same model in Python."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tests.export.strings import strings, text
from tfrecsession import training

K = 12
SETTINGS = {
    "gru4rec": {"units": [8], "epochs": 1},  # with biases
    "vsknn": {},
    "item_knn": {},
    "als": {"factors": 8, "sweeps": 2},
    "matrix_factorization": {"dim": 8, "epochs": 1},
    "session_aggregation": {"dim": 8},
}
WITH_VECTORS = [name for name in SETTINGS if name not in ("vsknn", "item_knn")]


@pytest.fixture(scope="module")
def exported(shop, tmp_path_factory):
    """Returns a function of name and exclude_seen -> the model and the signatures of its export."""
    models, exports = {}, {}

    def get(name, exclude_seen=False):
        if name not in models:
            keras.utils.set_random_seed(0)
            settings = training.settings_of(name, SETTINGS[name])
            models[name] = training.build(name, shop.items, settings)
            training.fit(models[name], shop, settings, seed=0)
        if (name, exclude_seen) not in exports:
            path = tmp_path_factory.mktemp(name) / "1"
            models[name].export(path, k=K, exclude_seen=exclude_seen)
            exports[name, exclude_seen] = tf.saved_model.load(str(path))  # keeps its lookup tables alive
        return models[name], exports[name, exclude_seen].signatures

    return get


@pytest.mark.parametrize("exclude_seen", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["gru4rec", "vsknn", "als"])
def test_recommend_filtered_equals_recommend_with_candidates(exported, shop, name, exclude_seen):
    model, signatures = exported(name, exclude_seen)
    ids = shop.items.ids.tolist()
    rng = np.random.default_rng(0)
    histories = [[ids[3], "no-such-item", ids[15], ids[3]], [ids[40]], [], ["no-such-item"], [ids[7]], [ids[8]]]
    exclude = [rng.choice(ids, size).tolist() for size in (0, 150, 3, 20, 0, 0)]
    exclude[1] += ["no-such-item", exclude[1][0]]
    only = [rng.choice(ids, size).tolist() for size in (50, 0, 0, 60, 4, 1)]
    only[0] += ["no-such-item", only[0][0], only[0][0]]
    answer = signatures["recommend_filtered"](items=strings(histories), exclude=strings(exclude), only=strings(only))
    for row, history in enumerate(histories):
        candidates = sorted((set(only[row]) or set(ids)) - set(exclude[row]))
        expected = model.recommend([history], k=K, exclude_seen=exclude_seen, candidates=candidates)
        assert text(answer["items"])[row] == expected.items[0].tolist()
        np.testing.assert_allclose(answer["scores"][row], expected.scores[0], rtol=1e-5, atol=1e-6)
    assert text(answer["items"])[4].count("") >= K - 4  # no more were allowed


def test_recommend_filtered_without_filters_equals_serving_default(exported, shop):
    _, signatures = exported("vsknn")
    histories = strings([[shop.items.ids[3]], [], [shop.items.ids[5], shop.items.ids[9]]])
    expected = signatures["serving_default"](items=histories)
    for padding in (tf.zeros((3, 0), tf.string), tf.fill((3, 2), "")):
        answer = signatures["recommend_filtered"](items=histories, exclude=padding, only=padding)
        for output in ("items", "scores"):
            np.testing.assert_array_equal(answer[output], expected[output])
    empty = tf.zeros((0, 0), tf.string)
    assert signatures["recommend_filtered"](items=empty, exclude=empty, only=empty)["items"].shape == (0, K)


def test_filters_that_leave_no_item(exported, shop):
    _, signatures = exported("gru4rec")
    item = shop.items.ids[3]
    rows = [([item], [item]), ([], ["no-such-item"]), (shop.items.ids.tolist(), [])]  # exclude, only
    answer = signatures["recommend_filtered"](
        items=tf.fill((3, 1), item), exclude=strings([row[0] for row in rows]), only=strings([row[1] for row in rows])
    )
    assert text(answer["items"]) == [[""] * K] * 3
    assert np.isfinite(answer["scores"]).all()  # JSON has no infinity


@pytest.mark.parametrize("wrong", ["exclude", "only"])
def test_a_filter_with_the_wrong_number_of_rows_is_named(exported, shop, wrong):
    _, signatures = exported("gru4rec")
    for rows in (1, 3):
        lists = {name: tf.fill((rows if name == wrong else 2, 1), shop.items.ids[0]) for name in ("exclude", "only")}
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"{wrong}: must have one row for each of items"):
            signatures["recommend_filtered"](items=tf.fill((2, 1), shop.items.ids[0]), **lists)


@pytest.mark.parametrize("name", ["item_knn", *WITH_VECTORS])
def test_similar_items_equal_those_of_the_model(exported, shop, name):
    model, signatures = exported(name)
    items = shop.items.ids[[3, 40, 3, -1]].tolist()
    expected = model.similar_items(items, k=K)
    answer = signatures["similar_items"](items=tf.constant([*items, "no-such-item", ""]))
    assert text(answer["items"]) == [*expected.items.tolist(), [""] * K, [""] * K]
    np.testing.assert_allclose(answer["scores"][:4], expected.scores, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", WITH_VECTORS)
def test_products_of_the_vectors_are_the_scores(exported, shop, name):
    products_are_scores(exported(name)[1], shop)


def products_are_scores(signatures, shop):
    ids = shop.items.ids.tolist()
    histories = strings([[ids[3], "no-such-item", ids[15], ids[3]], [ids[40]], [], ["no-such-item"]])
    queries = signatures["encode"](items=histories)["vector"].numpy()
    table = signatures["encode_items"](items=tf.constant([*ids, "no-such-item", ""]))["vector"].numpy()
    assert queries.dtype == table.dtype == np.float32 and queries.shape[1] == table.shape[1]
    assert not queries[2:].any() and not table[-2:].any()
    products = queries[:2] @ table[:-2].T
    answer = signatures["serving_default"](items=histories)
    np.testing.assert_allclose(-np.sort(-products)[:, :K], answer["scores"][:2], rtol=1e-4, atol=1e-5)
    index = {item: column for column, item in enumerate(ids)}
    for row, items in enumerate(text(answer["items"])[:2]):
        scores = products[row, [index[item] for item in items]]
        np.testing.assert_allclose(scores, answer["scores"][row], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["als", "matrix_factorization"])
def test_products_of_the_vectors_are_the_ratings(shop, tmp_path, name):
    """Item biases, user bias and mean rating are all nonzero."""
    settings = {"als": {"factors": 6, "explicit": True, "value": "rating"}, "matrix_factorization": {"dim": 6}}[name]
    if name == "als":
        model = trs.models.ALS(shop.items, **settings)
    else:
        model = trs.models.MatrixFactorization(shop.items, rating="rating", **settings)
    rng = np.random.default_rng(5)
    for weight in model.weights:
        if weight.dtype == "float32":
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    loaded = tf.saved_model.load(str(model.export(tmp_path / "1", k=K)))
    products_are_scores(loaded.signatures, shop)


def test_models_without_vectors_have_no_vector_signatures(exported):
    of_every_model = {"serving_default", "recommend_filtered", "recommend_with_rules"}
    assert set(exported("vsknn")[1]) == of_every_model
    assert set(exported("item_knn")[1]) == {*of_every_model, "similar_items"}


ALONE = """
import sys
import tensorflow as tf
sys.modules["tfrecsession"] = None  # as if it were not installed
loaded = tf.saved_model.load(sys.argv[1])
for signature in loaded.signatures.values():
    specs = signature.structured_input_signature[1].items()
    signature(**{name: tf.zeros([size or 1 for size in spec.shape], spec.dtype) for name, spec in specs})
print(*sorted(loaded.signatures))
"""


@pytest.mark.slow
def test_all_signatures_run_with_tensorflow_alone(shop, tmp_path):
    model = trs.models.GRU4Rec(shop.items, units=[4], negatives=trs.negatives.Popularity(8))
    path = model.export(tmp_path / "1", k=3)
    done = subprocess.run([sys.executable, "-c", ALONE, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == sorted(
        [
            "advance",
            "encode",
            "encode_items",
            "recommend_filtered",
            "recommend_with_rules",
            "serving_default",
            "similar_items",
        ]
    )
