"""Indexes of an export: recall against the exact answer, size, and errors."""

import importlib.util
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

import tfrecsession as trs
from tests.conformance.test_saving import graph_ops
from tests.export.strings import strings, text
from tfrecsession import InputError, training
from tfrecsession.export.compact_table import BLOCK, CompactTable
from tfrecsession.export.index import CompactIndex, recall, sample, share_of
from tfrecsession.export.scann_ops import load_ops_of
from tfrecsession.sessions.vocabulary import Items

K = 10
SETTINGS = {
    "gru4rec": {"units": [16], "epochs": 1},  # with biases
    "als": {"factors": 8, "sweeps": 2},
    "two_tower": {"dim": 8, "epochs": 1},
    "matrix_factorization": {"dim": 8, "epochs": 1},
}


@pytest.fixture(scope="module")
def fitted(shop):
    models = {}

    def get(name):
        if name not in models:
            keras.utils.set_random_seed(0)
            settings = training.settings_of(name, SETTINGS[name])
            models[name] = training.build(name, shop.items, settings)
            training.fit(models[name], shop, settings, seed=0)
        return models[name]

    return get


@pytest.mark.parametrize("kind, most", [("bfloat16", 2**-8), ("int8", 1 / 254)])
def test_a_compact_table_is_near_its_matrix(kind, most):
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(BLOCK + 77, 6)) * rng.uniform(0.1, 10, (BLOCK + 77, 1))
    matrix[3] = 0
    table = CompactTable(matrix, kind, exact=1)
    ids = np.array([[0, 3, BLOCK - 1], [BLOCK, BLOCK + 1, BLOCK + 76]])
    rows = table.rows(tf.constant(ids)).numpy()
    np.testing.assert_array_equal(rows[..., 5], matrix[ids][..., 5].astype("f"))
    largest = np.abs(matrix[ids][..., :5]).max(axis=-1, keepdims=True)
    assert (np.abs(rows - matrix[ids]) <= 1.01 * most * np.append(largest, largest, -1)[..., :1]).all()
    assert not rows[0, 1, :5].any()
    queries = rng.normal(size=(3, 6)).astype("f")
    for width in (6, 5):  # with and without the exact column
        stored = table.rows(tf.range(len(matrix))).numpy()[:, :width]
        tolerance = 0.05 if kind == "bfloat16" else 1e-5  # products of bfloat16 are rounded
        scores = table.scores(tf.constant(queries[:, :width]))
        np.testing.assert_allclose(scores, queries[:, :width] @ stored.T, rtol=tolerance, atol=20 * tolerance)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, kind",
    [
        ("gru4rec", "exact-bf16"),
        ("gru4rec", "exact-int8"),
        pytest.param("als", "exact-int8", marks=pytest.mark.slow),
        pytest.param("two_tower", "exact-bf16", marks=pytest.mark.slow),
        pytest.param("matrix_factorization", "exact-int8", marks=pytest.mark.slow),
    ],
)
def test_a_compact_export_answers_nearly_like_the_model(fitted, shop, tmp_path, name, kind):
    model = fitted(name)
    path = model.export(tmp_path / "m" / "1", k=K, index=kind, histories=shop.test.beginnings(300))
    loaded = tf.saved_model.load(str(path))
    signatures = loaded.signatures
    histories = shop.test.beginnings(40, seed=3)
    expected = model.recommend(histories, k=K)
    answer = signatures["serving_default"](items=strings(histories))
    shares = [len({*a} & {*b}) / K for a, b in zip(text(answer["items"]), expected.items.tolist(), strict=True)]
    assert np.mean(shares) > 0.95
    np.testing.assert_allclose(answer["scores"], expected.scores, rtol=0.05, atol=0.05)
    queries = signatures["encode"](items=strings(histories))["vector"].numpy()
    best = signatures["encode_items"](items=tf.reshape(answer["items"], [-1]))["vector"].numpy().reshape(40, K, -1)
    np.testing.assert_allclose(np.einsum("nd,nkd->nk", queries, best), answer["scores"], rtol=1e-4, atol=1e-5)
    similar = signatures["similar_items"](items=tf.constant([shop.items.ids[3], "no-such-item"]))
    assert len({*text(similar["items"])[0]} & {*model.similar_items([shop.items.ids[3]], K).items[0]}) >= K - 2
    assert text(similar["items"])[1] == [""] * K
    proto = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    ops, _ = graph_ops(proto.meta_graphs[0].graph_def)
    assert {"MatMul", "BatchMatMulV2", "BatchMatMulV3"} & ops and all(op_def_registry.get(op) is not None for op in ops)
    assert not {op for op in ops if ">" in op or "PyFunc" in op}  # core ops have no namespace
    assert not {"ResourceGather", "ResourceGatherNd"} & ops  # they make every read of the whole table copy it
    card = json.loads((path / "assets.extra" / "tfrecsession.json").read_text())
    assert card["index"] == kind and card["recall"] > 0.95 and card["recall_measured_on"] == "300 histories"
    page = (path / "assets.extra" / "README.md").read_text()
    assert f"Recall@{K} against the exact float32 answer: {card['recall']:.4f}" in " ".join(page.split())


