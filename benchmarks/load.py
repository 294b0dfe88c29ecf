"""An open-loop load generator, in its own process: it sends each request when it is due, whatever the server does.

Arrivals are a Poisson process of a fixed rate. Latency counts from the moment a request was due, even if the generator
itself was late, so a stalled server is charged for every request that would have arrived. `benchmarks/serving.py`
passes `Load`'s fields as JSON through stdin and reads the report as JSON from stdout. `benchmarks/index.py` calls it in
its own process.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

LATE_SECONDS = 10  # a request not answered by then is an error
MOST_STOLEN = 0.02  # of a core; with more, a run measures the other guests of the machine


@dataclass
class Load:
    """A load and its report.

    Attributes:
        api: "rest" or "grpc".
        address: HOST:PORT.
        path: path of REST requests; the gRPC method is fixed.
        bodies: request bodies as latin-1 text, sent in turn, over and over.
        rate: requests per second.
        seconds: duration; the first `skip` seconds are not counted.
        keep: whether to count the different answers to each body, which are returned as text.
        seed: seed of the arrivals.
    """

    api: str
    address: str
    path: str
    bodies: list[str]
    rate: float
    seconds: float
    skip: float = 1.0
    keep: bool = False
    seed: int = 0
    answers: list[Counter] = field(default_factory=list)

    def __post_init__(self):
        self.requests = [body.encode("latin-1") for body in self.bodies]
        self.answers = [Counter() for _ in self.requests]
        rng = np.random.default_rng(self.seed)
        self.due = np.cumsum(rng.exponential(1 / self.rate, int(self.rate * self.seconds)))
        self.ended = np.full(len(self.due), np.nan)
        self.errors = Counter()

    def run(self, send) -> dict:
        """Calls `send(number, body)` when each request is due, and returns the report."""
        self.start = time.perf_counter() + 0.1
        busy, stolen = time.process_time(), stolen_seconds()
        late = 0.0
        for number, due in enumerate(self.due):
            wait = self.start + due - time.perf_counter()
            if wait > 0:
                time.sleep(wait)
            else:
                late = max(late, -wait)
            send(number, self.requests[number % len(self.requests)])
        end = time.perf_counter() + LATE_SECONDS
        while self.open() and time.perf_counter() < end:
            time.sleep(0.01)
        busy, stolen = time.process_time() - busy, stolen_seconds() - stolen
        counted = self.due >= self.skip
        waits = 1000 * (self.ended - self.due)[counted]
        waits = np.where(np.isnan(waits), 1000.0 * LATE_SECONDS, waits)  # an error counts as the longest wait
        p50, p90, p99 = np.quantile(waits, [0.5, 0.9, 0.99]).round(2).tolist()
        return {
            "requests": int(counted.sum()),
            "p50_ms": p50,
            "p90_ms": p90,
            "p99_ms": p99,
            "max_ms": round(float(waits.max()), 1),
            "errors": sum(self.errors.values()) + self.open(),
            "what": dict(self.errors),
            "generator_cpu": round(busy / self.due[-1], 3),
            "generator_late_ms": round(1000 * late, 1),
            "stolen_cpu": round(float(stolen / self.due[-1]), 3),
            "answers": [dict(counts) for counts in self.answers] if self.keep else [],
        }

    def open(self) -> int:
        return int(np.isnan(self.ended).sum()) - sum(self.errors.values())

    def answered(self, number: int, body: bytes) -> None:
        self.ended[number] = time.perf_counter() - self.start
        if self.keep:
            self.answers[number % len(self.requests)][body.decode("latin-1")] += 1


def stolen_seconds() -> float:
    """Returns the time, summed over cores, that this virtual machine waited while its host worked for other guests."""
    return int(Path("/proc/stat").read_text().split()[8]) / os.sysconf("SC_CLK_TCK")


def undisturbed(run, tries: int = 10) -> dict:
    """Returns the report of the first run with almost no stolen CPU time, or of the least disturbed of all tries.

    With 5% of a core stolen, the longest waits of the same load were two to three times as long.
    """
    reports = []
    while len(reports) < tries:
        reports.append(run())
        if reports[-1]["stolen_cpu"] < MOST_STOLEN:
            break
    return min(reports, key=lambda report: report["stolen_cpu"])


class Rest:
    """A REST client with kept-alive connections: one thread writes requests, the other reads answers."""

    def __init__(self, load: Load):
        self.load = load
        host, _, port = load.address.rpartition(":")
        self.host, self.port = host, int(port)
        self.free: deque = deque()  # the most recently used comes first
        self.poll = select.epoll()
        self.waiting: dict[int, list] = {}  # socket -> [connection, number, bytes so far]
        head = f"POST {load.path} HTTP/1.1\r\nHost: {load.address}\r\nContent-Type: application/json\r\n"
        self.heads = {body: f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in load.requests}
        threading.Thread(target=self.read, daemon=True).start()

    def send(self, number: int, body: bytes) -> None:
        try:
            connection = self.free.pop()
        except IndexError:
            connection = socket.create_connection((self.host, self.port), timeout=LATE_SECONDS)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.waiting[connection.fileno()] = [connection, number, b""]
            self.poll.register(connection.fileno(), select.EPOLLIN)
        entry = self.waiting[connection.fileno()]
        entry[1], entry[2] = number, b""
        try:
            connection.sendall(self.heads[body])
        except OSError as error:
            self.lost(entry, type(error).__name__)

    def lost(self, entry, why: str) -> None:
        connection, number, _ = entry
        if number is not None:
            self.load.errors[why] += 1
        with contextlib.suppress(OSError):
            self.poll.unregister(connection.fileno())
        del self.waiting[connection.fileno()]
        connection.close()

    def read(self) -> None:
        while True:
            for handle, _ in self.poll.poll():
                entry = self.waiting.get(handle)
                if entry is None:
                    continue
                try:
                    chunk = entry[0].recv(1 << 18)
                except OSError:
                    chunk = b""
                if not chunk:
                    with contextlib.suppress(ValueError):
                        self.free.remove(entry[0])
                    self.lost(entry, "connection closed")
                    continue
                entry[2] += chunk
                head, found, rest = entry[2].partition(b"\r\n\r\n")
                if not found:
                    continue
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                if len(rest) < length:
                    continue
                number, entry[1] = entry[1], None
                if head.startswith(b"HTTP/1.1 200"):
                    self.load.answered(number, rest)
                else:
                    self.load.errors[head[9:12].decode()] += 1
                self.free.append(entry[0])


class Grpc:
    """A gRPC client that sends encoded messages and does not decode answers."""

    def __init__(self, load: Load):
        import grpc

        self.load, self.grpc = load, grpc
        self.channel = grpc.insecure_channel(load.address)
        grpc.channel_ready_future(self.channel).result(timeout=LATE_SECONDS)
        self.call = self.channel.unary_unary("/tensorflow.serving.PredictionService/Predict", _registered_method=False)

    def send(self, number: int, body: bytes) -> None:
        self.call.future(body, timeout=LATE_SECONDS).add_done_callback(lambda done: self.done(number, done))

    def done(self, number: int, done) -> None:
        if done.code() == self.grpc.StatusCode.OK:
            self.load.answered(number, done.result())
        else:
            self.load.errors[done.code().name] += 1


if __name__ == "__main__":
    load = Load(**json.load(sys.stdin))
    json.dump(load.run({"rest": Rest, "grpc": Grpc}[load.api](load).send), sys.stdout)
    sys.stdout.flush()
    sys.exit(0)
