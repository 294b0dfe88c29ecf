"""Several processes on one port: a taken port, one that ends, and the end of all."""

import contextlib
import json
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import urllib.request

import pytest

from tfrecsession import InputError
from tfrecsession.cli import main
from tfrecsession.serving import processes
from tfrecsession.serving.processes import Processes, held_port, warn_of_more_than_cores


def answer_with_the_number_of_the_process(arguments, pipe):
    """Stands in for `processes.serve`."""
    if arguments["folder"] == "broken":
        sys.exit("broken")
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind((arguments["host"], arguments["rest_port"]))
        server.listen()
        pipe.send("listening")

        def answer():
            while True:
                connection, _ = server.accept()
                connection.sendall(str(os.getpid()).encode())
                connection.close()

        threading.Thread(target=answer, daemon=True).start()
        with contextlib.suppress(EOFError):
            pipe.recv()


def start(folder, monkeypatch, **options):
    monkeypatch.setattr(processes, "serve", answer_with_the_number_of_the_process)
    return Processes(folder, 2, rest_port=0, grpc_port=0, host="127.0.0.1", **options)


def who_answers(running) -> int:
    with socket.create_connection(("127.0.0.1", int(running.url.rpartition(":")[2])), timeout=10) as connection:
        return int(connection.recv(100))


def test_processes_share_a_port_and_one_that_ends_is_replaced(monkeypatch, caplog):
    with start("models", monkeypatch) as running:
        first = list(running.workers)
        pids = {worker.pid for worker in first}
        answers = {who_answers(running) for _ in range(60)}
        assert answers == pids  # a chance of 2^-59 to fail
        os.kill(first[0].pid, signal.SIGKILL)
        first[0].join()
        while first[0] in running.workers:  # until the next look
            pass
        assert running.workers[1] is first[1] and processes.is_ready(running._pipes[0])
        assert {who_answers(running) for _ in range(60)} == {worker.pid for worker in running.workers}
    assert all(worker.exitcode == 0 for worker in running.workers)
    assert "ended (-9): starting another" in caplog.text


def test_a_process_that_cannot_start(monkeypatch):
    with pytest.raises(InputError, match="processes=2: a process could not start"):
        start("broken", monkeypatch).__enter__()


def test_no_folder_for_temporary_files(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/no/such/folder")
    with pytest.raises(InputError, match="processes=2: no folder for temporary files, set TMPDIR to one: .*such"):
        Processes("models", 2, rest_port=0, grpc_port=0, host="127.0.0.1")


@pytest.mark.parametrize("shared", [False, True])
def test_a_taken_port(shared):
    """Also one that another server would share."""
    with socket.socket() as taken:
        if shared:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"rest_port={port} at 127.0.0.1: cannot listen there .*another port"):
            held_port("rest_port", "127.0.0.1", port)


def test_more_processes_than_cores(caplog, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    caplog.set_level(logging.WARNING, "tfrecsession.serving")
    warn_of_more_than_cores(2)
    assert not caplog.text
    warn_of_more_than_cores(3)
    assert "--processes 3: more than the 2 cores of this machine" in caplog.text


def test_no_processes(tmp_path, capsys):
    assert main(["serve", str(tmp_path), "--processes", "0"]) != 0
    assert "--processes 0: must be a number above 0" in capsys.readouterr().err


@pytest.mark.slow
def test_two_servers_answer_on_one_port(exports):
    with Processes(exports, 2, rest_port=0, grpc_port=0, host="127.0.0.1", poll_seconds=0.1) as running:
        for _ in range(20):  # a connection each
            body = json.dumps({"instances": [["item-1"]]}).encode()
            with urllib.request.urlopen(f"{running.url}/v1/models/popularity:predict", body, timeout=30) as answer:
                assert len(json.load(answer)["predictions"][0]["items"]) == 5
        grpc = pytest.importorskip("grpc")
        with grpc.insecure_channel(running.grpc_address) as channel:
            grpc.channel_ready_future(channel).result(timeout=30)