@pytest.mark.slow
def test_filters_of_a_compact_export(fitted, shop, tmp_path):
    model = fitted("gru4rec")
    loaded = tf.saved_model.load(str(model.export(tmp_path / "1", k=K, exclude_seen=True, index="exact-int8")))
    ids = shop.items.ids.tolist()
    histories = [[ids[3], ids[9]], [], [ids[5]], [ids[5]]]
    first = text(loaded.signatures["serving_default"](items=strings(histories))["items"])
    assert not {*first[0]} & {ids[3], ids[9]} and first[1] == ids[:K]
    exclude = [first[0], first[1], ids[:-4], []]
    only = [[], [], [], [ids[7], ids[5], ids[100], "no-such-item"]]
    answer = loaded.signatures["recommend_filtered"](
        items=strings(histories), exclude=strings(exclude), only=strings(only)
    )
    returned = text(answer["items"])
    assert not {*returned[0]} & {*first[0], ids[3], ids[9]} and "" not in returned[0]
    assert returned[1] == ids[K : 2 * K]  # the next popular items
    assert {*returned[2]} == {*ids[-4:], ""} and returned[2][4:] == [""] * (K - 4)
    assert {*returned[3]} == {ids[7], ids[100], ""}


@pytest.mark.parametrize("kind, bytes_of_a_number", [("exact-bf16", 2), ("exact-int8", 1)])
def test_the_table_is_stored_once_and_compact(tmp_path, kind, bytes_of_a_number):
    items = Items((f"i{number}" for number in range(20_000)), np.ones(20_000))
    model = trs.models.GRU4Rec(items, units=[32], negatives=trs.negatives.Popularity(8))
    path = model.export(tmp_path / "1", index=kind)
    size = sum(file.stat().st_size for file in (path / "variables").iterdir())
    assert size < 1.2 * 20_000 * (
        32 * bytes_of_a_number + 4 * (1 + 1 + 1 + 1 + 2)
    )  # biases twice, lengths, scales, counts


def test_recall_falls_with_a_wrong_table(fitted):
    """Measures tables whose recall is known."""
    model = fitted("gru4rec")
    histories, description = sample(model, None, 10, 50)
    assert len(histories) == 50 and "items" in description
    index = CompactIndex(model, "exact-int8", K)
    assert recall(model, index, histories, K) > 0.9
    index.table.table.assign(tf.zeros_like(index.table.table))
    assert recall(model, index, histories, K) < 0.5
    assert share_of(np.array([[2, 3, 4, 0]]), np.array([[9, 4, 2, 0]])) == pytest.approx(2 / 3)


def test_invalid_indexes(shop, tmp_path):
    rules = trs.models.MarkovChain(shop.items)
    rules.fit(shop.train)
    mean = trs.models.SessionAggregation(shop.items, dim=4)
    mean.fit(shop.train)
    for model, wrong, message in (
        (rules, {"index": "exact-bf16"}, "MarkovChain does not score by a dot product"),
        (rules, {"index": "scann"}, "MarkovChain does not score by a dot product"),
        (
            mean,
            {"index": "annoy"},
            "index='annoy': must be one of exact, exact-two-pass, exact-bf16, .*ivf, scann",
        ),
        (mean, {"index": "exact-bf16", "target_recall": 1.0}, "target_recall=1.0"),
        (mean, {"index": "exact-bf16", "histories": [["no-such-item"]]}, "histories: at least one must have an item"),
        (mean, {"index": "exact-int8", "k": 201}, "k=201"),
    ):
        with pytest.raises(InputError, match=message):
            model.export(tmp_path / "1", **wrong)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(importlib.util.find_spec("tf_keras") is None, reason="the extra `retrieval` is not installed")
def test_errors_of_scann_say_what_to_install(shop, tmp_path, monkeypatch):
    mean = trs.models.SessionAggregation(shop.items, dim=4)
    mean.fit(shop.train)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "scann" else find(name, *more))
    with pytest.raises(InputError, match=r"ScaNN is not installed: pip install 'tfrecsession\[scann\]'"):
        mean.export(tmp_path / "1", index="scann")
    proto = saved_model_pb2.SavedModel()
    function = proto.meta_graphs.add().graph_def.library.function.add()  # in a function of the graph
    function.node_def.add(op="Scann>ScannSearchBatched")
    with pytest.raises(InputError, match="served/m/1: holds a ScaNN index: ScaNN is not installed: pip install"):
        load_ops_of(proto, "served/m/1")
    (tmp_path / "scann.py").write_text(
        "raise ImportError('undefined symbol: _ZN')\n"
    )  # as if built for another TensorFlow
    monkeypatch.setattr(importlib.util, "find_spec", find)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "scann"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(InputError, match=rf"does not fit TensorFlow {tf.__version__} .*pip install"):
        mean.export(tmp_path / "1", index="scann")
    monkeypatch.setattr("tfrecsession.export.scann_index.load_scann_ops", lambda wanted_by: None)
    with pytest.raises(InputError, match="TF_USE_LEGACY_KERAS=1"):  # here it is not set
        mean.export(tmp_path / "1", index="scann")
    assert not (tmp_path / "1").exists()


