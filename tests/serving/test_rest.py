import json
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import requests
import tensorflow as tf

import tfrecsession as trs
from tfrecsession import InputError


def post(server, path, **content):
    answer = requests.post(
        f"{server.url}/v1/models/{path}:predict", **(content if "data" in content else {"json": content})
    )
    return answer.status_code, answer.json()


def state_dims(server):
    """Returns the shape of `state`, which a client reads from the signature."""
    answer = requests.get(f"{server.url}/v1/models/gru4rec/metadata").json()
    signature = answer["metadata"]["signature_def"]["signature_def"]["advance"]
    return [dim["size"] for dim in signature["inputs"]["state"]["tensor_shape"]["dim"]]


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition was not met in time"
        time.sleep(0.05)


def test_rows_and_columns_equal_the_answers_of_the_model(server, exports, shop):
    ids = shop.items.ids
    histories = [[ids[0], ids[3], ids[7]], [ids[5], "", ""], ["never seen", "", ""]]
    items, scores = trs.export.ask(exports / "gru4rec" / "2", histories)
    _, rows = post(server, "gru4rec", instances=histories)
    assert [row["items"] for row in rows["predictions"]] == items.tolist()
    np.testing.assert_allclose([row["scores"] for row in rows["predictions"]], scores, rtol=1e-5)
    assert post(server, "gru4rec", instances=[{"items": history} for history in histories])[1] == rows
    _, columns = post(server, "gru4rec", inputs={"items": histories}, signature_name="serving_default")
    assert columns["outputs"]["items"] == items.tolist()
    assert post(server, "gru4rec", inputs=histories)[1] == columns
    _, first = post(server, "gru4rec/versions/1", instances=histories)
    assert [row["scores"] for row in first["predictions"]] != [row["scores"] for row in rows["predictions"]]


def test_a_state_is_passed_from_event_to_event(server, shop):
    """`advance` event by event equals `serving_default` of the whole session."""
    items = shop.items.ids[[4, 9, 2]].tolist()
    state = [0.0] * int(state_dims(server)[1])
    for item in items:
        code, answer = post(server, "gru4rec", instances=[{"items": item, "state": state}], signature_name="advance")
        assert code == 200, answer
        state = answer["predictions"][0]["state"]
    whole = post(server, "gru4rec", instances=[items])[1]["predictions"][0]
    assert answer["predictions"][0]["items"] == whole["items"]


class Arithmetic(tf.Module):
    """A SavedModel that is not a recommender, with other types and shapes."""

    @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32, name="x")])
    def double(self, x):
        return {"y": 2 * x}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string), tf.TensorSpec((None,), tf.int32)])
    def types(self, text, number):
        return {"raw_bytes": text, "text": text, "number": number, "flag": number > 1}

    @tf.function(input_signature=[tf.TensorSpec((), tf.int64, name="n")])
    def total(self, n):
        return {"sum": tf.reduce_sum(tf.range(n))}


@pytest.fixture(scope="module")
def arithmetic(exports, server):
    module = Arithmetic()
    signatures = {"serving_default": module.double, "types": module.types, "total": module.total}
    tf.saved_model.save(module, str(exports / "arithmetic" / "3"), signatures=signatures)
    wait_for(lambda: requests.get(f"{server.url}/v1/models/arithmetic").json().get("model_version_status", [{}])[0]
             .get("state") == "AVAILABLE")  # fmt: skip


def test_any_saved_model_is_served(server, arithmetic):
    assert post(server, "arithmetic", instances=[[1, 2.5], [3, 4]]) == (200, {"predictions": [[2, 5], [6, 8]]})
    assert post(server, "arithmetic", inputs={"x": [[1, 2]]}) == (200, {"outputs": [[2, 4]]})
    assert post(server, "arithmetic", inputs=4, signature_name="total") == (200, {"outputs": 6})
    row = {"text": {"b64": "/w=="}, "number": 2}
    code, answer = post(server, "arithmetic", instances=[row], signature_name="types")
    assert (code, answer["predictions"][0]) == (
        200,
        {"raw_bytes": {"b64": "/w=="}, "text": {"b64": "/w=="}, "number": 2, "flag": True},
    )
    code, answer = post(server, "arithmetic", data='{"instances": [[NaN, Infinity]]}')
    assert np.isnan(answer["predictions"][0][0]) and answer["predictions"][0][1] == float("inf")


