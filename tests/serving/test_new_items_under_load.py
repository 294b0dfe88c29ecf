"""`add-items` on an export that a server answers from: no request fails, and the new items are known."""

import threading

import keras
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests

import tfrecsession as trs
from tfrecsession.cli import main

pytest.importorskip("aiohttp", reason="the server needs pip install 'tfrecsession[serving]'")
CLIENTS = 3


@pytest.fixture
def exported(tmp_path):
    data = trs.synthetic_sessions(items=30, sessions=100, seed=3)
    keras.utils.set_random_seed(1)
    model = trs.models.GRU4Rec(data.items, content=["title", "price"], units=[8])
    model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0))
    model.fit(data.train.batches(rows=8, steps=16), epochs=1, steps_per_epoch=2, verbose=0)
    model.export(tmp_path / "shop" / "1", k=5)
    return tmp_path


@pytest.mark.slow
def test_versions_change_under_load_without_a_failed_request(exported):
    pq.write_table(pa.table({"item": ["new-1"], "title": ["words"], "price": [2.0]}), exported / "new.parquet")
    answers, stop, new = [], threading.Event(), threading.Event()

    with trs.serving.Server(exported, rest_port=0, grpc_port=None, poll_seconds=0.05) as server:
        url = f"{server.url}/v1/models/shop"

        def client(history):
            while not stop.is_set():
                answer = requests.post(f"{url}:predict", json={"instances": [{"items": history}]}, timeout=60)
                answers.append((answer.status_code, tuple(answer.json()["predictions"][0]["items"])))
                if server.models.find("shop").number == 2:
                    new.set()

        clients = [threading.Thread(target=client, args=[[f"item-{n}"]]) for n in range(CLIENTS)]
        for thread in clients:
            thread.start()
        try:
            assert main(["add-items", str(exported / "shop"), "--items", str(exported / "new.parquet")]) == 0
            assert new.wait(60)
            before = len(answers)
        finally:
            stop.set()
            for thread in clients:
                thread.join()
        assert {code for code, _ in answers} == {200}
        assert before > CLIENTS
        rows = {"instances": [{"items": ["new-1"]}, {"items": ["nowhere"]}]}
        known, unknown = requests.post(f"{url}:predict", json=rows, timeout=60).json()["predictions"]
        assert known["scores"] != unknown["scores"]
