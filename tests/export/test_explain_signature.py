"""The signature `explain` of an export with reasons: strings in and out, as `model.explain`, over REST and gRPC."""

import json

import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tests.logs import sessions_of
from tfrecsession import InputError
from tfrecsession.cli import main
from tfrecsession.sessions.item_columns import Tensor

LOG = [[2, 3, 4, 2], [3, 4, 4, 5], [5, 6, 7, 2], [8, 3, 2], [2, 8, 5], [4, 5, 3]] * 3
HISTORIES = [["", "i3", "unknown", "i4", "i8"], ["i5", "", "", "", ""], ["", "", "", "", ""]]


@pytest.fixture(scope="module")
def sessions():
    return sessions_of(LOG)


@pytest.fixture(scope="module")
def models(sessions):
    aggregated = trs.models.SessionAggregation(sessions.items, dim=8)
    aggregated.fit(sessions)
    deleted = trs.models.SessionPopularity(sessions.items)
    deleted.fit(sessions)
    return {"aggregated": aggregated, "deleted": deleted}


@pytest.fixture(scope="module")
def folder(models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("explained")
    for name, model in models.items():
        model.export(folder / name / "1", k=4, reasons=2, index="exact-bf16" if name == "aggregated" else "exact")
    models["deleted"].export(folder / "plain" / "1", k=4)
    return folder


@pytest.mark.parametrize("name", ["aggregated", "deleted"])
def test_it_says_what_the_model_says(name, models, folder):
    answer = tf.saved_model.load(str(folder / name / "1")).signatures["explain"](items=tf.constant(HISTORIES))
    items = [[item.decode() for item in row] for row in answer["items"].numpy()]
    expected = models[name].explain(HISTORIES, items, reasons=2)
    because = [[[event.decode() for event in events] for events in row] for row in answer["because"].numpy()]
    assert because == expected.because.tolist() and because[2] == [["", ""]] * 4
    near = 2e-2 if name == "aggregated" else 1e-4  # its table is in bfloat16
    np.testing.assert_allclose(answer["weights"], expected.weights, rtol=near, atol=2e-3)
    card = json.loads((folder / name / "1" / "assets.extra" / "tfrecsession.json").read_text())
    assert card["reasons"] == 2 and "## explain" in (folder / name / "1" / "assets.extra" / "README.md").read_text()


@pytest.mark.slow
def test_the_client_and_the_page_know_reasons(models, folder):
    import requests

    with trs.serving.Server(folder, rest_port=0, grpc_port=0, poll_seconds=0.1) as server:
        expected = models["deleted"].explain(HISTORIES, k=3, reasons=2)
        for url in (server.url, f"grpc://{server.grpc_address}"):
            client = trs.serving.Client(url)
            found = client.explain("deleted", HISTORIES, k=3)
            assert found.items.tolist() == expected.items.tolist()
            assert found.because.tolist() == expected.because.tolist() and found.features == {}
            np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-4, atol=1e-6)
            assert client.explain("deleted", [], k=3).because.shape == (0, 3, 2)
            with pytest.raises(InputError, match="model='plain': must be an export with reasons"):
                client.explain("plain", HISTORIES)
        listed = requests.get(f"{server.url}/page/models", timeout=60).json()["models"]
        reasons = {model["name"]: model.get("reasons") for model in listed}
        assert reasons == {"aggregated": 2, "deleted": 2, "plain": None}


@pytest.mark.slow  # tests/recommender/test_explain.py has the same of the model itself
def test_context_is_a_reason_in_an_export(tmp_path):
    data = trs.synthetic_sessions(items=30, sessions=150, seed=1, context=True)
    model = trs.models.GRU4Rec(data.items, units=[6], context=["device"], request=["device"])
    model.fitted = True
    model.export(tmp_path / "1", k=3, reasons=2)
    history = data.items.ids[:3].tolist()
    given = {"context": {"device": [["phone"] * 3]}, "request": {"device": ["phone"]}}
    inputs = {"items": [history], "context_device": [["phone"] * 3], "request_device": ["phone"]}
    signature = tf.saved_model.load(str(tmp_path / "1")).signatures["explain_in_context"]
    for name, spec in signature.structured_input_signature[1].items():
        inputs.setdefault(name, [[""] * 3] if spec.shape.rank == 2 else [""])
    answer = signature(**{name: tf.constant(values) for name, values in inputs.items()})
    expected = model.explain([history], k=3, reasons=2, **given)
    columns = [expected.features[name] for name in ("context/device", "request/device")]
    np.testing.assert_allclose(answer["features"][..., :2], np.stack(columns, axis=-1), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(answer["weights"], expected.weights, rtol=1e-3, atol=1e-5)


def test_content_is_a_reason_in_an_export(tmp_path):
    data = trs.synthetic_sessions(items=30, sessions=100, seed=1, described=True)
    vectors = np.random.default_rng(0).normal(size=(len(data.items), 3)).astype(np.float32)
    data.items.tensors = {"photo": Tensor("vector", vectors, np.ones(len(vectors), bool))}
    model = trs.models.GRU4Rec(data.items, units=[6], content=["price", "category", "photo"])
    model.fitted = True
    for variable in model.trainable_variables:
        variable.assign(np.random.default_rng(0).normal(size=variable.shape))
    path, histories = model.export(tmp_path / "gru" / "1", k=4, reasons=2), [["item-1", "item-5"], ["no such item"]]
    expected, found = model.explain(histories, k=4, reasons=2), trs.export.explain(path, histories)
    assert set(expected.features) == {"item/price", "item/category", "item/photo"}
    assert list(found.features) == ["item/price", "item/category"]  # an export holds no vectors, images or sounds
    for name, parts in found.features.items():
        np.testing.assert_allclose(parts, expected.features[name], rtol=1e-4, atol=1e-5)
        assert parts[0].any() and not parts[1].any()
    assert found.items.tolist() == expected.items.tolist() and found.because.tolist() == expected.because.tolist()
    assert found.strongest()[1].tolist() == [["", ""]] * 4


def test_the_command_line_shows_reasons(models, folder, capsys, tmp_path):
    found = trs.export.explain(folder / "deleted", [["i3", "i4"]])
    assert main(["recommend", str(folder / "deleted"), "i3", "i4", "--reasons", "--json", str(tmp_path / "a")]) == 0
    shown, answer = capsys.readouterr().out, json.loads((tmp_path / "a").read_text())
    assert answer["items"] == found.items[0].tolist() and "because of" in shown
    for reason, because, weights in zip(answer["reasons"], found.because[0], found.weights[0], strict=True):
        assert reason["events"] == pytest.approx(dict(zip(because, weights.tolist(), strict=True)))
        assert reason["features"] == {}
    assert main(["recommend", str(folder / "plain"), "i3", "--reasons"]) == 2
    assert "was exported without reasons; export again with --reasons 3" in capsys.readouterr().err
    assert main(["recommend", str(folder / "deleted"), "i3", "--reasons", "--rules", "{}"]) == 2
    assert "--reasons: must be left out with --rules" in capsys.readouterr().err
    with pytest.raises(InputError, match="plain/1: was exported without reasons"):
        trs.export.explain(folder / "plain", [["i3"]])


def test_bad_input(models, tmp_path):
    with pytest.raises(InputError, match="reasons=-1: must be a whole number"):
        models["deleted"].export(tmp_path / "1", k=4, reasons=-1)
