"""The further signatures of an export against what the same model says in Python."""

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
MADE = {
    "gru4rec": {"units": [8], "epochs": 1},  # with biases
    "vsknn": {},
    "item_knn": {},
    "als": {"factors": 8, "sweeps": 2},
    "matrix_factorization": {"dim": 8, "epochs": 1},
    "session_aggregation": {"dim": 8},
}
WITH_VECTORS = [name for name in MADE if name not in ("vsknn", "item_knn")]


@pytest.fixture(scope="module")
def exported(shop, tmp_path_factory):
    """(name, exclude_seen) -> the model and the signatures of its export."""
    models, made = {}, {}

    def get(name, exclude_seen=False):
        if name not in models:
            keras.utils.set_random_seed(0)
            settings = training.settings_of(name, MADE[name])
            models[name] = training.build(name, shop.items, settings)
            training.fit(models[name], shop, settings, seed=0)
        if (name, exclude_seen) not in made:
            path = tmp_path_factory.mktemp(name) / "1"
            models[name].export(path, k=K, exclude_seen=exclude_seen)
            made[name, exclude_seen] = tf.saved_model.load(str(path))  # held: its tables live as long as it does
        return models[name], made[name, exclude_seen].signatures

    return get


@pytest.mark.parametrize("exclude_seen", [False, True])
@pytest.mark.parametrize("name", ["gru4rec", "vsknn", "als"])
def test_filtered_it_is_recommend_with_candidates(exported, shop, name, exclude_seen):
    model, ask = exported(name, exclude_seen)
    ids = shop.items.ids.tolist()
    rng = np.random.default_rng(0)
    histories = [[ids[3], "no-such-item", ids[15], ids[3]], [ids[40]], [], ["no-such-item"], [ids[7]], [ids[8]]]
    exclude = [rng.choice(ids, size).tolist() for size in (0, 150, 3, 20, 0, 0)]
    exclude[1] += ["no-such-item", exclude[1][0]]
    only = [rng.choice(ids, size).tolist() for size in (50, 0, 0, 60, 4, 1)]
    only[0] += ["no-such-item", only[0][0], only[0][0]]
    answer = ask["recommend_filtered"](items=strings(histories), exclude=strings(exclude), only=strings(only))
    for row, history in enumerate(histories):
        candidates = sorted((set(only[row]) or set(ids)) - set(exclude[row]))
        expected = model.recommend([history], k=K, exclude_seen=exclude_seen, candidates=candidates)
        assert text(answer["items"])[row] == expected.items[0].tolist()
        np.testing.assert_allclose(answer["scores"][row], expected.scores[0], rtol=1e-5, atol=1e-6)
    assert text(answer["items"])[4].count("") >= K - 4  # no more were allowed


def test_filtered_by_nothing_it_is_the_default(exported, shop):
    _, ask = exported("vsknn")
    histories = strings([[shop.items.ids[3]], [], [shop.items.ids[5], shop.items.ids[9]]])
    expected = ask["serving_default"](items=histories)
    for nothing in (tf.zeros((3, 0), tf.string), tf.fill((3, 2), "")):
        answer = ask["recommend_filtered"](items=histories, exclude=nothing, only=nothing)
        for output in ("items", "scores"):
            np.testing.assert_array_equal(answer[output], expected[output])
    empty = tf.zeros((0, 0), tf.string)
    assert ask["recommend_filtered"](items=empty, exclude=empty, only=empty)["items"].shape == (0, K)


def test_where_nothing_is_left(exported, shop):
    _, ask = exported("gru4rec")
    item = shop.items.ids[3]
    rows = [([item], [item]), ([], ["no-such-item"]), (shop.items.ids.tolist(), [])]  # exclude, only
    answer = ask["recommend_filtered"](
        items=tf.fill((3, 1), item), exclude=strings([row[0] for row in rows]), only=strings([row[1] for row in rows])
    )
    assert text(answer["items"]) == [[""] * K] * 3
    assert np.isfinite(answer["scores"]).all()  # JSON has no infinity


@pytest.mark.parametrize("wrong", ["exclude", "only"])
def test_a_list_that_is_not_one_per_history_is_named(exported, shop, wrong):
    _, ask = exported("gru4rec")
    for rows in (1, 3):
        lists = {name: tf.fill((rows if name == wrong else 2, 1), shop.items.ids[0]) for name in ("exclude", "only")}
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"{wrong}: say a row for each of items"):
            ask["recommend_filtered"](items=tf.fill((2, 1), shop.items.ids[0]), **lists)


@pytest.mark.parametrize("name", ["item_knn", *WITH_VECTORS])
def test_similar_items_are_those_of_the_model(exported, shop, name):
    model, ask = exported(name)
    asked = shop.items.ids[[3, 40, 3, -1]].tolist()
    expected = model.similar_items(asked, k=K)
    answer = ask["similar_items"](items=tf.constant([*asked, "no-such-item", ""]))
    assert text(answer["items"]) == [*expected.items.tolist(), [""] * K, [""] * K]
    np.testing.assert_allclose(answer["scores"][:4], expected.scores, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", WITH_VECTORS)
def test_products_of_the_vectors_are_the_scores(exported, shop, name):
    products_are_scores(exported(name)[1], shop)


def products_are_scores(ask, shop):
    ids = shop.items.ids.tolist()
    histories = strings([[ids[3], "no-such-item", ids[15], ids[3]], [ids[40]], [], ["no-such-item"]])
    queries = ask["encode"](items=histories)["vector"].numpy()
    table = ask["encode_items"](items=tf.constant([*ids, "no-such-item", ""]))["vector"].numpy()
    assert queries.dtype == table.dtype == np.float32 and queries.shape[1] == table.shape[1]
    assert not queries[2:].any() and not table[-2:].any()
    products = queries[:2] @ table[:-2].T
    answer = ask["serving_default"](items=histories)
    np.testing.assert_allclose(-np.sort(-products)[:, :K], answer["scores"][:2], rtol=1e-4, atol=1e-5)
    place = {item: number for number, item in enumerate(ids)}
    for row, items in enumerate(text(answer["items"])[:2]):
        of_answer = products[row, [place[item] for item in items]]
        np.testing.assert_allclose(of_answer, answer["scores"][row], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["als", "matrix_factorization"])
def test_products_of_the_vectors_are_the_ratings(shop, tmp_path, name):
    """Biases of items, a bias of the person and the mean: all of them not 0."""
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


def test_a_model_without_vectors_has_no_signature_of_them(exported):
    assert set(exported("vsknn")[1]) == {"serving_default", "recommend_filtered"}
    assert set(exported("item_knn")[1]) == {"serving_default", "recommend_filtered", "similar_items"}


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


def test_tensorflow_alone_answers_all_of_them(shop, tmp_path):
    model = trs.models.GRU4Rec(shop.items, units=[4], negatives=trs.negatives.Popularity(8))
    path = model.export(tmp_path / "1", k=3)
    done = subprocess.run([sys.executable, "-c", ALONE, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == sorted(
        ["advance", "encode", "encode_items", "recommend_filtered", "serving_default", "similar_items"]
    )
