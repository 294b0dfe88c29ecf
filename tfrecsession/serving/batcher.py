"""Dynamic batching: joins waiting requests into one model call where that gives the same answers."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from tfrecsession.serving.refusal import Refusal
from tfrecsession.serving.signature import Signature

PASSES = 3  # of the event loop, in which a request that can be read is read, parsed and put into the queue
SHORTEST = 16  # histories up to this length may share a call; longer ones only within the same power of two


@dataclass
class Waiting:
    arrays: dict[str, np.ndarray]
    key: tuple | None
    rows: int
    answer: asyncio.Future


class Batcher:
    """A thread pool that answers requests. While all threads are busy, requests wait; a free thread takes a batch.

    A request does not wait for others to come: a free thread takes those that have already reached the process, so a
    call starts a few passes of the event loop after its request. But where one call fills all cores
    (`Signature.fills_cores`), further requests wait for it and are joined. Two requests are joined if they use the same
    signature, if the first dimension of all its inputs and outputs is the row, and if their shapes fit. Shapes fit if
    all other dimensions are equal, or if only string matrices differ in length: these are padded with `""` at the end.

    Joining needs a model that treats rows independently and ignores "", which a graph does not show. Exports of this
    package guarantee it (they carry `assets.extra/tfrecsession.json`); requests to other models are never joined.
    Padding less than doubles the length of a history, so that a short one does not pay for a long one. A joined call
    that fails is repeated request by request, so that only the bad request gets an error. A request of more than
    `most_rows` to such an export is answered in parts, which bounds the memory.

    Args:
        threads: number of concurrent calls.
        most_rows: maximum rows of a call; 1 joins none.
        most_waiting: maximum waiting requests of all models together; further ones are refused (UNAVAILABLE).
        most_asked: maximum rows of a request to an export of this package; more are refused (INVALID_ARGUMENT).
        joined: called with the number of requests of each call, for the metrics.
    """

    def __init__(self, threads: int, most_rows: int, most_waiting: int, most_asked: int, joined=lambda requests: None):
        self.threads, self.most_rows, self.most_waiting = threads, most_rows, most_waiting
        self.most_asked, self.joined = most_asked, joined
        self.waiting = 0
        self._filling = 0  # running calls that fill all cores, 0 or 1
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="answers")
        self.running = 0
        self._gathering = False
        self._queues: weakref.WeakKeyDictionary[Signature, deque[Waiting]] = weakref.WeakKeyDictionary()
        self._turns: deque[Signature] = deque()  # one entry per waiting request, in order of arrival

    async def answer(self, signature: Signature, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns the outputs of the signature for checked input arrays. Raises Refusal."""
        if self.waiting >= self.most_waiting:
            raise Refusal(
                "UNAVAILABLE", f"the queue is full, {self.most_waiting} requests are waiting: try again later"
            )
        rows = max(map(len, arrays.values())) if signature.pads and signature.by_row else 1
        if rows > self.most_asked:
            text = f"the request has {rows:,} rows, must be at most {self.most_asked:,}: send several requests"
            raise Refusal("INVALID_ARGUMENT", text)
        key = join_key(signature, arrays)
        request = Waiting(arrays, key, rows, asyncio.get_running_loop().create_future())
        self._queues.setdefault(signature, deque()).append(request)
        self._turns.append(signature)
        self.waiting += 1
        if not self._gathering:
            self._gathering = True
            self._gather(PASSES)
        return await request.answer

    async def idle(self) -> None:
        """Returns once no request waits or runs."""
        while self.waiting or self.running:
            await asyncio.sleep(0.01)

    def close(self) -> None:
        self._pool.shutdown(wait=True)

    def _gather(self, passes: int) -> None:
        """Starts calls after some passes of the event loop, with all requests that came in the meantime."""
        if passes:
            asyncio.get_running_loop().call_soon(self._gather, passes - 1)
        else:
            self._gathering = False
            self._start()

    def _start(self) -> None:
        held = []  # turns that wait for a call that fills all cores
        while self._turns and self.running < self.threads:
            signature = self._turns.popleft()
            if signature.fills_cores and self._filling:
                held.append(signature)
                continue
            batch = self._take(self._queues.get(signature) or deque())
            if batch:
                self.running += 1
                self._filling += signature.fills_cores
                task = asyncio.get_running_loop().run_in_executor(self._pool, call, signature, batch, self.most_rows)
                fills = signature.fills_cores
                task.add_done_callback(lambda done, batch=batch, fills=fills: self._done(done, batch, fills))
        self._turns.extendleft(reversed(held))

    def _take(self, queue: deque[Waiting]) -> list[Waiting]:
        """Takes the oldest request and all that fit with it from the queue; drops cancelled ones."""
        batch, others, rows = [], [], 0
        while queue:
            request = queue.popleft()
            if request.answer.cancelled():
                self.waiting -= 1
            elif not batch or (request.key and request.key == batch[0].key and rows + request.rows <= self.most_rows):
                batch.append(request)
                rows += request.rows
            else:
                others.append(request)
        queue.extend(others)
        self.waiting -= len(batch)
        return batch

    def _done(self, done: asyncio.Future, batch: list[Waiting], fills_cores: bool) -> None:
        self.running -= 1
        self._filling -= fills_cores
        self.joined(len(batch))
        answers = [done.exception()] * len(batch) if done.exception() else done.result()
        for request, answer in zip(batch, answers, strict=True):
            if not request.answer.done():
                (request.answer.set_exception if isinstance(answer, Exception) else request.answer.set_result)(answer)
        self._start()


