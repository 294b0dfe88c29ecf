"""The server and the load generator of `serving.py`, each a separate process, and their messages."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from load import stolen_seconds


def alone(export: str, histories: list[list[str]], most_ms: float) -> int:
    """Returns the answers/s of an export in this process, without a server: the most for any number of joined requests.

    Those joined are answered one call after the other on all cores, in a median time within `most_ms`.
    """
    import tensorflow as tf

    loaded = tf.saved_model.load(export)
    rates = [0.0]
    for joined in (1, 2, 4, 8, 16, 32, 64):
        times = []
        for start in range(0, 30 * joined, joined):
            asked = [histories[number % len(histories)] for number in range(start, start + joined)]
            longest = max(map(len, asked))
            rows = tf.constant([[*history, *[""] * (longest - len(history))] for history in asked])
            began = time.perf_counter()
            loaded.signatures["serving_default"](items=rows)["items"].numpy()
            times.append(time.perf_counter() - began)
        median = float(np.median(times[10:]))
        if 1e3 * median < most_ms:
            rates.append(joined / median)
    return round(max(rates))


class Serving:
    """A `tfrecsession serve` process on its own folder, with the given exports as version 1 of the given names.

    An export is a path below `folder`, which is copied, or an absolute path of a folder of versions, which is linked.
    """

    def __init__(self, folder: Path, names: dict[str, str | Path], *options: str):
        self.models = folder / "served"
        shutil.rmtree(self.models, ignore_errors=True)
        self.models.mkdir(parents=True)
        for name, export in names.items():
            if Path(export).is_absolute():
                (self.models / name).symlink_to(export, target_is_directory=True)
            else:
                shutil.copytree(folder / export, self.models / name / "1")
        with socket.socket() as rest, socket.socket() as grpc:
            rest.bind(("127.0.0.1", 0)), grpc.bind(("127.0.0.1", 0))
            self.rest, self.grpc = (f"127.0.0.1:{each.getsockname()[1]}" for each in (rest, grpc))
        ports = ["--rest-port", self.rest.partition(":")[2], "--grpc-port", self.grpc.partition(":")[2]]
        self.command = [
            sys.executable,
            "-m",
            "tfrecsession",
            "serve",
            str(self.models),
            *ports,
            "--json",
            "-",
            *options,
        ]
        self.log = folder / "server.log"

    def __enter__(self):
        self.start()
        return self

    def start(self) -> None:
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=log, text=True)
        while not self.process.stdout.readline().startswith("}"):
            assert self.process.poll() is None, f"the server did not start: see {self.log}"

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def pids(self) -> list[int]:
        """Returns the server's process, and all that it started."""
        parents = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # a process has ended
                parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        pids = [self.process.pid]
        for pid in pids:
            pids += [child for child, parent in parents.items() if parent == pid]
        return pids

    def megabytes(self, kind: str = "Rss") -> float:
        """Returns the memory of all processes; "Pss" counts pages once that several of them share."""
        lines = [line for pid in self.pids() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()]
        return round(sum(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) / 1024, 1)

    def cpu_seconds(self) -> float:
        stats = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self.pids())
        return sum(int(fields[11]) + int(fields[12]) for fields in stats) / os.sysconf("SC_CLK_TCK")


def load(serving: Serving, api: str, model: str, histories, rate: float, seconds: float, **more) -> dict:
    """Runs the load generator; returns its report and the cores that the server used."""
    bodies = [rest_body(history) if api == "rest" else grpc_body(model, history) for history in histories]
    fields = {
        "api": api,
        "address": getattr(serving, api),
        "path": f"/v1/models/{model}:predict",
        "bodies": [body.decode("latin-1") for body in bodies],
        "rate": rate,
        "seconds": seconds,
        **more,
    }
    before = serving.cpu_seconds()
    command = [sys.executable, str(Path(__file__).with_name("load.py"))]
    done = subprocess.run(command, input=json.dumps(fields), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return {**json.loads(done.stdout), "server_cpu": round((serving.cpu_seconds() - before) / seconds, 2)}


WRK = """
local bodies, next = {}, 0
for line in io.lines("%s") do bodies[#bodies + 1] = line end
function request()
    next = next %% #bodies + 1
    return wrk.format("POST", nil, {["Content-Type"] = "application/json"}, bodies[next])
end
function done(summary, latency, requests)
    local failed = summary.errors
    io.write(string.format(
        '{"per_s": %%f, "p50_ms": %%f, "p90_ms": %%f, "p99_ms": %%f, "errors": %%d}',
        1e6 * summary.requests / summary.duration,
        latency:percentile(50) / 1e3, latency:percentile(90) / 1e3, latency:percentile(99) / 1e3,
        failed.connect + failed.read + failed.write + failed.status + failed.timeout))
end
"""


def closed_loop(serving: Serving, model: str, histories, connections: int, seconds: float) -> dict:
    """Runs wrk (from Debian's packages): each connection sends its next request when it has its answer; REST alone."""
    bodies, script = serving.log.with_name("bodies.txt"), serving.log.with_name("wrk.lua")
    bodies.write_bytes(b"\n".join(map(rest_body, histories)) + b"\n")
    script.write_text(WRK % bodies)
    url = f"http://{serving.rest}/v1/models/{model}:predict"
    command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds:.0f}s", "-s", str(script), url]
    before, busy = serving.cpu_seconds(), stolen_seconds()
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = {name: round(value, 2) for name, value in json.loads(printed[printed.rindex("{") :]).items()}
    found["server_cpu"] = round((serving.cpu_seconds() - before) / seconds, 2)
    return found | {"stolen_cpu": round((stolen_seconds() - busy) / seconds, 3)}


def rest_body(history) -> bytes:
    return json.dumps({"inputs": {"items": [history]}}).encode()


def grpc_body(model: str, history) -> bytes:
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.inputs["items"].CopyFrom(tf.make_tensor_proto([history]))
    return request.SerializeToString()


def same(answer: str, expected, index: int) -> bool:
    """Returns whether a REST or gRPC answer, as latin-1 text, equals row `index` of `expected`."""
    if answer.startswith("{"):
        outputs = json.loads(answer.encode("latin-1"))["outputs"]
        items, scores = outputs["items"][0], outputs["scores"][0]
    else:
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        outputs = predict_pb2.PredictResponse.FromString(answer.encode("latin-1")).outputs
        items = [item.decode() for item in tf.make_ndarray(outputs["items"])[0]]
        scores = tf.make_ndarray(outputs["scores"])[0]
    return items == expected.items[index].tolist() and np.allclose(scores, expected.scores[index], rtol=1e-4, atol=1e-5)
