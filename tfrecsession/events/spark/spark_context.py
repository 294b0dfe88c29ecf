"""How a Spark session begins and ends: what it needs, in one line where it is missing, and nothing left running."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfrecsession.errors import InputError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

JAVA = 17  # what Spark 4 asks for, at least
INSTALL_JAVA = (
    "`apt-get install openjdk-17-jre-headless` on Debian and Ubuntu, `conda install -c conda-forge openjdk=17` in "
    "conda; JAVA_HOME, where it is set, must point to it"
)
PATIENCE = 10.0  # seconds until a master must have taken a connection
LOCAL = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.sql.shuffle.partitions": str(4 * (os.cpu_count() or 1)),
}


@dataclass(frozen=True)
class SparkSettings:
    """What a user says about Spark. master: None is "local[*]", this machine. conf: Spark's own settings. session: one
    that is there already, which is used and left as it is."""

    master: str | None = None
    conf: Mapping[str, Any] | None = None
    session: SparkSession | None = None

    @property
    def said(self) -> str | None:
        """The first of them that was said at all, by the name of its argument."""
        said = {"--spark-master": self.master, "--spark-conf": self.conf, "spark=": self.session}
        return next((argument for argument, value in said.items() if value), None)


def check_spark(settings: SparkSettings) -> None:
    """InputError where PySpark is missing, or the settings cannot be meant."""
    try:
        import pyspark
    except ImportError as error:
        raise InputError(f"--engine spark: needs PySpark: pip install 'tfrecsession[spark]' ({error})") from None
    version = pyspark.__version__
    if int(version.split(".")[0]) < 4:
        raise InputError(f"--engine spark: needs PySpark 4.0, this is {version}: pip install 'tfrecsession[spark]'")
    if settings.conf is not None and not isinstance(settings.conf, Mapping):
        raise InputError('spark_conf: write it as a dict, as {"spark.executor.memory": "8g"}')
    if type(settings.session).__module__.startswith("pyspark.sql.connect"):
        raise InputError("spark=: a session of Spark Connect cannot be used: give a classic SparkSession")
    if settings.session is not None and not hasattr(settings.session, "newSession"):
        raise InputError(f"spark=: a SparkSession is wanted, not a {type(settings.session).__name__}")


@contextlib.contextmanager
def spark_session(settings: SparkSettings, sources: Sequence[Any], folder: Path, memory: str) -> Iterator[SparkSession]:
    """The session that was given, or that one of the `sources` lives on, or that is active in this process, left
    running at the end; else a new one, whose processes are gone at the end.

    folder: for what Spark puts aside, and for its log. memory: of the JVM of a new local session, as 4GB.

    Raises InputError where Java is missing, or the master cannot be reached or understood.
    """
    from pyspark.sql import SparkSession

    from tfrecsession.events.spark.sources import session_of

    running = settings.session or next(filter(None, map(session_of, sources)), None) or SparkSession.getActiveSession()
    if running is None:
        yield from _started(SparkSession.builder, settings, folder, memory)
        return
    if settings.master or settings.conf:
        raise InputError(
            f"{settings.said}: a Spark session is running in this process, which keeps its settings: stop it with "
            "`spark.stop()`, or leave the option out to use it"
        )
    yield running


def _started(builder: Any, settings: SparkSettings, folder: Path, memory: str) -> Iterator[SparkSession]:
    from pyspark import SparkContext

    master = settings.master or "local[*]"
    _check_java()
    _check_reachable(master)
    folder.mkdir(parents=True, exist_ok=True)
    said = folder / "spark.log"
    conf = {
        "spark.driver.memory": _megabytes(memory),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        **({"spark.local.dir": str(folder), **LOCAL} if master.startswith("local") else {}),
        **{name: _text(value) for name, value in (settings.conf or {}).items()},
    }
    builder = builder.master(master).appName("tfrecsession prepare")
    for name, value in conf.items():
        builder = builder.config(name, value)
    had_gateway, on_interrupt = SparkContext._gateway is not None, signal.getsignal(signal.SIGINT)
    session = None
    try:
        with _standard_error_in(said):  # the JVM inherits it, with all that Spark says from then on
            try:
                session = builder.getOrCreate()
            except Exception as error:  # whatever Java, Spark or Py4J make of it
                raise InputError(_refused(master, error, said)) from error
        yield session
    finally:
        if session is not None:
            with contextlib.suppress(Exception):  # it may be what broke
                session.stop()
        if not had_gateway:
            _end_gateway(SparkContext)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, on_interrupt)  # PySpark puts its own there


def _end_gateway(context: Any) -> None:
    """End the JVM that PySpark would keep until Python ends, with all the memory that it holds."""
    gateway, context._gateway, context._jvm = context._gateway, None, None
    if gateway is None:
        return
    with contextlib.suppress(Exception):
        gateway.shutdown()
    process = getattr(gateway, "proc", None)
    if process is not None:
        process.stdin.close()  # the JVM's sign to end
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _check_java() -> None:
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if not java or not os.access(java, os.X_OK):
        place = f"JAVA_HOME is {home}, and there is no bin/java in it" if home else "there is no `java` on the PATH"
        raise InputError(f"--engine spark: needs Java {JAVA}, and {place}: {INSTALL_JAVA}")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, errors="replace").stderr
    version = re.search(r'version "(?:1\.)?(\d+)', said)
    if version and int(version[1]) < JAVA:
        raise InputError(f"--engine spark: needs Java {JAVA} or later, and {java} is Java {version[1]}: {INSTALL_JAVA}")


def _check_reachable(master: str) -> None:
    """Spark itself would try for a minute or for ever."""
    address = re.match(r"(?:spark|k8s)://(?:https?://)?(.+)$", master)
    for place in address[1].split(",") if address else []:
        host, _, port = place.rpartition(":")
        if not host or not port.isdigit():
            raise InputError(f"--spark-master {master}: write it with its port, as spark://host:7077")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()
        except (OSError, OverflowError) as error:
            reason = str(error)
        else:
            return
    if address:
        raise InputError(f"--spark-master {master}: cannot be reached ({reason}): is it running, is this its address?")


@contextlib.contextmanager
def _standard_error_in(file: Path) -> Iterator[None]:
    """Let what this process and those that it starts meanwhile say on standard error go to a file."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with file.open("ab") as opened:
            os.dup2(opened.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _refused(master: str, error: Exception, log: Path) -> str:
    """Why there is no session, in one line: what Java said last, or the error's own first line."""
    text = log.read_text(errors="replace")
    found = re.findall(
        r"^(?:Exception in thread \S+ |Caused by: )?[\w.$]+(?:Exception|Error): (.+)", text, re.MULTILINE
    )
    found = found or re.findall(r"^Error: (.+)", text, re.MULTILINE)  # of the JVM itself
    reason = " ".join((found[0] if found else str(error).strip().partition("\n")[0]).split())[:300]
    return f"--engine spark on {master}: Spark did not start: {reason}"


def _megabytes(memory: str) -> str:
    """4GB, 500MiB -> as Spark writes it."""
    number, unit = re.fullmatch(r"([\d.]+) ?([KMGT])i?B", str(memory), re.IGNORECASE).groups()
    return f"{int(float(number) * 1024 ** ('KMGT'.index(unit.upper()) - 1))}m"


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
