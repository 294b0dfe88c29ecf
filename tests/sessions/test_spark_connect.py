"""Spark Connect: a server on the loopback interface prepares the same data set as DuckDB, for a client without Java."""

import contextlib
import json
import os
import signal
import socket
import socketserver
import subprocess
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tests.sessions.test_spark import QUICK, result, skip_without_spark
from tfrecsession.cli import launch, main
from tfrecsession.errors import InputError
from tfrecsession.events.spark import spark_connect
from tfrecsession.events.spark.spark_connect import MODE
from tfrecsession.sessions.prepare import prepare


@contextlib.contextmanager
def running_server(folder):
    """Yields the process of a server and its address."""
    skip_without_spark()
    pytest.importorskip("grpc_status", reason="Spark Connect's client is not installed: pip install 'pyspark[connect]'")
    import pyspark

    (port,) = launch.free_ports(1)
    command = ["bash", str(Path(pyspark.__file__).parent / "bin" / "spark-submit"), "--master", "local[2]"]
    command += ["--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "--driver-memory", "1g"]
    settings = QUICK | {
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": port,
        "spark.ui.enabled": "false",
        "spark.local.dir": folder,
        "spark.sql.warehouse.dir": folder / "warehouse",
    }
    command += [word for name, value in settings.items() for word in ("--conf", f"{name}={value}")]
    environment = os.environ | {"SPARK_LOCAL_IP": "127.0.0.1"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "spark-internal"], cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        until = time.monotonic() + 90
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < until, (folder / "log").read_text()[-3000:]
                time.sleep(0.1)
        yield process, f"sc://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a server for all tests."""
    with running_server(tmp_path_factory.mktemp("connect")) as (_, address):
        yield address


@pytest.fixture
def session(server, monkeypatch):
    """A session of the user."""
    from pyspark.sql import SparkSession

    monkeypatch.setenv(MODE, "1")  # the builder sets it for the rest of the process
    session = SparkSession.builder.remote(server).create()
    yield session
    session.stop()


OPTIONS = {"min_item_support": 3, "context": ("device",), "test_span": "20%", "validation_span": "0d"}


@pytest.fixture(scope="module")
def log():
    size = 240
    return pa.table(
        {
            "session": [f"s{index // 4}" for index in range(size)],
            "user": [f"u{index // 20}" for index in range(size)],
            "item": [f"i{index * index % 17}" for index in range(size)],
            "time": [1_700_000_000 + 900 * (index // 4) + index % 4 // 2 for index in range(size)],
            "device": [("phone", None, "web")[index % 3] for index in range(size)],
        }
    )


@pytest.fixture(scope="module")
def by_duckdb(log, tmp_path_factory):
    folder = tmp_path_factory.mktemp("duckdb") / "out"
    return result(folder, prepare(log, folder, **OPTIONS))


@pytest.mark.slow
def test_a_server_prepares_the_same_from_parquet(server, log, by_duckdb, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")  # without Java
    monkeypatch.delenv("JAVA_HOME", raising=False)
    pq.write_table(log.slice(0, 100), tmp_path / "a.parquet")
    pq.write_table(log.slice(100), tmp_path / "b.parquet")
    given = {"engine": "spark", "spark_master": server, "spark_conf": {"spark.sql.shuffle.partitions": 2}}
    info = prepare(tmp_path / "*.parquet", tmp_path / "out", **given, **OPTIONS)
    assert result(tmp_path / "out", info) == by_duckdb
    assert MODE not in os.environ


@pytest.mark.slow
def test_a_server_prepares_the_same_from_csv_on_the_command_line(server, log, tmp_path):
    pyarrow.csv.write_csv(log, tmp_path / "log.csv")
    words = ["prepare", str(tmp_path / "log.csv"), "--context", "device", "--min-item-support", "3"]
    words += ["--test-span", "20%", "--validation-span", "20%", "--out"]
    assert main([*words, str(tmp_path / "duckdb")]) == 0
    assert main([*words, str(tmp_path / "spark"), "--engine", "spark", "--spark-master", server]) == 0
    by_duckdb, by_spark = (
        result(folder, json.loads((folder / "dataset.json").read_text()))
        for folder in (tmp_path / "duckdb", tmp_path / "spark")
    )
    assert by_spark == by_duckdb


@pytest.mark.slow
def test_a_server_that_dies(log, tmp_path, tmp_path_factory, monkeypatch):
    monkeypatch.setattr(spark_connect, "LATER", 1)  # retries, else they take two minutes
    pq.write_table(log, tmp_path / "log.parquet")
    with (
        running_server(tmp_path_factory.mktemp("dying")) as (process, address),
        pytest.raises(InputError, match=f"spark_master='{address}': the server of Spark Connect no longer answers"),
    ):
        prepare(
            tmp_path / "log.parquet",
            tmp_path / "out",
            engine="spark",
            spark_master=address,
            progress=lambda step, _: process.kill() if step == "duplicate rows" else None,
            **OPTIONS,
        )
    assert [path.name for path in tmp_path.iterdir()] == ["log.parquet"]


@pytest.mark.slow
def test_a_running_session_is_used_and_left_alone(session, log, by_duckdb, tmp_path):
    session.conf.set("spark.sql.ansi.enabled", "false")
    info = prepare(session.createDataFrame(log), tmp_path / "out", engine="spark", **OPTIONS)
    assert result(tmp_path / "out", info) == by_duckdb
    assert session.conf.get("spark.sql.ansi.enabled") == "false" and session.range(3).count() == 3
    assert not session.catalog.listTables() and not session.catalog.listTables("global_temp")
    with pytest.raises(InputError, match="a Spark session is running in this process"):
        prepare(session.createDataFrame(log), tmp_path / "x", engine="spark", spark_master="sc://127.0.0.1")


def test_a_setting_that_only_the_server_can_take(server, tmp_path):
    conf = {"spark.executor.memory": "8g"}
    with pytest.raises(InputError, match=r"spark_conf: spark.executor.memory: the server .* Cannot modify the value"):
        prepare("never-read.csv", tmp_path / "out", engine="spark", spark_master=server, spark_conf=conf)
    assert not list(tmp_path.iterdir())
    assert MODE not in os.environ


def test_a_port_without_a_server(tmp_path):
    skip_without_spark()
    # Closes every connection, as a server that does not speak gRPC.
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        master = f"sc://127.0.0.1:{other.server_address[1]}"
        with pytest.raises(InputError, match=f"spark_master='{master}': no server of Spark Connect answers there"):
            prepare("never-read.csv", tmp_path / "out", engine="spark", spark_master=master)
        other.shutdown()
    assert not list(tmp_path.iterdir())
