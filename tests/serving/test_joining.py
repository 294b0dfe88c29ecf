"""Requests that have arrived or wait are joined; calls that fill all cores run one at a time."""

import asyncio
import threading

import numpy as np
import pytest

from tfrecsession.serving.batcher import Batcher
from tfrecsession.serving.model_folder import MANY_ITEMS, scans_many_items


class Call:
    """A signature whose calls wait until the test lets them go on."""

    pads = by_row = True
    inputs, open_lists = ("items",), ()

    def __init__(self, fills_cores: bool):
        self.fills_cores, self.rows, self.running = fills_cores, [], 0
        self.go, self.lock, self.most = threading.Event(), threading.Lock(), 0

    def __call__(self, arrays):
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
            self.rows.append(len(arrays["items"]))
        self.go.wait(10)
        with self.lock:
            self.running -= 1
        return {"items": arrays["items"]}


@pytest.mark.parametrize("fills_cores, most, calls", [(True, 1, [1, 7]), (False, 2, [1, 1, 6])])
def test_calls_that_fill_all_cores(fills_cores, most, calls):
    call, other = Call(fills_cores), Call(False)
    other.go.set()
    batcher = Batcher(threads=2, most_rows=64, most_waiting=100, most_asked=64)

    async def run():
        waiting = []
        for numbers in ([0], range(1, 8)) if fills_cores else ([0], [1], range(2, 8)):
            waiting += [asyncio.ensure_future(batcher.answer(call, {"items": np.array([n])})) for n in numbers]
            while len(call.rows) < min(len(waiting), len(calls) - 1):  # each of the first has a call
                await asyncio.sleep(0.001)
        if fills_cores:  # the second thread is free for other models
            assert (await batcher.answer(other, {"items": np.array([9])}))["items"].tolist() == [9]
        call.go.set()
        return await asyncio.gather(*waiting)

    answers = asyncio.run(run())
    assert [answer["items"].tolist() for answer in answers] == [[n] for n in range(8)]
    assert call.most <= most and call.rows == calls
    assert not batcher.waiting
    batcher.close()


def test_requests_that_have_arrived_share_a_call_though_threads_are_free():
    call = Call(False)
    call.go.set()
    batcher = Batcher(threads=2, most_rows=64, most_waiting=100, most_asked=64)

    async def ask(number, passes):
        for _ in range(passes):  # the time to read and parse a request
            await asyncio.sleep(0)
        return (await batcher.answer(call, {"items": np.array([number])}))["items"].tolist()

    async def run():
        return await asyncio.gather(*(ask(number, number % 3) for number in range(9)))

    assert asyncio.run(run()) == [[number] for number in range(9)]
    assert call.rows == [9]
    assert asyncio.run(ask(9, 0)) == [9] and call.rows == [9, 1]
    batcher.close()


def test_exports_that_fill_all_cores():
    assert scans_many_items({"items": MANY_ITEMS, "index": "exact-bf16"})
    for card in ({"items": MANY_ITEMS, "index": "ivf"}, {"items": 10, "index": "exact"}, {}, {"items": "many"}):
        assert not scans_many_items(card)