def join_key(signature: Signature, arrays: dict[str, np.ndarray]) -> tuple | None:
    """Returns the key under which requests of one signature may be joined; None: never."""
    if not signature.pads or not signature.by_row:
        return None
    if len({len(array) for array in arrays.values()}) != 1:
        return None  # the graph raises the error
    shapes = {name: arrays[name].shape[1:] for name in signature.inputs}
    if signature.open_lists:  # empty if another input has open lengths too: padding would change the answer
        for name in signature.open_lists:
            shapes[name] = max(SHORTEST, 1 << max(0, shapes[name][0] - 1).bit_length())
    return tuple(shapes.values())


def call(signature: Signature, batch: list[Waiting], most_rows: int) -> list[dict[str, np.ndarray] | Exception]:
    """Returns the answer or the exception of each request."""
    if len(batch) > 1:
        try:
            inputs = {name: stacked([request.arrays[name] for request in batch]) for name in signature.inputs}
            answers = signature(inputs)
            total = sum(request.rows for request in batch)
            if all(len(answer) == total for answer in answers.values()):
                ends = np.cumsum([request.rows for request in batch])[:-1]
                parts = {name: np.split(answer, ends) for name, answer in answers.items()}
                return [{name: parts[name][i] for name in parts} for i in range(len(batch))]
        except Refusal:
            pass  # repeated below, request by request
    answers = []
    for request in batch:
        try:
            arrays = request.arrays
            answers.append(in_parts(signature, arrays, most_rows) if request.key else signature(arrays))
        except Exception as error:  # becomes the answer of this request
            answers.append(error)
    return answers


def in_parts(signature: Signature, arrays: dict[str, np.ndarray], most_rows: int) -> dict[str, np.ndarray]:
    """Answers rows that are independent of each other, at most `most_rows` per call."""
    rows = len(next(iter(arrays.values())))
    starts = range(0, rows, most_rows)
    if len(starts) < 2:
        return signature(arrays)
    parts = [signature({name: array[i : i + most_rows] for name, array in arrays.items()}) for i in starts]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def stacked(arrays: list[np.ndarray]) -> np.ndarray:
    """Concatenates rows; matrices of different lengths (only of strings) are padded with "" at the end."""
    if len({array.shape[1:] for array in arrays}) == 1:
        return np.concatenate(arrays)
    whole = np.full((sum(map(len, arrays)), max(array.shape[1] for array in arrays)), b"", object)
    start = 0
    for array in arrays:
        whole[start : start + len(array), : array.shape[1]] = array
        start += len(array)
    return whole
