"""Indexes of models that mix their scores with the items of the session."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tests.export.strings import strings, text
from tfrecsession.export.index import CompactIndex
from tfrecsession.export.ivf_index import IvfIndex
from tfrecsession.export.rest_of_items import RestOfItems
from tfrecsession.export.searched_index import SearchedIndex
from tfrecsession.sessions.vocabulary import Items

K, ITEMS = 5, 300
ROWS = np.array([[5, 9, 5, 7], [0, 0, 0, 0], [3, 0, 0, 0], [1, 4, 4, 1], [2, 3, 300, 301]], np.int32)


class Best(SearchedIndex):
    """The candidates of another method: the best `kept` items by dot products, and no others."""

    def candidates(self, queries, searched, kept):
        scores = tf.matmul(queries, self.model.score_vectors(tf.range(2, self.model.size)), transpose_b=True)
        return tf.math.top_k(scores, kept).indices + 2, None


def model_of(name, **settings):
    keras.utils.set_random_seed(0)
    items = Items([f"item-{number}" for number in range(ITEMS)], np.arange(ITEMS, 0, -1))
    cls = {"gru4rec": trs.models.GRU4Rec, "repeat_net": trs.models.RepeatNet}[name]
    model = cls(items, negatives=trs.negatives.Popularity(8), **settings)
    model.fitted = True
    rng = np.random.default_rng(0)
    for weight in (*model.repeat_head.weights, *model.output_items.item_variables()):
        weight.assign(rng.normal(size=weight.shape))
    return model


@pytest.fixture(scope="module", params=["gru4rec", "repeat_net"])
def model(request):
    return model_of(request.param, **{"units": [8], "repeats": True} if request.param == "gru4rec" else {"units": 8})


@pytest.fixture(scope="module")
def ivf(model):
    return IvfIndex(model, K, 0.5, ROWS[:1], clusters=7)


def answers(model, index, k, **filters):
    with index.installed():
        return [array.numpy() for array in model.answer(tf.constant(ROWS), k, **filters)]


def test_with_all_clusters_the_answer_is_the_exact_one(model, ivf):
    ivf.searched, ivf.kept = ivf.means.shape[0], ITEMS
    for filters in ({}, {"exclude_seen": True}, {"only": tf.constant([[0], [0], [0], [0], [2]])}):
        best, scores = answers(model, ivf, K, **filters)
        expected, exact = model.answer(tf.constant(ROWS), K, **filters)
        np.testing.assert_array_equal(best, expected)
        np.testing.assert_allclose(scores[best > 0], exact.numpy()[best > 0], rtol=1e-4, atol=1e-5)


def test_few_candidates_are_merged_with_the_items_of_the_session(model):
    """The items of the session come first here, however low their own scores; the sum over the rest is exact."""
    index = Best(model)
    index.searched, index.kept = 1, K
    best, scores = answers(model, index, K)
    expected, exact = model.answer(tf.constant(ROWS), K)
    np.testing.assert_array_equal(best, expected)
    np.testing.assert_allclose(scores, exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind, tolerance", [("exact-bf16", 0.1), ("exact-int8", 0.05)])
def test_compact_tables(model, kind, tolerance):
    index = CompactIndex(model, kind, K)
    best, scores = answers(model, index, K)
    expected, exact = model.answer(tf.constant(ROWS), K)
    assert np.mean([len({*row} & {*other}) / K for row, other in zip(best, expected.numpy(), strict=True)]) > 0.85
    np.testing.assert_allclose(scores, exact, atol=tolerance)


def test_the_rest_of_the_softmax(model):
    """The whole catalogue as sample gives the sum; a part stands for as many items as were not scored."""
    rng = np.random.default_rng(1)
    vectors = model.score_vectors(tf.range(model.size)).numpy()
    queries = rng.normal(size=(2, vectors.shape[1])).astype(np.float32)
    scored = np.array([[2, 0, 17, 40], [0, 0, 3, 9]], np.int32)
    total = np.exp(queries.astype(float) @ vectors.T)
    rest = [total[row, np.setdiff1d(np.arange(2, model.size), scored[row])] for row in range(2)]
    whole = RestOfItems(model)
    np.testing.assert_allclose(whole(queries, scored), [np.log(part.sum()) for part in rest], rtol=1e-5)
    sample = RestOfItems(model, most=50)
    drawn = sample.ids.numpy()
    assert len(set(drawn)) == 50
    standing = [total[row, np.setdiff1d(drawn, scored[row])] for row in range(2)]
    found = [np.log(part.mean() * len(other)) for part, other in zip(standing, rest, strict=True)]
    np.testing.assert_allclose(sample(queries, scored), found, rtol=1e-5)
    everything = np.tile(np.arange(2, model.size, dtype=np.int32), (2, 1))
    assert (np.asarray(sample(queries, everything)) < -1e8).all()  # nothing is left


@pytest.mark.slow
def test_an_export_with_clusters_answers_as_the_model_and_streams(tmp_path):
    model = model_of("gru4rec", units=[8], repeats=True, repeat_window=4)
    histories = [[model.items.ids[id - 2] for id in row if id > 1] for row in ROWS if row.any()]
    path = model.export(tmp_path / "1", k=K, index="ivf", target_recall=0.97, histories=histories, clusters=9)
    signatures = tf.saved_model.load(str(path)).signatures
    answer = signatures["serving_default"](items=strings(histories))
    expected = model.recommend(histories, K)
    same = [len({*row} & {*other}) / K for row, other in zip(text(answer["items"]), expected.items, strict=True)]
    assert np.mean(same) >= 0.9
    state = np.zeros((1, model.initial_state().shape[1]), np.float32)
    for item in histories[0]:
        stepped = signatures["advance"](items=tf.constant([item]), state=tf.constant(state))
        state = stepped["state"].numpy()
    assert text(stepped["items"])[0] == text(answer["items"])[0]
    assert "encode" not in signatures and "similar_items" in signatures  # the scores are no products of vectors
