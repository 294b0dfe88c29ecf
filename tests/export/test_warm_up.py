"""The warm-up requests, read with TensorFlow Serving's own messages, and the README of an export."""

import json
import re
import shlex

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

import tfrecsession as trs
from tfrecsession.export.warm_up import _log
from tfrecsession.sessions.vocabulary import Items


@pytest.fixture(scope="module", params=["hrnn", "als", "popularity"])
def exported(request, shop, tmp_path_factory):
    """Yields the folder of an export, with quotes in its ids, and its signatures."""
    items = Items(["it's", 'a "b"', *shop.items.ids[2:]], shop.items.counts)
    if request.param == "hrnn":
        model = trs.models.HRNN(items, units=[8], user_units=[5], negatives=trs.negatives.Popularity(8))
    elif request.param == "als":
        model = trs.models.ALS(shop.items, factors=4, sweeps=1)
        model.fit(shop.train)
    else:
        model = trs.models.Popularity(items)
    path = tmp_path_factory.mktemp("saved") / request.param / "7"
    model.export(path, k=5)
    loaded = tf.saved_model.load(str(path))
    yield path, loaded.signatures
    del loaded


def shapes(answer):
    return {name: tuple(tensor.shape) for name, tensor in answer.items()}


@pytest.mark.slow
def test_every_signature_has_valid_warm_up_requests(exported):
    path, signatures = exported
    records = tf.data.TFRecordDataset(str(path / "assets.extra" / "tf_serving_warmup_requests"))
    requests = []
    for record in records.as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        assert log.WhichOneof("log_type") == "predict_log"
        request = log.predict_log.request
        assert request.model_spec.name == path.parent.name
        signature = signatures[request.model_spec.signature_name]
        inputs = {name: tf.constant(tf.make_ndarray(proto)) for name, proto in request.inputs.items()}
        assert set(inputs) == set(signature.structured_input_signature[1])
        answer = signature(**inputs)
        rows = {len(value) for value in (*inputs.values(), *answer.values())}
        assert len(rows) == 1
        if "items" in answer:
            assert all(item for item in answer["items"][:, 0].numpy())
        requests.append((request.model_spec.signature_name, *rows))
    assert sorted(requests) == sorted((name, rows) for name in signatures for rows in (1, 4))


@pytest.mark.parametrize("width", [1, 127, 128, 300, 20_000])
def test_a_record_equals_the_message_of_tensorflow_serving(width):
    """Covers lengths around those whose encoding takes one more byte."""
    inputs = {"items": np.full((2, 3), "é" * 50, object), "state": np.ones((2, width), np.float32)}
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "n" * width, "advance"
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    expected = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    assert prediction_log_pb2.PredictionLog.FromString(_log("n" * width, "advance", inputs)) == expected


def test_the_readme_describes_the_signatures(exported):
    path, signatures = exported
    page = (path / "assets.extra" / "README.md").read_text()
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, flags=re.S | re.M))
    assert list(sections) and set(sections) == set(signatures)
    for name, section in sections.items():
        rows = re.findall(r"^\| (in|out) \| `(\w+)` \| (\w+) \| \[(.*)\] \|$", section, flags=re.M)
        specs = {"in": signatures[name].structured_input_signature[1], "out": signatures[name].structured_outputs}
        assert {(way, key) for way, key, *_ in rows} == {(way, key) for way in specs for key in specs[way]}
        for way, key, dtype, shape in rows:
            spec = specs[way][key]
            assert spec.dtype.name == dtype
            shown = [None if size in ("n", "any") else int(size) for size in shape.split(", ")]
            assert spec.shape.as_list() == shown
            # outputs have a fixed width, but what was removed has that of the rules
            assert way == "in" or None not in shown[1:] or key == "removed"


def test_the_commands_of_the_readme_are_valid_requests(exported):
    path, signatures = exported
    page = (path / "assets.extra" / "README.md").read_text()
    commands = re.findall(r"^```sh\n(.*?)^```", page, flags=re.S | re.M)
    assert len(commands) == len(signatures)
    for command in commands:
        curl, flag, body, url = shlex.split(command.replace("\\\n", ""))
        assert (curl, flag, url) == ("curl", "-d", f"http://localhost:8501/v1/models/{path.parent.name}:predict")
        request = json.loads(body)
        signature = signatures[request["signature_name"]]
        specs = signature.structured_input_signature[1]
        inputs = {name: tf.constant(value, specs[name].dtype) for name, value in request["inputs"].items()}
        answer = signature(**inputs)
        assert {len(value) for value in answer.values()} == {1}
