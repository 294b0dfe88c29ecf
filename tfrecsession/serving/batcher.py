"""Requests that wait, joined into one call of a signature where that gives the same answers."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from tfrecsession.serving.refusal import Refusal
from tfrecsession.serving.signature import Signature

SHORTEST = 16  # histories up to this length are padded to each other; beyond it, up to the next power of two


@dataclass
class Waiting:
    arrays: dict[str, np.ndarray]
    key: tuple | None
    rows: int
    answer: asyncio.Future


class Batcher:
    """Answers in a pool of threads. While all are busy, requests wait; a free thread takes all that fit together.

    No request waits for company: one that finds a free thread goes alone. Two are joined where they ask the same
    signature, every input and output of it has a row per row, and either all other dimensions are equal or only
    matrices of strings are of open length, which `""` pads at the end.

    Joining needs a model that treats its rows one by one and passes over "", which a graph does not show. Exports of
    this package promise it (they carry `assets.extra/tfrecsession.json`); requests to other models are never joined.
    Lengths are padded to less than twice themselves, so that a short history does not pay for a long one. A joined
    call that fails is repeated request by request: a neighbour's bad row is nobody else's error. What may be joined
    may also be taken apart: a request of more than `most_rows` is answered in parts, in no more memory than they need.

    Args:
        threads: calls at a time.
        most_rows: rows of a call; 1 joins none.
        most_waiting: requests of all models together that may wait before the next is refused (UNAVAILABLE).
        most_asked: rows of a request to an export of this package; more are refused (INVALID_ARGUMENT).
        joined: called with the number of requests of each call, for the metrics.
    """

    def __init__(self, threads: int, most_rows: int, most_waiting: int, most_asked: int, joined=lambda requests: None):
        self.threads, self.most_rows, self.most_waiting = threads, most_rows, most_waiting
        self.most_asked, self.joined = most_asked, joined
        self.waiting = 0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="answers")
        self.running = 0
        self._queues: weakref.WeakKeyDictionary[Signature, deque[Waiting]] = weakref.WeakKeyDictionary()
        self._turns: deque[Signature] = deque()  # one entry per waiting request: who came first is served first

    async def answer(self, signature: Signature, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Checked arrays -> answers. Raises Refusal."""
        if self.waiting >= self.most_waiting:
            raise Refusal("UNAVAILABLE", f"the queue is full, {self.most_waiting} requests wait: try again later")
        rows = max(map(len, arrays.values())) if signature.pads and signature.by_row else 1
        if rows > self.most_asked:
            text = f"the request has {rows:,} rows, at most {self.most_asked:,} are answered at a time: send several"
            raise Refusal("INVALID_ARGUMENT", text)
        key = join_key(signature, arrays)
        one = Waiting(arrays, key, rows, asyncio.get_running_loop().create_future())
        self._queues.setdefault(signature, deque()).append(one)
        self._turns.append(signature)
        self.waiting += 1
        self._start()
        return await one.answer

    async def idle(self) -> None:
        """Return when nothing waits or runs."""
        while self.waiting or self.running:
            await asyncio.sleep(0.01)

    def close(self) -> None:
        self._pool.shutdown(wait=True)

    def _start(self) -> None:
        while self._turns and self.running < self.threads:
            signature = self._turns.popleft()
            together = self._take(self._queues.get(signature) or deque())
            if together:
                self.running += 1
                task = asyncio.get_running_loop().run_in_executor(self._pool, call, signature, together, self.most_rows)
                task.add_done_callback(lambda done, together=together: self._done(done, together))

    def _take(self, queue: deque[Waiting]) -> list[Waiting]:
        """The oldest request and all that fit to it; what nobody waits for any more is passed over."""
        together, others, rows = [], [], 0
        while queue:
            one = queue.popleft()
            if one.answer.cancelled():
                self.waiting -= 1
            elif not together or (one.key and one.key == together[0].key and rows + one.rows <= self.most_rows):
                together.append(one)
                rows += one.rows
            else:
                others.append(one)
        queue.extend(others)
        self.waiting -= len(together)
        return together

    def _done(self, done: asyncio.Future, together: list[Waiting]) -> None:
        self.running -= 1
        self.joined(len(together))
        answers = [done.exception()] * len(together) if done.exception() else done.result()
        for one, answer in zip(together, answers, strict=True):
            if not one.answer.done():
                (one.answer.set_exception if isinstance(answer, Exception) else one.answer.set_result)(answer)
        self._start()


def join_key(signature: Signature, arrays: dict[str, np.ndarray]) -> tuple | None:
    """Requests of one signature with equal keys may be joined; None: never."""
    if not signature.pads or not signature.by_row:
        return None
    if len({len(array) for array in arrays.values()}) != 1:
        return None  # the graph refuses it, and says why
    shapes = {name: arrays[name].shape[1:] for name in signature.inputs}
    if signature.open_lists:  # all of them strings: where another input goes along with them, lengths say something
        for name in signature.open_lists:
            shapes[name] = max(SHORTEST, 1 << max(0, shapes[name][0] - 1).bit_length())
    return tuple(shapes.values())


def call(signature: Signature, together: list[Waiting], most_rows: int) -> list[dict[str, np.ndarray] | Exception]:
    """The answer, or what went wrong, of each request."""
    if len(together) > 1:
        try:
            answers = signature({name: stacked([one.arrays[name] for one in together]) for name in signature.inputs})
            total = sum(one.rows for one in together)
            if all(len(answer) == total for answer in answers.values()):
                ends = np.cumsum([one.rows for one in together])[:-1]
                parts = {name: np.split(answer, ends) for name, answer in answers.items()}
                return [{name: parts[name][place] for name in parts} for place in range(len(together))]
        except Refusal:
            pass  # by itself each gets the answer or the error that is its own
    answers = []
    for one in together:
        try:
            answers.append(in_parts(signature, one.arrays, most_rows) if one.key else signature(one.arrays))
        except Exception as error:  # handed to the one who asked
            answers.append(error)
    return answers


def in_parts(signature: Signature, arrays: dict[str, np.ndarray], most_rows: int) -> dict[str, np.ndarray]:
    """The answer to rows that may be asked apart."""
    rows = len(next(iter(arrays.values())))
    starts = range(0, rows, most_rows)
    if len(starts) < 2:
        return signature(arrays)
    parts = [signature({name: array[i : i + most_rows] for name, array in arrays.items()}) for i in starts]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def stacked(arrays: list[np.ndarray]) -> np.ndarray:
    """Rows one after the other; matrices of different lengths (only strings are) end in ""."""
    if len({array.shape[1:] for array in arrays}) == 1:
        return np.concatenate(arrays)
    whole = np.full((sum(map(len, arrays)), max(array.shape[1] for array in arrays)), b"", object)
    start = 0
    for array in arrays:
        whole[start : start + len(array), : array.shape[1]] = array
        start += len(array)
    return whole