def test_status_and_metadata(server):
    answer = requests.get(f"{server.url}/v1/models/gru4rec").json()
    ok = {"error_code": "OK", "error_message": ""}
    assert answer == {
        "model_version_status": [{"version": number, "state": "AVAILABLE", "status": ok} for number in ("2", "1")]
    }
    assert (
        requests.get(f"{server.url}/v1/models/gru4rec/versions/1").json()["model_version_status"][0]["version"] == "1"
    )
    answer = requests.get(f"{server.url}/v1/models/gru4rec/versions/1/metadata").json()
    assert answer["model_spec"] == {"name": "gru4rec", "signature_name": "", "version": "1"}
    signature = answer["metadata"]["signature_def"]["signature_def"]["advance"]
    assert signature["inputs"]["state"]["dtype"] == "DT_FLOAT"
    assert state_dims(server)[0] == "-1"
    assert signature["method_name"] == "tensorflow/serving/predict"


ROWS = {"instances": [["a"]]}
BAD = [
    ("nothing", ROWS, 404, "Servable not found for request: Latest(nothing)"),
    ("gru4rec/versions/7", ROWS, 404, "Servable not found for request: Specific(gru4rec, 7)"),
    ("gru4rec", {**ROWS, "signature_name": "no"}, 400, '"no" not found in signature def'),
    ("gru4rec", {**ROWS, "signature_name": 3}, 400, "signature_name"),
    ("gru4rec", {}, 400, "exactly one of"),
    ("gru4rec", {**ROWS, "inputs": [["a"]]}, 400, "exactly one of"),
    ("gru4rec", [], 400, "object"),
    ("gru4rec", {"instances": []}, 400, "at least one row"),
    ("gru4rec", {"instances": "a"}, 400, "list"),
    ("gru4rec", {"instances": ["a"]}, 400, "shape [1], expected [?, ?]: a row is a list of strings"),
    ("gru4rec", {"instances": [["a"], ["a", "b"]]}, 400, "one length"),
    ("gru4rec", {"instances": [[["a"]]]}, 400, "nested deeper"),
    ("gru4rec", {"instances": [[1]]}, 400, "the number 1, expected string"),
    ("gru4rec", {"instances": [[None]]}, 400, "null"),
    ("gru4rec", {"instances": [["\ud800"]]}, 400, "surrogate"),
    ("gru4rec", {"instances": [[{"b64": "?"}]]}, 400, "base64"),
    ("gru4rec", {"instances": [{"items": ["a"]}, ["a"]]}, 400, "same names"),
    ("gru4rec", {"instances": [{"item": ["a"]}]}, 400, "Missing named input: items"),
    ("gru4rec", {"inputs": {"items": [["a"]], "k": 3}}, 400, "'k' is not one of"),
    ("gru4rec", {"instances": ["a"], "signature_name": "advance"}, 400, "name them"),
    ("gru4rec", {"instances": [{"items": "a", "state": [0.0]}], "signature_name": "advance"}, 400, "has shape [1, 1]"),
    ("gru4rec", {"instances": [{"items": "a", "state": [10**400] * 8}], "signature_name": "advance"}, 400, "state"),
]


@pytest.mark.parametrize("path, content, code, message", BAD, ids=range(len(BAD)))
def test_bad_requests_get_the_reason(server, path, content, code, message):
    status, answer = post(server, path, data=json.dumps(content))
    assert (status, list(answer)) == (code, ["error"])
    assert message in answer["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe{", b"[" * 100_000, b'{"instances": ' + b"9" * 5000 + b"}"])
