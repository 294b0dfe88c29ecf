"""The index of clusters: recall, filters, ties, new items, core ops alone, and errors."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

import tfrecsession as trs
from tests.conformance.test_saving import graph_ops
from tests.export.strings import strings, text
from tfrecsession import InputError
from tfrecsession.export.clusters import clusters_of
from tfrecsession.export.ivf_index import BLOCK, WIDTH, IvfIndex, reduction
from tfrecsession.sessions.vocabulary import Items

K = 5
ITEMS = 600


@pytest.fixture(scope="module")
def model():
    """A GRU4Rec with biases whose items lie in groups, and whose items 50 to 59 are all equal."""
    keras.utils.set_random_seed(0)
    items = Items([f"item-{number}" for number in range(ITEMS)], np.arange(ITEMS, 0, -1))
    model = trs.models.GRU4Rec(items, units=[16], negatives=trs.negatives.Popularity(8))
    model.fitted = True
    rng = np.random.default_rng(0)
    table = rng.normal(size=(20, 16))[rng.integers(0, 20, model.size)] + 0.4 * rng.normal(size=(model.size, 16))
    table[50:60] = table[50]
    embedding, bias = sorted(model.output_items.item_variables(), key=lambda variable: -len(variable.shape))
    embedding.assign(table)
    values = np.where(np.arange(model.size) // 10 == 5, 0.5, rng.normal(size=model.size))
    bias.assign(values.reshape(bias.shape))
    return model


@pytest.fixture(scope="module")
def histories(model):
    rng = np.random.default_rng(1)
    return [model.items.ids[rng.integers(0, ITEMS, 1 + row % 4)].tolist() for row in range(120)]


@pytest.fixture(scope="module")
def exported(model, histories, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "gru4rec" / "1"
    return model.export(path, k=K, index="ivf", target_recall=0.9, histories=histories, clusters=40)


def test_clusters_are_those_of_the_groups():
    rng = np.random.default_rng(0)
    group = rng.integers(0, 6, 500)
    vectors = (10 * rng.normal(size=(6, 8))[group] + rng.normal(size=(500, 8))).astype(np.float32)
    cluster = clusters_of(vectors, 30)
    np.testing.assert_array_equal(cluster, clusters_of(vectors, 30))  # the same seed
    assert set(cluster) == set(range(cluster.max() + 1)) and cluster.max() >= 6
    assert all(len(set(group[cluster == part])) == 1 for part in set(cluster))
    assert clusters_of(np.ones((9, 2), np.float32), 4).tolist() == [0] * 9  # equal vectors are one cluster


def test_scores_are_exact_and_the_recall_is_what_the_export_says(model, histories, exported):
    card = json.loads((exported / "assets.extra" / "tfrecsession.json").read_text())
    settings = card["index_settings"]
    assert card["index"] == "ivf" and settings["target_recall"] == 0.9 and settings["clusters"] <= 40
    assert settings["probes"] < settings["clusters"] and card["recall"] >= 0.87
    page = " ".join((exported / "assets.extra" / "README.md").read_text().split())
    assert f"in {settings['clusters']} clusters, and those of the {settings['probes']} nearest" in page
    assert "It loads with TensorFlow alone" in page
    signatures = tf.saved_model.load(str(exported)).signatures
    answer, expected = signatures["serving_default"](items=strings(histories)), model.recommend(histories, k=K)
    hits = [len({*row} & {*best}) / K for row, best in zip(text(answer["items"]), expected.items, strict=True)]
    assert np.mean(hits) >= 0.87
    for row, (items, scores) in enumerate(zip(text(answer["items"]), answer["scores"].numpy(), strict=True)):
        exact = dict(zip(expected.items[row], expected.scores[row], strict=True))
        assert all(abs(exact.get(item, score) - score) < 1e-4 for item, score in zip(items, scores, strict=True))
    alone = [text(signatures["serving_default"](items=strings([history]))["items"])[0] for history in histories[:5]]
    assert alone == text(answer["items"])[:5]
    assert signatures["serving_default"](items=tf.zeros((0, 3), tf.string))["items"].shape == (0, K)


def test_it_has_core_ops_alone(exported):
    proto = saved_model_pb2.SavedModel.FromString((exported / "saved_model.pb").read_bytes())
    ops, _ = graph_ops(proto.meta_graphs[0].graph_def)
    assert all(op_def_registry.get(op) is not None for op in ops) and not {op for op in ops if ">" in op}
    assert not {"ResourceGather", "ResourceGatherNd"} & ops  # they make every read of the whole table copy it


def test_filters_and_unknown_histories(model, exported):
    ids = model.items.ids.tolist()
    signatures = tf.saved_model.load(str(exported)).signatures
    rows = [[ids[3]], [ids[3]], [ids[3]], [], ["no-such-item", ids[7]]]
    best = text(signatures["serving_default"](items=strings(rows))["items"])
    assert best[3] == ids[:K]
    answer = signatures["recommend_filtered"](
        items=strings(rows),
        exclude=strings([ids[4:], ids, best[2], ids[:2], []]),
        only=strings([[""], [""], [""], [""], [ids[7], ids[8], "no-such-item"]]),
    )
    returned = text(answer["items"])
    assert {*returned[0]} == {*ids[:4], ""} and returned[1] == [""] * K  # few are left: all items are scored
    assert "" not in returned[2] and not {*returned[2]} & {*best[2]}
    assert returned[3] == ids[2 : 2 + K] and {*returned[4]} == {ids[7], ids[8], ""}
    widest = signatures[
        "recommend_filtered"
    ](  # most items: the clusters are searched, then filtered
        items=strings([[ids[3]]]), exclude=strings([[]]), only=strings([ids[100:]])
    )
    assert not {*text(widest["items"])[0]} & {*ids[:100], ""}


def test_with_all_clusters_it_is_exact_also_where_scores_are_equal(model):
    index = IvfIndex(model, K, 0.5, np.array([[5], [9]]), clusters=7)
    index.searched, index.kept = index.means.shape[0], ITEMS
    rows = tf.constant([[52], [3], [0], [311]])
    with index.installed():
        best, scores = model.answer(rows, k=ITEMS)
    expected, exact = model.answer(rows, k=ITEMS)
    np.testing.assert_array_equal(best, expected)
    np.testing.assert_allclose(scores, exact, rtol=1e-5, atol=1e-6)
    first = best.numpy()[0].tolist().index(50)
    assert best.numpy()[0, first : first + 10].tolist() == list(range(50, 60))  # equal, and in the order of their ids


def test_every_item_is_stored_once(model):
    index = IvfIndex(model, K, 0.5, np.array([[5], [9]]), clusters=11)
    stored = index.ids.numpy()
    assert stored.shape[1] == BLOCK and not stored[0].any() and (stored[1:, 0] > 0).all()
    np.testing.assert_array_equal(np.sort(stored[stored > 0]), np.arange(2, ITEMS + 2))
    queries = np.random.default_rng(2).normal(size=(5, 17)).astype(np.float32)
    vectors = tf.cast(index.vectors, tf.float32).numpy()  # (blocks, BLOCK, coordinates + 1)
    assert not vectors[stored > 0, -1].any() and (vectors[stored == 0, -1] < -1e38).all()  # the last tells padding
    products = (queries @ index.reduced.numpy()) @ vectors[stored > 0, :-1].T
    expected = model.products_with(tf.constant(queries), tf.constant(np.tile(stored[stored > 0], (5, 1))))
    np.testing.assert_allclose(products, expected, rtol=2**-6, atol=0.05)  # narrow vectors lose nothing but bfloat16


@pytest.mark.parametrize("rows", [1, 4])
def test_candidates_are_the_best_of_the_lists_and_padding_never_is(model, rows):
    """Also where scores are far below zero, alone and joined."""
    index = IvfIndex(model, K, 0.5, np.array([[5], [9]]), clusters=11)
    queries = np.random.default_rng(3).normal(size=(rows, 17)).astype(np.float32)
    queries[:, -1] = -1000  # times the biases
    stored, vectors = index.ids.numpy(), tf.cast(index.vectors, tf.float32).numpy()[..., :-1]
    scores = np.einsum("nd,bsd->nbs", queries @ index.reduced.numpy(), vectors)[:, stored > 0]  # (rows, items)
    assert (scores.min(axis=1) < -100).all()
    everything = index.means.shape[0]
    for kept in (ITEMS, 10 * ITEMS):  # more than there are cells, too
        found = index.candidates(tf.constant(queries), everything, kept)[0].numpy()
        assert all(sorted(row[row > 0]) == list(range(2, ITEMS + 2)) for row in found)
    found = index.candidates(tf.constant(queries), everything, 100)[0].numpy()
    assert found.shape == (rows, 100)
    for row, best in zip(scores, found, strict=True):
        of_item = dict(zip(stored[stored > 0], row, strict=True))
        least = np.sort(row)[-100]
        assert len({*best}) == 100 and min(of_item[item] for item in best) > least - 0.02 * abs(least) - 5


def test_wide_vectors_keep_the_coordinates_that_histories_differ_in():
    rng = np.random.default_rng(0)
    seen = np.linalg.qr(rng.normal(size=(60, 60)))[0][:, :20]  # directions in which histories differ
    queries = rng.normal(size=(200, 20)) @ seen.T
    items = rng.normal(size=(500, 60)) + 1
    asked, to_list = reduction(items.astype(np.float32), queries.astype(np.float32))
    assert asked.shape == to_list.shape == (60, WIDTH)
    scores, lost = queries @ items.T, queries @ items.T - (queries @ asked) @ (items @ to_list).T
    assert np.std(lost - lost.mean(axis=1, keepdims=True)) < 0.02 * np.std(scores)  # order needs no constant
    asked, to_list = reduction(items[:, :30].astype(np.float32), queries[:2, :30].astype(np.float32))
    np.testing.assert_allclose(asked @ to_list.T, np.eye(30), atol=1e-3)  # also with few histories


def test_two_stages_find_the_exact_answer_where_everything_is_searched_and_kept():
    keras.utils.set_random_seed(0)
    items = Items([f"item-{number}" for number in range(90)], np.ones(90, int))
    wide = trs.models.GRU4Rec(items, units=[WIDTH + 8], negatives=trs.negatives.Popularity(8))
    wide.fitted = True
    index = IvfIndex(wide, K, 0.01, np.array([[5], [9]]), clusters=7)
    assert WIDTH <= index.reduced.shape[1] < WIDTH + 8
    index.searched, index.kept = index.means.shape[0], 90
    rows = tf.constant([[52], [3], [0]])
    with index.installed():
        best, scores = wide.answer(rows, k=90)
    expected, exact = wide.answer(rows, k=90)
    np.testing.assert_array_equal(best, expected)
    np.testing.assert_allclose(scores, exact, rtol=1e-5, atol=1e-6)


def test_errors(model, histories, tmp_path):
    for wrong, message in (
        ({"clusters": ITEMS + 1}, "clusters=601: must be a whole number from 1 to the number of items, 600"),
        ({"clusters": 0}, "clusters=0: must be a whole number from 1"),
        ({"clusters": 2.5}, "clusters=2.5: must be a whole number from 1"),
        ({"clusters": 9, "index": "exact-bf16"}, "clusters=9: must be left out with index='exact-bf16'"),
        ({"target_recall": 1.2}, "target_recall=1.2: must be a number above 0 and below 1"),
    ):
        with pytest.raises(InputError, match=message):
            model.export(tmp_path / "1", **{"index": "ivf", "k": K, "histories": histories} | wrong)
    assert not list(tmp_path.iterdir())


def test_a_target_that_cannot_be_reached_names_the_best(model, histories, monkeypatch):
    monkeypatch.setattr("tfrecsession.export.searched_index.CANDIDATES", (0,))
    rows = np.array([model.items.encode([history[0]]) for history in histories[:40]])
    with pytest.raises(
        InputError, match=r"target_recall=0.9: must be lower, since an index of clusters finds at most 0\.\d+"
    ):
        IvfIndex(model, 100, 0.9, rows, clusters=10)
