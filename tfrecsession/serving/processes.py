"""Several processes that serve one folder on one port: the kernel gives each connection to one of them."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading

from tfrecsession.errors import InputError

log = logging.getLogger("tfrecsession.serving")
WORKER = [sys.executable, "-m", "tfrecsession.serving.worker"]
GRACE_SECONDS = 30  # for the requests in progress when the processes are stopped


class Processes:
    """Processes with a `Server` each. One that ends is replaced; the others answer meanwhile.

    Each process holds its own copy of the models. A process stops when its standard input closes, so none outlives
    this one.

    Args:
        folder: the folder of models.
        count: number of processes, from 2.
        rest_port, grpc_port, host: as in `Server`; both ports are served.
        options: further arguments of `Server`.

    Attributes:
        url, grpc_address: as in `Server`.

    Raises:
        InputError: a port is taken, or the processes cannot share one here.
    """

    def __init__(self, folder, count: int, *, rest_port: int, grpc_port: int, host: str, **options):
        self.count, self._stop = count, threading.Event()
        self._held = [held_port(f"{api}_port", host, port) for api, port in (("rest", rest_port), ("grpc", grpc_port))]
        rest, grpc = (held.getsockname()[1] for held in self._held)
        at = f"[{host}]" if ":" in host else host
        self.url, self.grpc_address = f"http://{at}:{rest}", f"{at}:{grpc}"
        self._arguments = json.dumps(
            {"folder": str(folder), "rest_port": rest, "grpc_port": grpc, "host": host, **options}
        )
        self.workers: list[subprocess.Popen] = []

    def __enter__(self) -> Processes:
        self.workers = [self._started() for _ in range(self.count)]  # side by side, as loading takes long
        if not all(is_ready(worker) for worker in self.workers):
            self._end()
            raise InputError(f"processes={self.count}: a process could not start; its error is above")
        self._watching = threading.Thread(target=self._watch, name="processes")
        self._watching.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._watching.join()
        self._end()

    def _started(self) -> subprocess.Popen:
        return subprocess.Popen([*WORKER, self._arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            for index, worker in enumerate(self.workers):
                if worker.poll() is not None:
                    log.warning("process %d ended (%d): starting another", worker.pid, worker.returncode)
                    self.workers[index] = self._started()

    def _end(self) -> None:
        for worker in self.workers:
            worker.stdin.close()
        for worker in self.workers:
            try:
                worker.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
            worker.stdout.close()
        for held in self._held:
            held.close()


def is_ready(worker: subprocess.Popen) -> bool:
    """Waits until a process listens; returns False if it ended instead."""
    if worker.stdout.readline():
        return True
    worker.wait()
    return False


def held_port(argument: str, host: str, port: int) -> socket.socket:
    """Returns a socket that holds a free port for the processes, without listening.

    A port that another server shares is taken too: first the port is bound alone.

    Raises:
        InputError: the port is taken, or the system cannot share ports.
    """
    if not hasattr(socket, "SO_REUSEPORT"):
        raise InputError("processes: must be 1: this system cannot share a port (SO_REUSEPORT)")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as alone:
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            alone.bind((host, port))
        held = socket.socket(family)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((host, port))
    except OSError as error:
        raise InputError(
            f"{argument}={port} at {host}: cannot listen there ({error.strerror}); choose another port"
        ) from None
    return held


def warn_of_more_than_cores(count: int) -> None:
    """Logs a warning if there are more processes than cores."""
    cores = os.cpu_count() or 1
    if count > cores:
        log.warning("--processes %d: more than the %d cores of this machine, so answers become slower", count, cores)
