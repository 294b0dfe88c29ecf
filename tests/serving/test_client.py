import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession import InputError


@pytest.fixture(params=["rest", "grpc"])
def url(request, server):
    return server.url if request.param == "rest" else f"grpc://{server.grpc_address}"


def test_answers_equal_those_of_the_export(url, exports, shop):
    client = trs.serving.Client(url)
    histories = [shop.items.ids[:3].tolist(), [], [shop.items.ids[9]]]
    items, scores = trs.export.ask(exports / "gru4rec", histories)
    answer = client.recommend("gru4rec", histories, k=4)
    assert answer.items.tolist() == items[:, :4].tolist()
    np.testing.assert_allclose(answer.scores, scores[:, :4], rtol=1e-5)
    assert answer.scores.dtype == np.float32
    first = client.recommend("gru4rec", histories, version=1)
    assert first.items.shape == (3, 5) and first.scores.tolist() != scores.tolist()
    assert client.recommend("gru4rec", [], k=4).items.shape == (0, 4)
    assert list(client.versions("gru4rec").items()) == [(1, "AVAILABLE"), (2, "AVAILABLE")]


def test_any_signature_takes_arrays(url, shop):
    client = trs.serving.Client(url)
    item = shop.items.ids[3]
    width = client.signatures("gru4rec")["advance"]["inputs"]["state"][1]
    state = np.zeros((1, width), np.float32)
    answer = client.predict("gru4rec", {"items": [item], "state": state}, signature="advance")
    assert answer["items"].tolist() == client.recommend("gru4rec", [[item]]).items.tolist()
    assert answer["state"].shape == state.shape and answer["state"].dtype == np.float32
    assert answer["state"].any()


def test_filters_are_inputs_of_the_request(url, shop):
    client = trs.serving.Client(url)
    histories = [[shop.items.ids[3]], shop.items.ids[:2].tolist()]
    best = client.recommend("gru4rec", histories).items
    shelf = shop.items.ids[10:14].tolist()
    left = client.recommend("gru4rec", histories, exclude=[best[0, :2].tolist(), []]).items
    assert left[0, :3].tolist() == best[0, 2:].tolist() and left[1].tolist() == best[1].tolist()
    chosen = client.recommend("gru4rec", histories, k=4, only=[[], shelf]).items
    assert chosen[0].tolist() == best[0, :4].tolist() and sorted(chosen[1]) == sorted(shelf)
    both = client.recommend("gru4rec", histories[1:], only=[shelf], exclude=[shelf[:3]]).items
    assert both[0].tolist() == [shelf[3], "", "", "", ""]
    filters = {"signature": "recommend_filtered", "exclude": [shelf, [""]], "only": [[""], shelf]}  # already padded
    assert client.recommend("gru4rec", histories, **filters).items[1, :4].tolist() == chosen[1].tolist()
    for wrong in (["item"], [["item"]], "item"):
        with pytest.raises(InputError, match="only: must be a list of"):
            client.recommend("gru4rec", histories, only=wrong)


def test_signatures_of_a_model(url):
    found = trs.serving.Client(url).signatures("gru4rec")
    assert found["recommend_filtered"]["inputs"] == {name: [-1, -1] for name in ("items", "exclude", "only")}
    assert found["serving_default"]["outputs"].keys() == {"items", "scores"}
    names = {"serving_default", "recommend_filtered", "similar_items", "encode", "encode_items", "advance"}
    assert found.keys() == names | {"recommend_with_rules"}
    with pytest.raises(InputError, match="Servable not found"):
        trs.serving.Client(url).signatures("none")


