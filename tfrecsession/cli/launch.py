"""The processes of a training with several workers: started here, watched, and stopped together."""

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

PATIENCE = 5  # seconds in which the others may end by themselves, once one has failed
LAST_WORDS = 2000  # characters
DIE_WITH_PARENT = 1  # prctl(2), PR_SET_PDEATHSIG


def here(workers: int, arguments: list[str]) -> int:
    """Run the command `arguments` as several workers on this machine; returns the exit code.

    The chief's output is that of the command. As soon as one worker fails all are stopped; none outlives this process.
    """
    if workers < 1:
        raise InputError(f"--workers {workers}: say how many, from 1")
    hosts = ",".join(f"127.0.0.1:{port}" for port in free_ports(workers))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = {"TF_NUM_INTRAOP_THREADS": str(max(1, cores // workers))}  # together they have as many as cores
    processes = []
    with contextlib.ExitStack() as stack:
        stack.callback(_stop, processes)
        stack.enter_context(_sigterm_as_exit())
        words = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(workers)]
        for worker in range(workers):
            # what is said last counts: a worker is told all hosts, and which of them it is
            command = [sys.executable, "-m", "tfrecsession", *arguments, "--workers", hosts, "--worker", str(worker)]
            chief = worker == 0
            processes.append(
                subprocess.Popen(
                    command,
                    env={**threads, **os.environ},
                    stdin=subprocess.DEVNULL,
                    stdout=None if chief else subprocess.DEVNULL,
                    stderr=None if chief else words[worker],
                    preexec_fn=_die_with_parent,
                )
            )
        return _watch(processes, words)


def join(hosts: str | None, worker: int | None) -> None:
    """Say in TF_CONFIG that this process is number `worker` of `hosts`, as host:port,host:port."""
    addresses = [] if hosts is None else hosts.split(",")
    if not addresses or not all(name and port.isdigit() for name, _, port in (a.rpartition(":") for a in addresses)):
        raise InputError(f"--workers {hosts}: say a number, or all hosts as host:port,host:port, the chief first")
    if worker is None or not 0 <= worker < len(addresses):
        raise InputError(f"--worker {worker}: say which of the {len(addresses)} hosts this is, from 0")
    os.environ["TF_CONFIG"] = json.dumps(
        {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": worker}}
    )


def is_chief() -> bool:
    """Whether this process is the worker that speaks and writes, as any is that is alone."""
    return int(json.loads(os.environ.get("TF_CONFIG") or "{}").get("task", {}).get("index", 0)) == 0


def free_ports(number: int) -> list[int]:
    """Ports of this machine's loopback that nobody uses now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _watch(processes, words) -> int:
    """Until all have ended well or one has not: its exit code, and its last words where nobody has seen them."""
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
    if processes[0].poll() == codes[first]:  # the chief has said so itself
        return codes[first] if codes[first] > 0 else 1
    _stop(processes)
    ended = f"with exit code {codes[first]}" if codes[first] > 0 else f"by {signal.Signals(-codes[first]).name}"
    words[first].seek(0)
    last = words[first].read().decode(errors="replace")[-LAST_WORDS:].strip()
    print(f"error: worker {first} ended {ended}, so the others were stopped; start again", file=sys.stderr)
    if last:
        print(f"What it said last:\n{last}", file=sys.stderr)
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
    """Who is told to end ends its workers first."""

    def leave(*_):
        sys.exit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _die_with_parent() -> None:
    with contextlib.suppress(
        AttributeError, OSError
    ):  # Linux; elsewhere a launcher that is killed outright leaves them
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
