"""Launcher of training workers on this machine: starts them, watches them and stops them together."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

from tfrecsession.errors import InputError

PATIENCE = 5  # seconds that the other workers have to end by themselves after one has failed
LAST_OUTPUT = 2000  # characters of a failed worker's stderr that are shown
DIE_WITH_PARENT = 1  # prctl(2), PR_SET_PDEATHSIG


def run_local_workers(workers: int, arguments: list[str]) -> int:
    """Runs the command `arguments` as several workers on this machine and returns the exit code.

    Only the chief's output is shown. When one worker fails, all are stopped; none outlives this process.
    """
    if workers < 1:
        raise InputError(f"--workers {workers}: must be a number from 1")
    hosts = ",".join(f"127.0.0.1:{port}" for port in free_ports(workers))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = {"TF_NUM_INTRAOP_THREADS": str(max(1, cores // workers))}  # all workers together use one per core
    processes = []
    with contextlib.ExitStack() as stack:
        stack.callback(_stop, processes)
        stack.enter_context(_sigterm_as_exit())
        logs = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(workers)]
        for worker in range(workers):
            # the last occurrence of an option counts, so these override the --workers in `arguments`
            command = [sys.executable, "-m", "tfrecsession", *arguments, "--workers", hosts, "--worker", str(worker)]
            chief = worker == 0
            processes.append(
                subprocess.Popen(
                    command,
                    env={**threads, **os.environ},
                    stdin=subprocess.DEVNULL,
                    stdout=None if chief else subprocess.DEVNULL,
                    stderr=None if chief else logs[worker],
                    preexec_fn=_die_with_parent,
                )
            )
        return _watch(processes, logs)


def set_cluster_env(hosts: str | None, worker: int | None) -> None:
    """Sets TF_CONFIG: this process is worker `worker` of `hosts`, given as host:port,host:port."""
    addresses = [] if hosts is None else hosts.split(",")
    if not addresses or not all(name and port.isdigit() for name, _, port in (a.rpartition(":") for a in addresses)):
        raise InputError(f"--workers {hosts}: must be a number, or all hosts as host:port,host:port, the chief first")
    if worker is None or not 0 <= worker < len(addresses):
        raise InputError(f"--worker {worker}: must be this host's index among the {len(addresses)} hosts, from 0")
    os.environ["TF_CONFIG"] = json.dumps(
        {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": worker}}
    )


def is_chief() -> bool:
    """Returns whether this process prints and writes results; a process without other workers does."""
    return int(json.loads(os.environ.get("TF_CONFIG") or "{}").get("task", {}).get("index", 0)) == 0


def free_ports(number: int) -> list[int]:
    """Returns currently free ports of 127.0.0.1."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _watch(processes, logs) -> int:
    """Waits until all workers succeed or one fails, and returns the exit code.

    Prints the end of the failed worker's stderr, unless the chief has already shown the error.
    """
    while True:
        codes = [process.poll() for process in processes]
        failed = [worker for worker, code in enumerate(codes) if code]
        if failed:
            break
        if not any(code is None for code in codes):
            return 0
        time.sleep(0.1)
    first = failed[0]
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and any(process.poll() is None for process in processes):
        time.sleep(0.1)
    if processes[0].poll() == codes[first]:  # the chief has printed the error itself
        return codes[first] if codes[first] > 0 else 1
    _stop(processes)
    ended = f"with exit code {codes[first]}" if codes[first] > 0 else f"by {signal.Signals(-codes[first]).name}"
    logs[first].seek(0)
    last = logs[first].read().decode(errors="replace")[-LAST_OUTPUT:].strip()
    print(f"error: worker {first} ended {ended}, so the others were stopped; start again", file=sys.stderr)
    if last:
        print(f"Its last output:\n{last}", file=sys.stderr)
    return codes[first] if codes[first] > 0 else 1


def _stop(processes) -> None:
    for kill in (subprocess.Popen.terminate, subprocess.Popen.kill):
        for process in processes:
            if process.poll() is None:
                kill(process)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and any(process.poll() is None for process in processes):
            time.sleep(0.05)


@contextlib.contextmanager
def _sigterm_as_exit():
    """Turns SIGTERM into SystemExit, so that the workers are stopped first."""

    def leave(*_):
        sys.exit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _die_with_parent() -> None:
    # Linux only: elsewhere a launcher that is killed by SIGKILL leaves its workers running.
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