def test_refusals_are_not_retried(url):
    client = trs.serving.Client(url, deadline=60)
    started = time.monotonic()
    for call, message in [
        (lambda: client.recommend("none", [["a"]]), "Servable not found for request: Latest"),
        (lambda: client.recommend("gru4rec", [["a"]], version=8), "Specific"),
        (lambda: client.recommend("gru4rec", [["a"]], signature="no"), "must be one of .*serving_default"),
        (lambda: client.recommend("gru4rec", [["a"]], k=6), "k=6: must be 1 to 5"),
        (lambda: client.recommend("gru4rec", [["a"]], k=0), "k=0"),
        (lambda: client.recommend("gru4rec", ["a"]), "list of lists"),
        (lambda: client.recommend("gru4rec", [["a"]], other=[1]), "'other' is not one of"),
        (lambda: client.predict("gru4rec", {"items": ["a"]}), "shape"),
    ]:
        with pytest.raises(InputError, match=message):
            call()
    assert time.monotonic() - started < 30
    with pytest.raises(InputError, match="must be http"):
        trs.serving.Client("localhost:8501")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["http", pytest.param("grpc", marks=pytest.mark.slow)])
def test_the_client_retries_up_to_its_deadline(kind, exports, shop, tmp_path):
    (tmp_path / "popularity").symlink_to(exports / "popularity")
    with trs.serving.Server(tmp_path, rest_port=0, grpc_port=0) as server:
        ports = {"rest_port": server.url, "grpc_port": server.grpc_address}
        ports = {name: int(address.rpartition(":")[2]) for name, address in ports.items()}
        client = trs.serving.Client(f"{kind}://127.0.0.1:{ports['rest_port' if kind == 'http' else 'grpc_port']}")
        expected = client.recommend("popularity", [[shop.items.ids[0]]]).items.tolist()
    client.deadline = 0.5
    started = time.monotonic()
    with pytest.raises(TimeoutError, match=r"within 0\.5 s"):
        client.recommend("popularity", [[shop.items.ids[0]]])
    assert time.monotonic() - started < 5
    client.deadline, answers = 60, []
    asking = threading.Thread(target=lambda: answers.append(client.recommend("popularity", [[shop.items.ids[0]]])))
    asking.start()
    time.sleep(0.3)
    with trs.serving.Server(tmp_path, **ports):  # at the same address, later
        asking.join()
    assert answers[0].items.tolist() == expected


def test_a_call_that_a_stopping_server_cancels_is_sent_again():
    grpc = pytest.importorskip("grpc")
    from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

    asked = []

    class Stopping(model_service_pb2_grpc.ModelServiceServicer):
        def GetModelStatus(self, request, context):  # noqa: N802
            asked.append(request.model_spec.name)
            if len(asked) == 1:
                context.abort(grpc.StatusCode.CANCELLED, "CANCELLED")
            answer = get_model_status_pb2.GetModelStatusResponse()
            answer.model_version_status.add(version=3, state="AVAILABLE")
            return answer

    server = grpc.server(ThreadPoolExecutor(1))
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(Stopping(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        assert trs.serving.Client(f"grpc://127.0.0.1:{port}").versions("shop") == {3: "AVAILABLE"}
    finally:
        server.stop(None)
    assert asked == ["shop", "shop"]


@pytest.mark.parametrize(
    "length, rows", [(-1, [["a", "b"], ["", ""]]), (1, [["b"], [""]]), (3, [["a", "b", ""], [""] * 3])]
)
def test_padding(length, rows):
    from tfrecsession.serving.client import padded

    assert padded([["a", "b"], []], length) == rows
    assert padded([[]]) == [[""]]


def test_the_rest_client_needs_no_tensorflow():
    code = (
        "import sys, tfrecsession as trs; trs.serving.Client('http://localhost:1'); print('tensorflow' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_ids_of_every_form(url, shop):
    client = trs.serving.Client(url)
    texts = [[shop.items.ids[3]], shop.items.ids[:2].tolist()]
    expected = client.recommend("gru4rec", texts, exclude=texts).items.tolist()
    for form in (
        lambda rows: [[item.encode() for item in row] for row in rows],
        lambda rows: [np.array(row) for row in rows],
        lambda rows: (iter(row) for row in rows),
    ):
        assert client.recommend("gru4rec", form(texts), exclude=form(texts)).items.tolist() == expected
    for wrong, argument in (([[None]], "histories"), ("item", "histories"), (["item"], "histories")):
        with pytest.raises(InputError, match=f"^{argument}"):
            client.recommend("gru4rec", wrong)
    with pytest.raises(InputError, match=r"^exclude\[0\]\[0\]=nan"):
        client.recommend("gru4rec", [[]], exclude=[[float("nan")]])
