"""A standalone cluster on the loopback interface, a master and two workers, prepares the same data set as DuckDB."""

import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tests.sessions.test_spark import QUICK, result, skip_without_spark
from tfrecsession.cli import launch
from tfrecsession.errors import InputError
from tfrecsession.events.spark.spark_context import NO_EXECUTOR
from tfrecsession.sessions.prepare import prepare

JAVA = QUICK["spark.driver.extraJavaOptions"]
CONF = QUICK | {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.executor.memory": "500m",
    "spark.executor.extraJavaOptions": JAVA,
}


class Cluster:
    """A master and two workers with a core each, from the classes that PySpark brings, in processes of this test."""

    def __init__(self, folder):
        import pyspark

        self.folder, self.home, self.processes = folder, Path(pyspark.__file__).parent, []
        (self.port,) = launch.free_ports(1)
        self.url = f"spark://127.0.0.1:{self.port}"

    def start(self):
        self._start("master.Master", "--port", str(self.port))
        self._wait("I have been elected leader", 1)
        for index in range(2):
            folder = str(self.folder / str(index))
            self._start("worker.Worker", "--cores", "1", "--memory", "1g", "--work-dir", folder, self.url)
        self._wait("Registering worker", 2)

    def _start(self, name, *words):
        environment = os.environ | {
            "SPARK_HOME": str(self.home),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_DIRS": str(self.folder),
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_DAEMON_JAVA_OPTS": JAVA,
            "PYSPARK_PYTHON": "/no/python",  # executors need none
        }
        command = ["bash", str(self.home / "bin" / "spark-class"), f"org.apache.spark.deploy.{name}"]
        command += ["--host", "127.0.0.1", "--webui-port", "0", *words]
        with (self.folder / name).open("a") as log:
            self.processes.append(
                subprocess.Popen(
                    command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
                )
            )

    def _wait(self, line, count):
        """Waits until the master's log has a line `count` times."""
        until = time.monotonic() + 90
        while (log := (self.folder / "master.Master").read_text(errors="replace")).count(line) < count:
            assert self.processes[0].poll() is None and time.monotonic() < until, log[-3000:]
            time.sleep(0.1)

    def tasks(self, worker):
        """Returns how many tasks the executors of a worker have begun and ended."""
        text = "".join(log.read_text(errors="replace") for log in (self.folder / str(worker)).glob("*/*/stderr"))
        return len(re.findall("Running task", text)), len(re.findall("Finished task", text))

    def kill(self, worker):
        """Kills a worker and its executors, which are in its process group."""
        self._end(self.processes[1 + worker])

    def stop(self):
        for process in reversed(self.processes):
            if process.returncode is None:
                self._end(process)

    def _end(self, process):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def cluster(tmp_path_factory):
    skip_without_spark()
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_cluster_prepares_the_same(kind, cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("PYSPARK_PYTHON", "/no/python")
    size = 400
    log = pa.table(
        {
            "session": [f"s{index // 4}" for index in range(size)],
            "item": [f"i{index * index % 17}" for index in range(size)],
            "time": [1_700_000_000 + 900 * (index // 4) + index % 4 // 2 for index in range(size)],
        }
    )
    options = {"min_item_support": 3, "test_span": "20%", "validation_span": "20%" if kind == "csv" else "0d"}
    if kind == "csv":
        pyarrow.csv.write_csv(log, tmp_path / "log.csv")
    else:
        for part in range(4):  # so that both executors read
            pq.write_table(log.slice(100 * part, 100), tmp_path / f"{part}.parquet")
    source = tmp_path / f"*.{kind}"
    by_duckdb = prepare(source, tmp_path / "duckdb", **options)
    given = {"engine": "spark", "spark_master": cluster.url, "spark_conf": CONF, "memory": "600MB"}
    by_spark = prepare(source, tmp_path / "spark", **given, **options)
    assert by_spark["fingerprint"] == by_duckdb["fingerprint"]
    assert result(tmp_path / "spark", by_spark) == result(tmp_path / "duckdb", by_duckdb)
    assert min(cluster.tasks(0)[0], cluster.tasks(1)[0]) > 0


def prepare_and_kill(cluster, workers, source, out, conf):
    """Prepares on a cluster whose workers are killed while the first of them runs a task after the reading."""
    begun = threading.Event()

    def kill():
        begun.wait()
        while len(set(cluster.tasks(workers[0]))) == 1:
            time.sleep(0.01)
        for worker in workers:
            cluster.kill(worker)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    try:
        return prepare(
            source,
            out,
            engine="spark",
            spark_master=cluster.url,
            spark_conf=CONF | conf,
            memory="600MB",
            progress=lambda step, _: begun.set() if step == "duplicate rows" else None,
        )
    finally:
        assert begun.is_set()
        killer.join()


@pytest.mark.slow
def test_a_killed_worker_changes_nothing(cluster, tmp_path):
    source = "synthetic:items=500,sessions=60000,seed=3"
    by_duckdb = prepare(source, tmp_path / "duckdb")
    by_spark = prepare_and_kill(cluster, [1], source, tmp_path / "spark", {"spark.sql.codegen.wholeStage": "true"})
    began, ended = cluster.tasks(1)
    assert began > ended
    assert by_spark["fingerprint"] == by_duckdb["fingerprint"]
    assert result(tmp_path / "spark", by_spark) == result(tmp_path / "duckdb", by_duckdb)


@pytest.mark.slow
def test_a_cluster_without_workers_is_one_line(cluster, tmp_path):
    with pytest.raises(InputError, match=f"engine='spark' on {cluster.url}: no executor for 3 s") as raised:
        prepare_and_kill(cluster, [1, 0], "synthetic:items=60,sessions=5000", tmp_path / "out", {NO_EXECUTOR: 3})
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_seconds_without_an_executor_are_whole(cluster, tmp_path):
    given = {"engine": "spark", "spark_master": cluster.url, "spark_conf": CONF | {NO_EXECUTOR: "5min"}}
    with pytest.raises(InputError, match=f"spark_conf: {NO_EXECUTOR}=5min: must be whole seconds"):
        prepare("never-read.csv", tmp_path / "out", memory="600MB", **given)
    assert not list(tmp_path.iterdir())
