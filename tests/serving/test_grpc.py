import shutil

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

import tfrecsession as trs
from tfrecsession import InputError
from tfrecsession.serving.model_folder import ModelFolder


@pytest.fixture(scope="module")
def channel(server):
    with grpc.insecure_channel(server.grpc_address) as channel:
        yield channel


@pytest.fixture(scope="module")
def predict(channel):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def predict(name="gru4rec", version=None, signature="", outputs=(), **inputs):
        request = predict_pb2.PredictRequest(output_filter=outputs)
        request.model_spec.name, request.model_spec.signature_name = name, signature
        if version is not None:
            request.model_spec.version.value = version
        for key, value in inputs.items():
            proto = value if hasattr(value, "tensor_shape") else tf.make_tensor_proto(value)
            request.inputs[key].CopyFrom(proto)
        return stub.Predict(request, timeout=60)

    return predict


def test_answers_equal_those_of_rest(server, predict, shop):
    histories = [shop.items.ids[:2].tolist(), [shop.items.ids[5], ""]]
    for version in (1, 2):
        response = predict(version=version, items=histories)
        url = f"{server.url}/v1/models/gru4rec/versions/{version}:predict"
        expected = requests.post(url, json={"inputs": histories}).json()["outputs"]
        answers = {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}
        assert np.char.decode(answers["items"].astype(bytes)).tolist() == expected["items"]
        np.testing.assert_allclose(answers["scores"], expected["scores"], rtol=1e-6)
        spec = response.model_spec
        assert (spec.name, spec.version.value, spec.signature_name) == ("gru4rec", version, "serving_default")
    assert predict(items=histories).model_spec.version.value == 2
    assert list(predict(items=histories, outputs=["scores"]).outputs) == ["scores"]


def terabytes():
    proto = tf.make_tensor_proto([["a"]])
    proto.tensor_shape.dim[0].size = 10**12
    return proto


def broken():
    proto = tf.make_tensor_proto([[1.0]])
    proto.tensor_content, proto.tensor_shape.dim[1].size = b"123", 8
    proto.ClearField("float_val")
    return proto


BAD = [
    ({"name": "none", "items": [["a"]]}, "NOT_FOUND", "Servable not found for request: Latest(none)"),
    ({"version": 9, "items": [["a"]]}, "NOT_FOUND", "Servable not found for request: Specific(gru4rec, 9)"),
    ({"signature": "no", "items": [["a"]]}, "INVALID_ARGUMENT", "not found in signature def"),
    ({}, "INVALID_ARGUMENT", "Missing named input: items"),
    ({"items": ["a"]}, "INVALID_ARGUMENT", "shape [1], expected [?, ?]"),
    ({"items": [[1]]}, "INVALID_ARGUMENT", "expected string"),
    ({"items": [["a"]], "outputs": ["no"]}, "INVALID_ARGUMENT", "output tensor alias not found"),
    ({"items": terabytes()}, "INVALID_ARGUMENT", "larger than"),
    ({"signature": "advance", "items": ["a"], "state": broken()}, "INVALID_ARGUMENT", "'state'"),
]


@pytest.mark.parametrize("arguments, code, message", BAD, ids=range(len(BAD)))
def test_bad_requests_get_the_reason(predict, arguments, code, message):
    with pytest.raises(grpc.RpcError) as refused:
        predict(**arguments)
    assert refused.value.code() == grpc.StatusCode[code]
    assert message in refused.value.details()


def test_metadata_and_status(channel):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "gru4rec"
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    response = stub.GetModelMetadata(request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert {"serving_default", "advance"} <= set(signatures.signature_def)
    assert response.model_spec.version.value == 2
    with pytest.raises(grpc.RpcError, match="signature_def"):
        stub.GetModelMetadata(get_model_metadata_pb2.GetModelMetadataRequest())
    with pytest.raises(grpc.RpcError) as refused:
        stub.Classify(classification_pb2.ClassificationRequest())
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED

    status = model_service_pb2_grpc.ModelServiceStub(channel)
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "gru4rec"
    states = [(version.version, version.state) for version in status.GetModelStatus(request).model_version_status]
    available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
    assert states == [(2, available), (1, available)]
    request.model_spec.name = "none"
    with pytest.raises(grpc.RpcError) as refused:
        status.GetModelStatus(request)
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("signature, state", [("serving_default", "AVAILABLE"), ("no such", "END")])
def test_the_warm_up_requests_of_an_export_are_run(exports, tmp_path, signature, state):
    """As with TensorFlow Serving, a version whose warm-up fails is not available."""
    folder = shutil.copytree(exports / "gru4rec" / "1", tmp_path / "m" / "1")
    entry = prediction_log_pb2.PredictionLog()
    entry.predict_log.request.model_spec.signature_name = signature
    entry.predict_log.request.inputs["items"].CopyFrom(tf.make_tensor_proto([["a"]]))
    with tf.io.TFRecordWriter(str(folder / "assets.extra" / "tf_serving_warmup_requests")) as file:
        file.write(entry.SerializeToString())
    models = ModelFolder(tmp_path)
    models.look()
    models.look()
    (version,) = models.states("m")
    assert version.state == state and bool(version.error) == (state == "END")


def test_a_port_in_use(server, tmp_path):
    port = int(server.grpc_address.rpartition(":")[2])
    with pytest.raises(InputError, match=f"grpc_port={port}"):
        trs.serving.Server(tmp_path, rest_port=0, grpc_port=port).start()
