"""The files and commands for the official image, checked against TensorFlow Serving's messages; no image is run."""

import http.server
import json
import re
import shlex
import threading
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
import yaml
from google.protobuf import text_format
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
from tensorflow_serving.config import model_server_config_pb2

import tfrecsession as trs
from tfrecsession.sessions.vocabulary import Items

FOLDER = Path(__file__).parents[2] / "serving"
IDS = [f"item-{index}" for index in range(30)]


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", (FOLDER / "README.md").read_text(), flags=re.S | re.M)


@pytest.fixture(scope="module")
def model():
    return trs.models.GRU4Rec(Items(IDS, np.arange(30, 0, -1)), units=[4], negatives=trs.negatives.Popularity(8))


@pytest.fixture(scope="module")
def export(model, tmp_path_factory):
    return tf.saved_model.load(str(model.export(tmp_path_factory.mktemp("saved") / "gru4rec" / "1", k=5)))


def test_the_models_are_where_the_volumes_put_them():
    config = model_server_config_pb2.ModelServerConfig()
    text_format.Parse((FOLDER / "models.config").read_text(), config)
    (service,) = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"].values()
    volumes = dict(volume.split(":")[:2] for volume in service["volumes"])
    assert (FOLDER / "../saved_models").is_dir() and volumes == {"../saved_models": "/models", ".": "/config"}
    for model in config.model_config_list.config:
        assert model.base_path == f"/models/{model.name}" and model.model_platform == "tensorflow"
    # including the lines that are commented out
    options = dict(re.findall(r"- --(\w+)=(\S+)", (FOLDER / "compose.yaml").read_text()))
    for option in ("model_config_file", "batching_parameters_file"):
        assert (FOLDER / Path(options[option]).relative_to("/config")).is_file()
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_the_batching_parameters():
    """The names are listed here, because no Python package has this message."""
    lines = [line for line in (FOLDER / "batching.config").read_text().splitlines() if not line.startswith("#")]
    parameters = dict(re.fullmatch(r"(\w+) \{ value: (\d+) \}|(\w+): (false)", line).group(1, 2) for line in lines)
    assert set(parameters) - {None} == {
        "max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads"
    }  # fmt: skip
    assert lines[-1] == "pad_variable_length_inputs: false"


def test_the_curl_commands_can_be_answered(export):
    commands = [shlex.split(line) for block in blocks("sh") for line in block.splitlines()]
    posted = [command for command in commands if "-d" in command]
    assert len(posted) == 2
    for _, _, body, url in posted:
        assert url == "http://localhost:8501/v1/models/gru4rec:predict"
        request = json.loads(body)
        answer = export.signatures[request.get("signature_name", "serving_default")](
            **{name: tf.constant(value) for name, value in request["inputs"].items()}
        )
        assert answer["items"].shape == (len(request["inputs"]["items"]), 5)


def test_python_over_rest(model, export, capsys):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            assert self.path == "/v1/models/gru4rec:predict"
            inputs = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["inputs"]
            answer = export.signatures["serving_default"](items=tf.constant(inputs["items"]))
            items = [[item.decode() for item in row] for row in answer["items"].numpy()]
            outputs = {"items": items, "scores": answer["scores"].numpy().tolist()}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"outputs": outputs}).encode())

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        code = blocks("python")[0].replace("localhost:8501", f"127.0.0.1:{server.server_port}")
        exec(compile(code.replace("timeout=1", "timeout=60"), "README.md", "exec"), {})
        server.shutdown()
    printed = capsys.readouterr().out
    assert printed.startswith(str(model.recommend([["item-17", "item-4"]], k=5).items[0].tolist()))


def test_python_over_grpc(model, export):
    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            assert request.model_spec.name == "gru4rec"
            inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
            response = predict_pb2.PredictResponse()
            for name, value in export.signatures[request.model_spec.signature_name](**inputs).items():
                response.outputs[name].CopyFrom(tf.make_tensor_proto(value.numpy()))
            return response

    server = grpc.server(futures.ThreadPoolExecutor(1))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    names = {}
    code = blocks("python")[1].replace("localhost:8500", f"127.0.0.1:{port}").replace("timeout=1.0", "timeout=60.0")
    try:
        exec(compile(code, "README.md", "exec"), names)
    finally:
        if "channel" in names:
            names["channel"].close()
        server.stop(0).wait()
    expected = model.recommend([["item-17", "item-4"], ["item-3"]], k=5)
    assert names["items"].tolist() == expected.items.tolist()