ASK_SCANN = """
import json, sys
from pathlib import Path
import keras, numpy as np, tensorflow as tf
import tfrecsession as trs
model, folder = keras.saving.load_model(sys.argv[1]), Path(sys.argv[2])
histories = json.loads(sys.argv[3])
path = model.export(folder / "m" / "1", k=10, index="scann", target_recall=0.9, histories=histories)
card = json.loads((path / "assets.extra" / "tfrecsession.json").read_text())
signatures = tf.saved_model.load(str(path)).signatures
def strings(rows):
    return tf.ragged.constant(rows, dtype=tf.string, inner_shape=()).to_tensor("")
def text(array):
    return [[item.decode() for item in row] for row in array.numpy()]
some = [row for row in histories if row][:60]
answer = signatures["serving_default"](items=strings(some))
expected = model.recommend(some, k=10)
shares = [len({*a} & {*b}) / 10 for a, b in zip(text(answer["items"]), expected.items.tolist(), strict=True)]
assert np.mean(shares) > 0.85 and card["recall"] > 0.85, (np.mean(shares), card)
for row, (items, scores) in enumerate(zip(text(answer["items"]), answer["scores"].numpy())):  # scores are exact
    exact = dict(zip(expected.items[row], expected.scores[row]))
    common = [rank for rank, item in enumerate(items) if item in exact]
    np.testing.assert_allclose(scores[common], [exact[items[rank]] for rank in common], rtol=1e-4, atol=1e-5)
ids = model.items.ids.tolist()
answer = signatures["recommend_filtered"](  # filters that leave few candidates, or none: the exact answer
    items=strings([[ids[3]], [ids[3]], [ids[3]], []]),
    exclude=strings([ids[5:], ids, expected.items[0].tolist(), ids[:2]]),
    only=strings([["", "", ""], [""], [ids[7], ids[8], ids[9]], [""]]),
)
returned = text(answer["items"])
assert {*returned[0]} == {*ids[:5], ""} and returned[1] == [""] * 10 and {*returned[2]} <= {ids[7], ids[8], ids[9], ""}
assert returned[3] == ids[2:12], returned[3]
answer = signatures["serving_default"](items=tf.zeros((0, 3), tf.string))
assert answer["items"].shape == (0, 10)
state = np.zeros((1, model.initial_state().shape[1]), np.float32)
stepped = signatures["advance"](items=tf.constant([ids[3]]), state=tf.constant(state))
assert text(stepped["items"]) == text(signatures["serving_default"](items=tf.constant([[ids[3]]]))["items"])
settings = card["index_settings"]
page = " ".join((path / "assets.extra" / "README.md").read_text().split())
assert f"{settings['num_leaves_to_search']} of {settings['num_leaves']} leaves" in page
assert "stock image does NOT" in page
size = sum(file.stat().st_size for file in (path / "variables").iterdir())
assert size < 1.5 * len(ids) * (32 * 4 + 32 / 2 + 4 + 4 + 8 + 8), size  # the float32 vectors once, and the codes
try:
    model.export(folder / "m" / "2", k=10, index="scann", target_recall=0.999999)
except trs.InputError as error:
    assert "ScaNN finds at most" in str(error)
print("all is well")
"""
SERVE_SCANN = """
import sys
import tensorflow as tf
import tfrecsession as trs
items, scores = trs.export.ask(sys.argv[1] + "/m", [[sys.argv[2]]])
assert len(items[0]) == 10
from tfrecsession.serving.model_folder import ModelFolder
folder = ModelFolder(sys.argv[1])
folder.look(), folder.look()
version = folder.find("m")
served = version.signature("")({"items": tf.constant([[sys.argv[2]]]).numpy()})
assert [item.decode() for item in served["items"][0]] == items[0].tolist()
print("served")
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("scann") is None, reason="the extra `scann` is not installed")
@pytest.mark.parametrize("repeats", [False, True])
def test_scann(tmp_path, repeats):
    shop = trs.synthetic_sessions(items=3000, sessions=6000, seed=1)
    model = trs.models.GRU4Rec(shop.items, units=[32], negatives=trs.negatives.Popularity(256), repeats=repeats)
    model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0))
    model.fit(shop.train.batches(rows=64, steps=16), epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    histories = json.dumps(shop.test.beginnings(300))

    def run(code, *arguments, **variables):
        command = [sys.executable, "-c", code, *map(str, arguments)]
        done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    output = run(ASK_SCANN, tmp_path / "model.keras", tmp_path / "served", histories, TF_USE_LEGACY_KERAS="1")
    assert "all is well" in output
    assert "served" in run(SERVE_SCANN, tmp_path / "served", shop.items.ids[0])  # without Keras 2