def test_invalid_json(server, body):
    code, answer = post(server, "gru4rec", data=body)
    assert code == 400 and answer["error"].startswith("JSON Parse error")


@pytest.mark.parametrize(
    "method, path, code",
    [
        ("GET", "/v1/models/gru4rec:predict", 400),
        ("POST", "/v1/models/gru4rec", 400),
        ("GET", "/v1/models/..%2f..%2fetc", 400),
        ("GET", "/v1/models/none", 404),
        ("GET", "/v1/models/gru4rec/versions/99999999999999999999", 400),
        ("GET", "/elsewhere", 404),
    ],
)
def test_unknown_paths_and_methods(server, method, path, code):
    answer = requests.request(method, server.url + path)
    assert (answer.status_code, list(answer.json())) == (code, ["error"])


@pytest.mark.slow
def test_versions_are_added_and_removed(exports, tmp_path):
    """A partial copy is not used. A complete new version answers; once it is removed, the earlier one does again."""
    shutil.copytree(exports / "gru4rec" / "1", tmp_path / "m" / "1")

    def states():
        return {version.number: version.state for version in server.models.states("m")}

    with trs.serving.Server(tmp_path, rest_port=0, grpc_port=None, poll_seconds=0.05) as server:
        assert server.models.find("m").number == 1
        whole, partly = exports / "gru4rec" / "2", tmp_path / "m" / "2"
        partly.mkdir()
        (partly / "saved_model.pb").write_bytes((whole / "saved_model.pb").read_bytes()[:5000])
        wait_for(lambda: states().get(2) == "END")
        assert server.models.find("m").number == 1
        failed = requests.get(f"{server.url}/v1/models/m/versions/2").json()["model_version_status"][0]["status"]
        assert failed["error_code"] == "UNKNOWN" and failed["error_message"]
        shutil.copytree(whole, partly, dirs_exist_ok=True)
        wait_for(lambda: states()[2] == "AVAILABLE")
        assert server.models.find("m").number == 2
        shutil.rmtree(partly)
        wait_for(lambda: states()[2] == "END")
        assert server.models.find("m").number == 1


def test_folders_that_cannot_be_served(exports, tmp_path, server):
    with pytest.raises(InputError, match="no such folder"):
        trs.serving.Server(tmp_path / "nowhere")
    with pytest.raises(InputError, match="the folder above"):
        trs.serving.Server(exports / "gru4rec")
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(InputError, match=f"rest_port={port}"):
        trs.serving.Server(tmp_path, rest_port=port, grpc_port=None).start()


def test_the_size_of_a_request_is_limited(tmp_path):
    with trs.serving.Server(tmp_path, rest_port=0, grpc_port=None, most_bytes=1000) as server:
        code, answer = post(server, "any", data=b"x" * 2000)
        assert code == 413 and "1,000 bytes" in answer["error"]
        assert requests.get(f"{server.url}/healthz").status_code == 503  # there is no model


@pytest.mark.slow
def test_the_command_stops_on_sigterm(exports, shop):
    command = [sys.executable, "-m", "tfrecsession", "serve", str(exports), "--rest-port", "0", "--grpc-port", "0"]
    with subprocess.Popen([*command, "--json", "-"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        text = b""
        while not text.rstrip().endswith(b"}"):
            line = process.stdout.readline()
            assert line, "the server ended"
            text += line
        url = json.loads(text)["rest"]
        assert url.startswith("http://127.0.0.1:")
        body = {"instances": [[shop.items.ids[0]]]}
        assert requests.post(f"{url}/v1/models/popularity:predict", json=body).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


@pytest.mark.parametrize("arguments", [["--rest-port", "70000"], ["--max-queue", "0"], ["--poll", "-1"]])
def test_options_out_of_range(exports, capsys, arguments):
    from tfrecsession.cli import main

    assert main(["serve", str(exports), *arguments]) == 2
    assert arguments[0] in capsys.readouterr().err
