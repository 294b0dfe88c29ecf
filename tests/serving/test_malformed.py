"""Every malformed request gets a client error in TensorFlow Serving's format, and the next request is answered."""

import contextlib
import http.client
import json
import logging
import shutil
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import grpc
import numpy as np
import pytest
import requests

import tfrecsession as trs
from tests.serving.malformed_grpc import grpc as grpc_case
from tests.serving.malformed_http import HTTP, rest
from tests.serving.malformed_json import BODIES

CLIENT_ERRORS = {
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "FAILED_PRECONDITION",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "RESOURCE_EXHAUSTED",
}


@pytest.fixture(scope="module")
def models(exports, shop, tmp_path_factory):
    folder = tmp_path_factory.mktemp("malformed")
    shutil.copytree(exports / "gru4rec", folder / "gru4rec")
    model = trs.models.HRNN(shop.items, units=[8], user_units=[4], negatives=trs.negatives.Popularity(8))
    model.export(folder / "hrnn" / "1", k=5)
    return folder


class Ended:
    """The result of a connection that was closed without a complete answer."""

    status, body = 0, b""


def send(url: str, case):
    """Sends a case through a new connection and returns the answer."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the server may refuse early
            connection.sendall(case.data)
            if case.incomplete:
                connection.shutdown(socket.SHUT_WR)
        answer = http.client.HTTPResponse(connection, method="HEAD" if case.bodiless else "POST")
        try:
            answer.begin()
            answer.body = answer.read()
        except (http.client.HTTPException, ConnectionResetError):
            return Ended
        return answer


def refused(url: str, seed: int) -> str | None:
    """Returns a description of a wrong answer to a malformed request; None if the answer is right."""
    case = rest(seed)
    answer = send(url, case)
    text = f"rest({seed}) {case.kind} {case.data[:300]!r}: {answer.status} {answer.body[:300]!r}"
    if answer is Ended:
        return None if case.incomplete else text
    if not 400 <= answer.status < 500:
        return text
    if case.bodiless:
        return None
    try:
        content = json.loads(answer.body)
    except ValueError:
        return text
    good = list(content) == ["error"] and isinstance(content["error"], str) and 0 < len(content["error"]) < 2000
    return None if good and "Traceback" not in content["error"] else text


def refused_grpc(channel, seed: int) -> str | None:
    case = grpc_case(seed)
    text = f"grpc({seed}) {case.kind} {case.data[:300]!r}"
    call = channel.unary_unary(case.method, _registered_method=False)
    compression = grpc.Compression.Gzip if case.compressed else None
    try:
        call(case.data, metadata=case.metadata, compression=compression, timeout=60)
    except grpc.RpcError as error:
        if error.code().name in CLIENT_ERRORS and len(error.details()) < 2000:
            return None
        return f"{text}: {error.code().name} {error.details()[:300]}"
    return f"{text}: answered"


def check_good_request(url: str, expected: dict) -> None:
    answer = requests.post(f"{url}/v1/models/gru4rec:predict", json={"instances": [["item-1"]]}, timeout=60)
    assert (answer.status_code, answer.json()) == (200, expected)


def good_answer(url: str) -> dict:
    return requests.post(f"{url}/v1/models/gru4rec:predict", json={"instances": [["item-1"]]}, timeout=60).json()


def test_some(models, caplog):
    """550 requests, with each kind among them."""
    with trs.serving.Server(models, rest_port=0, grpc_port=0) as server, caplog.at_level(logging.WARNING):
        expected = good_answer(server.url)
        wrong = [refused(server.url, seed) for seed in range(400)]
        with grpc.insecure_channel(server.grpc_address) as channel:
            wrong += [refused_grpc(channel, seed) for seed in range(150)]
        noise(server.grpc_address, 10)
        check_good_request(server.url, expected)
    assert not list(filter(None, wrong))
    assert not caplog.records
    assert len({rest(seed).kind for seed in range(400)}) == len(BODIES) + len(set(HTTP))


def noise(address: str, times: int) -> None:
    """Sends bytes that are not HTTP/2 to the gRPC port."""
    host, _, port = address.partition(":")
    for seed in range(times):
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(np.random.default_rng(seed).bytes(10 ** (seed % 5)))
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1000)


def megabytes(process, key: str) -> float:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) / 1024


@pytest.mark.slow
def test_ten_thousand(models, tmp_path):
    """The server runs in its own process; its memory stays constant and its log empty."""
    command = [
        sys.executable,
        "-m",
        "tfrecsession",
        "serve",
        str(models),
        "--rest-port",
        "0",
        "--grpc-port",
        "0",
        "--json",
        "-",
    ]
    log = tmp_path / "log"
    with open(log, "w") as file, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file) as process:
        try:
            printed = b""
            while not printed.rstrip().endswith(b"}"):
                assert (line := process.stdout.readline()), log.read_text()
                printed += line
            url, address = json.loads(printed)["rest"], json.loads(printed)["grpc"]
            expected, start, sizes = good_answer(url), len(log.read_text()), []
            wrong, kinds = [], Counter()
            with grpc.insecure_channel(address) as channel:
                for seed in range(10_000):
                    if seed % 4:
                        wrong.append(refused(url, seed))
                        kinds[rest(seed).kind] += 1
                    else:
                        wrong.append(refused_grpc(channel, seed))
                        kinds[grpc_case(seed).kind] += 1
                    if seed % 500 == 499:
                        check_good_request(url, expected)
                        sizes.append(megabytes(process.pid, "VmRSS"))
            noise(address, 100)
            check_good_request(url, expected)
            print(f"{dict(kinds)}\nMB: {[round(size) for size in sizes]}, peak {megabytes(process.pid, 'VmHWM'):.0f}")
            assert not list(filter(None, wrong))
            assert log.read_text()[start:] == ""
            assert sizes[-1] < sizes[1] + 100 and megabytes(process.pid, "VmHWM") < sizes[0] + 500
        finally:
            process.kill()
