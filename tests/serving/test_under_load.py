"""Concurrent requests: joined, refused, answered while versions change and while the server stops."""

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import requests
import tensorflow as tf

import tfrecsession as trs


class Slow(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((None,), tf.int32, name="turns")])
    def spin(self, turns):
        last = tf.while_loop(lambda i: i < turns[0], lambda i: [i + 1], [0], parallel_iterations=1)
        return {"turns": turns + 0 * last[0]}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, name="x")])
    def root(self, x):
        with tf.control_dependencies([tf.debugging.assert_non_negative(x, "x has to be at least 0")]):
            return {"root": tf.sqrt(x)}


class Lists(tf.Module):
    """Signatures whose answers depend on lengths: an error alone must stay an error in a joined call."""

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.string), tf.TensorSpec((None, None), tf.string)])
    def count(self, items, only):
        def given(texts):
            return tf.reduce_sum(tf.cast(texts != "", tf.int32), axis=1)

        return {"items": given(items), "only": given(only)}

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.string), tf.TensorSpec((None, None), tf.int32)])
    def paired(self, items, sessions):
        with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(items), tf.shape(sessions), "not alike")]):
            return {"last": tf.reduce_max(sessions, axis=1)}


@pytest.fixture(scope="module")
def folder(exports, tmp_path_factory):
    """A folder with a model whose calls take a requested time, and one that refuses some rows."""
    folder = tmp_path_factory.mktemp("busy")
    shutil.copytree(exports / "gru4rec" / "2", folder / "gru4rec" / "2")
    shutil.copytree(exports / "gru4rec" / "2", folder / "plain" / "1")
    (folder / "plain" / "1" / "assets.extra" / "tfrecsession.json").unlink()  # so that nothing is joined
    slow = Slow()
    tf.saved_model.save(slow, str(folder / "slow" / "1"), signatures={"serving_default": slow.spin})
    tf.saved_model.save(slow, str(folder / "roots" / "1"), signatures={"serving_default": slow.root})
    lists = Lists()
    tf.saved_model.save(lists, str(folder / "counts" / "1"), signatures={"serving_default": lists.count})
    tf.saved_model.save(lists, str(folder / "pairs" / "1"), signatures={"serving_default": lists.paired})
    for name in ("roots", "counts", "pairs"):
        (folder / name / "1" / "assets.extra").mkdir()
        (folder / name / "1" / "assets.extra" / "tfrecsession.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def served(folder):
    with trs.serving.Server(folder, rest_port=0, grpc_port=None, threads=1, most_rows=32, most_waiting=12) as server:
        yield server


def post(server, name, rows):
    answer = requests.post(f"{server.url}/v1/models/{name}:predict", json={"instances": rows}, timeout=60)
    return answer.status_code, answer.json()


def meter(server, name):
    lines = requests.get(f"{server.url}/metrics").text.splitlines()
    found = [line.rpartition(" ")[2] for line in lines if line.startswith(f"tfrecsession_serving_{name} ")]
    return float(found[0])


class busy:
    """Occupies the only thread of the server; on exit the waiting requests are answered, in order of arrival."""

    def __init__(self, server):
        self.server = server

    def __enter__(self):
        self.pool = ThreadPoolExecutor(32)
        self.calls = meter(self.server, "joined_count")
        self.sent = []
        self.ask("slow", [400_000])
        time.sleep(0.2)
        return self

    def ask(self, name, rows):
        """Sends a request and waits until it is in the queue, behind the earlier ones."""
        self.sent.append(self.pool.submit(post, self.server, name, rows))
        expected = min(len(self.sent) - 1, self.server.batcher.most_waiting)
        end = time.monotonic() + 30
        while self.server.batcher.waiting < expected:
            assert time.monotonic() < end and not self.sent[0].done(), "the slow call was over too soon"
            time.sleep(0.002)

    def __exit__(self, *_):
        self.answers = [future.result() for future in self.sent][1:]
        self.calls = meter(self.server, "joined_count") - self.calls
        self.pool.shutdown()


def test_joined_requests_get_the_same_answers_as_alone(served, shop):
    ids = shop.items.ids.tolist()
    batches = [[ids[start : start + length]] for start, length in enumerate([1, 7, 3, 0, 16, 2])]
    batches += [[ids[30:70]], [ids[1:3], ids[4:6]], [ids[5:60]]]  # long histories are joined with long ones only
    alone = [post(served, "gru4rec", rows) for rows in batches]
    with busy(served) as waiting:
        for rows in batches:
            waiting.ask("gru4rec", rows)
    assert waiting.calls == 3  # the slow one, the short ones, the long ones
    for (code, got), (_, expected) in zip(waiting.answers, alone, strict=True):
        assert code == 200
        for joined, single in zip(got["predictions"], expected["predictions"], strict=True):
            assert joined["items"] == single["items"]
            np.testing.assert_allclose(joined["scores"], single["scores"], rtol=1e-5, atol=1e-7)


def test_requests_to_other_models_are_not_joined(served, shop):
    with busy(served) as waiting:
        for _ in range(3):
            waiting.ask("plain", [[shop.items.ids[0]]])
    assert waiting.calls == 4
    assert [code for code, _ in waiting.answers] == [200] * 3


def test_a_bad_request_in_a_joined_call_fails_alone(served):
    with busy(served) as waiting:
        for x in (4.0, -1.0, 9.0):
            waiting.ask("roots", [x])
    assert [code for code, _ in waiting.answers] == [200, 400, 200]
    assert [answer.get("predictions") for _, answer in waiting.answers] == [[2.0], None, [3.0]]
    assert "x has to be at least 0" in waiting.answers[1][1]["error"]


def test_several_lists_are_padded_each_to_its_own_length(served):
    rows = [{"items": ["a"] * size, "only": ["b"] * (5 - size)} for size in range(6)]
    with busy(served) as waiting:
        for row in rows:
            waiting.ask("counts", [row])
    assert waiting.calls == 2
    assert [answer["predictions"] for _, answer in waiting.answers] == [
        [{"items": size, "only": 5 - size}] for size in range(6)
    ]


def test_an_error_alone_is_an_error_in_a_joined_call(served):
    with busy(served) as waiting:
        waiting.ask("pairs", [{"items": ["a", "b"], "sessions": [1, 2]}])
        waiting.ask("pairs", [{"items": ["a"], "sessions": [1, 2]}])
    assert [code for code, _ in waiting.answers] == [200, 400]
    assert "not alike" in waiting.answers[1][1]["error"]


def test_a_full_queue_refuses_and_recovers(served, shop):
    with busy(served) as waiting:
        for _ in range(12):
            waiting.ask("gru4rec", [[shop.items.ids[0]]])
        assert meter(served, "waiting") == 12
        code, answer = post(served, "gru4rec", [[shop.items.ids[0]]])
        assert code == 503 and "queue is full" in answer["error"]
    assert [code for code, _ in waiting.answers] == [200] * 12
    assert post(served, "gru4rec", [[shop.items.ids[0]]])[0] == 200


def test_many_rows_are_answered_in_parts(served, shop):
    rows = [[item] for item in shop.items.ids[:100].tolist()]
    whole = post(served, "gru4rec", rows)[1]["predictions"]
    assert [row["items"] for row in whole] == trs.export.ask(served.models.folder / "gru4rec", rows)[0].tolist()


def test_metrics_and_health(served, shop):
    rows = ('requests_total{api="rest",code="200",model="gru4rec"}', 'requests_total{api="rest",code="404",model=""}')
    post(served, "gru4rec", [[shop.items.ids[0]]])
    post(served, "an unknown name", [["a"]])
    before = [meter(served, row) for row in rows]
    post(served, "gru4rec", [[shop.items.ids[0]]])
    post(served, "an unknown name", [["a"]])
    assert [meter(served, row) for row in rows] == [count + 1 for count in before]
    text = requests.get(f"{served.url}/monitoring/prometheus/metrics").text
    assert 'tfrecsession_serving_version_available{model="gru4rec",version="2"} 1.0' in text
    assert "unknown name" not in text
    assert requests.get(f"{served.url}/healthz").text == "ok\n"


def test_requests_in_progress_are_answered_before_the_stop(folder, tmp_path):
    shutil.copytree(folder / "slow", tmp_path / "slow")
    with trs.serving.Server(tmp_path, rest_port=0, grpc_port=None, threads=1) as server, ThreadPoolExecutor() as pool:
        slow, behind = (pool.submit(post, server, "slow", [turns]) for turns in (300_000, 3))
        while server.batcher.waiting + server.batcher.running < 2:
            time.sleep(0.002)
        server.stop()
        assert (slow.result(), behind.result()) == ((200, {"predictions": [300_000]}), (200, {"predictions": [3]}))
        with pytest.raises(requests.ConnectionError):
            post(server, "slow", [1])


def test_versions_change_under_load_without_a_failed_request(exports, shop, tmp_path):
    shutil.copytree(exports / "gru4rec" / "1", tmp_path / "m" / "1")
    with trs.serving.Server(tmp_path, rest_port=0, grpc_port=None, poll_seconds=0.05) as server:
        over, failed, answered = threading.Event(), [], []

        def hammer():
            while not over.is_set():
                code, answer = post(server, "m", [[shop.items.ids[0]]])
                (answered if code == 200 else failed).append(answer)

        threads = [threading.Thread(target=hammer) for _ in range(3)]
        for thread in threads:
            thread.start()
        for version in range(2, 4):
            shutil.copytree(exports / "gru4rec" / str(1 + version % 2), tmp_path / "m" / str(version))
            while server.models.find("m").number != version:
                time.sleep(0.01)
            shutil.rmtree(tmp_path / "m" / str(version - 1))
        over.set()
        for thread in threads:
            thread.join()
    assert not failed
    items = {tuple(answer["predictions"][0]["items"]) for answer in answered}
    assert len(items) == 2  # one list for each set of weights; joined scores differ in their last digits
