"""Several processes that serve one folder on one port: the kernel gives each connection to one of them."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import threading

from tfrecsession.errors import InputError

log = logging.getLogger("tfrecsession.serving")
GRACE_SECONDS = 30  # for the requests in progress when the processes are stopped


class Processes:
    """Processes with a `Server` each. One that ends is replaced; the others answer meanwhile.

    They are forks of a process that has imported TensorFlow and done nothing else, so they share its code. The models'
    large tables lie in a folder of temporary files, which all of them map, see `SharedTables`. Graphs and the hash
    tables of small vocabularies are each process's own. A process stops when its pipe closes, so none outlives this
    one.

    Args:
        folder: the folder of models.
        count: number of processes, from 2.
        rest_port, grpc_port, host: as in `Server`; both ports are served.
        options: further arguments of `Server`.

    Attributes:
        url, grpc_address: as in `Server`.
        workers: the processes.

    Raises:
        InputError: a port is taken, the processes cannot share one here, or there is no folder for temporary files.
    """

    def __init__(self, folder, count: int, *, rest_port: int, grpc_port: int, host: str, **options):
        self.count, self._stop = count, threading.Event()
        self._held = [held_port(f"{api}_port", host, port) for api, port in (("rest", rest_port), ("grpc", grpc_port))]
        rest, grpc = (held.getsockname()[1] for held in self._held)
        at = f"[{host}]" if ":" in host else host
        self.url, self.grpc_address = f"http://{at}:{rest}", f"{at}:{grpc}"
        try:
            tables = tempfile.mkdtemp(prefix="tfrecsession-tables-")
        except OSError as error:
            raise InputError(f"processes={count}: no folder for temporary files, set TMPDIR to one: {error}") from None
        served = {"folder": str(folder), "tables": tables, "rest_port": rest, "grpc_port": grpc, "host": host}
        self._arguments = served | options
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tfrecsession.serving.preloaded"])
        self.workers, self._pipes = [], []

    def __enter__(self) -> Processes:
        for _ in range(self.count):  # side by side, as loading takes long
            worker, pipe = self._started()
            self.workers.append(worker)
            self._pipes.append(pipe)
        if not all(map(is_ready, self._pipes)):
            self._end()
            raise InputError(f"processes={self.count}: a process could not start; its error is above")
        self._watching = threading.Thread(target=self._watch, name="processes")
        self._watching.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._watching.join()
        self._end()

    def _started(self) -> tuple:
        """Returns a process and the pipe that it stops with."""
        pipe, its_end = self._context.Pipe()
        worker = self._context.Process(target=serve, args=(self._arguments, its_end))
        worker.start()
        its_end.close()
        return worker, pipe

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            for index, worker in enumerate(self.workers):
                if not worker.is_alive():
                    log.warning("process %d ended (%d): starting another", worker.pid, worker.exitcode)
                    self._pipes[index].close()
                    self.workers[index], self._pipes[index] = self._started()

    def _end(self) -> None:
        for pipe in self._pipes:
            pipe.close()
        for worker in self.workers:
            worker.join(GRACE_SECONDS)
            if worker.exitcode is None:
                worker.kill()
                worker.join()
        for held in self._held:
            held.close()
        shutil.rmtree(self._arguments["tables"], ignore_errors=True)


def serve(arguments: dict, pipe) -> None:
    """Serves until a pipe closes; a message on it says that the server listens.

    Args:
        arguments: of `Server`.
        pipe: a `multiprocessing.connection.Connection`.
    """
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)  # of the whole group: the first process stops the others in order
    from tfrecsession.serving.server import Server

    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("tfrecsession.serving").setLevel(logging.INFO)
    with Server(**arguments, reuse_port=True):
        pipe.send("listening")
        with contextlib.suppress(EOFError):
            pipe.recv()
    shutil.rmtree(arguments["tables"], ignore_errors=True)  # the first process may have been killed


def is_ready(pipe) -> bool:
    """Waits until a process listens; returns False if it ended instead."""
    try:
        pipe.recv()
    except EOFError:
        return False
    return True


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
