"""Files for LiteRT and ONNX answer as the model does."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.goldens import goldens
from tfrecsession import InputError
from tfrecsession.cli import main
from tfrecsession.export import other_runtimes

LONGEST = 6


def golden(name):
    return keras.models.load_model(goldens.FOLDER / f"{name}.keras")


def loaded(folder):
    """A function from the items of a session to items and scores, as an app would write it."""
    items = json.loads((folder / "items.json").read_text())
    card = json.loads((folder / "tfrecsession.json").read_text())
    if card["format"] == "onnx":
        session = pytest.importorskip("onnxruntime").InferenceSession((folder / "model.onnx").read_bytes())
    else:
        runner = tf.lite.Interpreter(str(folder / "model.tflite")).get_signature_runner()

    def ask(session_items):
        history = np.zeros((1, card["longest"]), np.int32)
        history[0, : len(session_items)] = [items.index(item) if item in items else 1 for item in session_items]
        if card["format"] == "onnx":
            best, scores = session.run(["items", "scores"], {"history": history})
        else:
            best, scores = (runner(history=history)[name] for name in ("items", "scores"))
        return [items[index] for index in best[0]], scores[0]

    return ask


def check(model, folder, exclude_seen):
    ask = loaded(folder)
    for history in goldens.HISTORIES:
        history = history[-LONGEST:]
        items, scores = ask(history)
        expected = model.recommend([history], k=5, exclude_seen=exclude_seen)
        assert items == expected.items[0].tolist()
        np.testing.assert_allclose(scores, expected.scores[0], atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def gru4rec():
    return golden("gru4rec")


@pytest.fixture(scope="module")
def written(gru4rec, tmp_path_factory):
    folder = tmp_path_factory.mktemp("litert") / "gru4rec"
    return gru4rec.export(folder, "litert", k=5, longest=LONGEST, exclude_seen=True)


def test_litert_answers_as_the_model(gru4rec, written):
    check(gru4rec, written, exclude_seen=True)
    card = json.loads((written / "tfrecsession.json").read_text())
    assert card["vocabulary"] == gru4rec.items.fingerprint and card["compared"] == 6
    assert "ai_edge_litert" in (written / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["sasrec", "narm", "core", "min_gru", "gru4rec-repeats", "gru4rec-context", "contextual_gru", "item_knn", "slist"],
)
def test_litert_takes_other_models(name, tmp_path):
    model = golden(name)
    check(model, model.export(tmp_path / name, "litert", k=5, longest=LONGEST), exclude_seen=False)


@pytest.mark.parametrize(
    "name", ["gru4rec", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sasrec", "narm", "core", "min_gru"))]
)
def test_onnx_answers_as_the_model(name, tmp_path):
    pytest.importorskip("tf2onnx", reason="the extra `onnx` is not installed")
    model = golden(name)
    check(model, model.export(tmp_path / name, "onnx", k=5, longest=LONGEST, exclude_seen=True), exclude_seen=True)


def test_a_missing_op_is_named():
    @tf.function(input_signature=[tf.TensorSpec((1, 2), tf.int32, name="history")])
    def answer(history):
        return {"items": tf.linalg.cholesky(tf.eye(2) * tf.cast(history, tf.float32))}

    with pytest.raises(InputError, match="format='litert': Toy does not convert, LiteRT has no op Cholesky") as error:
        other_runtimes.RUNTIMES["litert"].convert(answer, "Toy")
    assert "\n" not in str(error.value)


MISSING = {
    "lru": "LRU does not convert, LiteRT has no op Complex",
    "matrix_factorization": "MatrixFactorization does not convert, LiteRT has no op Cholesky",
    "repeat_net": "RepeatNet does not convert, LiteRT has no op SegmentMax",
    "sknn": "SKNN does not convert, LiteRT has no op LowerBound",
}


@pytest.mark.parametrize("name", ["lru", *(pytest.param(name, marks=pytest.mark.slow) for name in [*MISSING][1:])])
def test_a_model_that_does_not_convert_is_refused_before_the_work(name, tmp_path, monkeypatch):
    def convert(answer, name):
        raise AssertionError("the converter has begun")

    monkeypatch.setitem(other_runtimes.RUNTIMES, "litert", other_runtimes.RUNTIMES["litert"]._replace(convert=convert))
    with pytest.raises(InputError, match=MISSING[name]) as error:
        golden(name).export(tmp_path / name, "litert", k=5, longest=2)
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_converter_agrees_that_the_op_is_missing(tmp_path, monkeypatch):
    runtime = other_runtimes.RUNTIMES["litert"]._replace(missing=frozenset())
    monkeypatch.setitem(other_runtimes.RUNTIMES, "litert", runtime)
    with pytest.raises(InputError, match=MISSING["lru"]):
        golden("lru").export(tmp_path / "lru", "litert", k=5, longest=2)


@pytest.mark.parametrize("name", ["gru4rec-context", "contextual_gru", "hrnn-context"])
def test_models_with_context_have_no_op_that_litert_lacks(name):
    model = golden(name)

    @tf.function(input_signature=[tf.TensorSpec((1, 2), tf.int32, name="history")], autograph=False)
    def answer(history):
        return dict(zip(("items", "scores"), model.answer(history, 5), strict=True))

    assert not other_runtimes._ops(answer) & other_runtimes.RUNTIMES["litert"].missing


def test_a_file_that_answers_differently_is_not_written(gru4rec, tmp_path, monkeypatch):
    wrong = other_runtimes.RUNTIMES["litert"]._replace(
        convert=lambda answer, name: b"", load=lambda content: lambda history: (np.ones((1, 5)), np.ones((1, 5)))
    )
    monkeypatch.setitem(other_runtimes.RUNTIMES, "litert", wrong)
    with pytest.raises(InputError, match="answers differently"):
        gru4rec.export(tmp_path / "x", "litert", k=5)
    assert not list(tmp_path.iterdir())


def test_what_other_runtimes_do_not_have_is_refused(gru4rec, written, tmp_path, monkeypatch):
    for wrong, line in (
        ({"index": "exact-int8"}, "index='exact-int8': must be 'exact'"),
        ({"k": 1000}, "catalogue"),
        ({"longest": 0}, "longest=0"),
    ):
        with pytest.raises(InputError, match=line):
            gru4rec.export(tmp_path / "x", "litert", **wrong)
    with pytest.raises(InputError, match="overwrite=True"):
        gru4rec.export(written, "litert", k=5)
    monkeypatch.setitem(__import__("sys").modules, "tf2onnx", None)
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(InputError, match=r"needs .*onnx: pip install 'tfrecsession\[onnx\]'"):
        gru4rec.export(tmp_path / "x", "onnx", k=5)


def test_the_command(tmp_path, capsys):
    run = {"model": "gru4rec", "settings": {}, "seed": 0, "data": {"path": None, "fingerprint": "0" * 16}}
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.json").write_text(json.dumps(run))
    (tmp_path / "run/model.keras").write_bytes((goldens.FOLDER / "popularity.keras").read_bytes())
    words = ["export", str(tmp_path / "run"), "--format", "litert", "--out", str(tmp_path / "out"), "--k", "5"]
    assert main([*words, "--json", str(tmp_path / "result.json")]) == 0
    assert json.loads((tmp_path / "result.json").read_text())["format"] == "litert"
    assert "model.tflite" in capsys.readouterr().out
    assert main(words) == 2 and "--overwrite" in capsys.readouterr().err
    assert main([*words, "--index", "scann"]) == 2
