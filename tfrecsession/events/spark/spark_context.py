"""Start and end of a Spark session: one-line errors for missing requirements, and no process left running."""

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
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfrecsession.errors import InputError
from tfrecsession.events.spark.spark_connect import PORT, beside, connected, is_connect, without_token

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

JAVA = 17  # oldest version for Spark 4
INSTALL_JAVA = (
    "`apt-get install openjdk-17-jre-headless` on Debian and Ubuntu, `conda install -c conda-forge openjdk=17` in "
    "conda; JAVA_HOME, if set, must point to it"
)
PATIENCE = 10.0  # seconds to wait for a connection to the master
NO_EXECUTOR = "spark.tfrecsession.noExecutorTimeout"  # seconds, 300 by default; among Spark's own settings
LOCAL = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.sql.shuffle.partitions": str(4 * (os.cpu_count() or 1)),
}


@dataclass(frozen=True)
class SparkSettings:
    """The user's settings of Spark.

    master: None is "local[*]", this machine; sc://host:port is a server of Spark Connect. conf: Spark's own settings.
    session: an existing one, left as it is.
    """

    master: str | None = None
    conf: Mapping[str, Any] | None = None
    session: SparkSession | None = None

    @property
    def first_given(self) -> str | None:
        """The argument name of the first setting that is given, or None."""
        settings = {"spark_master=": self.master, "spark_conf=": self.conf, "spark=": self.session}
        return next((argument for argument, value in settings.items() if value), None)


def check_spark(settings: SparkSettings) -> None:
    """Raises InputError if PySpark is missing or too old, or a setting is invalid."""
    try:
        import pyspark
    except ImportError as error:
        raise InputError(f"engine='spark': needs PySpark: pip install 'tfrecsession[spark]' ({error})") from None
    version = pyspark.__version__
    if int(version.split(".")[0]) < 4:
        raise InputError(f"engine='spark': needs PySpark 4.0, this is {version}: pip install 'tfrecsession[spark]'")
    if settings.conf is not None and not isinstance(settings.conf, Mapping):
        raise InputError('spark_conf: must be a dict, e.g. {"spark.executor.memory": "8g"}')
    if settings.session is not None and not hasattr(settings.session, "createDataFrame"):
        raise InputError(f"spark=: must be a SparkSession, not a {type(settings.session).__name__}")


@contextlib.contextmanager
def spark_session(settings: SparkSettings, sources: Sequence[Any], folder: Path, memory: str) -> Iterator[SparkSession]:
    """Yields a new session beside the given one, else that of one of the `sources`, else the active one.

    Neither sees the other's settings and names, and the other is left running. If there is none, starts Spark, or
    connects to a server of Spark Connect, and ends its processes afterwards. folder: for Spark's temporary files and
    its log. memory: of the JVM of a new local session, e.g. 4GB.

    Raises InputError if Java is missing, or the master is invalid, cannot be reached or gives no executor.
    """
    from pyspark.sql import SparkSession

    from tfrecsession.events.spark.sources import session_of

    running = settings.session or next(filter(None, map(session_of, sources)), None) or SparkSession.getActiveSession()
    if running is None:
        conf = {name: _text(value) for name, value in (settings.conf or {}).items()}
        master = settings.master or "local[*]"
        _check_reachable(master)
        remote = master.startswith("sc://")
        opened = connected(master, conf) if remote else _started(SparkSession.builder, master, conf, folder, memory)
        with opened as session:
            yield session
        return
    if settings.master or settings.conf:
        raise InputError(
            f"{settings.first_given}: a Spark session is running in this process and keeps its settings: stop it "
            "with `spark.stop()`, or leave the option out to use it"
        )
    with beside(running) if is_connect(running) else contextlib.nullcontext(running.newSession()) as session:
        yield session


@contextlib.contextmanager
def _started(builder: Any, master: str, conf: Mapping[str, str], folder: Path, memory: str) -> Iterator[SparkSession]:
    from pyspark import SparkContext

    _check_java()
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "spark.log"
    conf = {
        "spark.driver.memory": _megabytes(memory),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        **({"spark.local.dir": str(folder), **LOCAL} if master.startswith("local") else {}),
        **conf,
    }
    builder = builder.master(master).appName("tfrecsession prepare")
    for name, value in conf.items():
        builder = builder.config(name, value)
    had_gateway, on_interrupt = SparkContext._gateway is not None, signal.getsignal(signal.SIGINT)
    session = None
    try:
        with _standard_error_in(log):  # the JVM inherits it, so that all of Spark's output goes there
            try:
                session = builder.getOrCreate()
            except Exception as error:  # Java, Spark and Py4J raise different types
                raise InputError(_start_error(master, error, log)) from error
        with contextlib.nullcontext() if master.startswith("local") else _executors(session, master):
            yield session
    finally:
        if session is not None:
            with contextlib.suppress(Exception):  # the session itself may be broken
                session.stop()
        if not had_gateway:
            _end_gateway(SparkContext)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, on_interrupt)  # PySpark has installed its own


@contextlib.contextmanager
def _executors(session: SparkSession, master: str) -> Iterator[None]:
    """Cancels all jobs when some wait and the cluster has given no executor for a while. Spark would wait forever."""
    context = session.sparkContext
    given = session.conf.get(NO_EXECUTOR, "300")
    if not given.isdigit():
        raise InputError(f"spark_conf: {NO_EXECUTOR}={given}: must be whole seconds")
    patience = int(given)
    ended, cancelled = threading.Event(), threading.Event()

    def watch() -> None:
        since = None  # when jobs began to wait
        with contextlib.suppress(Exception):  # Spark has stopped
            while not ended.wait(1):
                alone = context._jsc.sc().getExecutorMemoryStatus().size() == 1  # the driver
                waits = alone and context.statusTracker().getActiveJobsIds()
                since = (since or time.monotonic()) if waits else None
                if since and time.monotonic() - since > patience:
                    cancelled.set()
                    context.cancelAllJobs()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    except Exception as error:
        if cancelled.is_set():
            raise InputError(
                f"engine='spark' on {master}: no executor for {patience} s, so the jobs were cancelled. The workers "
                "are lost or busy, have less memory or fewer cores than an executor (spark.executor.memory, "
                "spark.executor.cores), or fail to start one (see their logs). To wait longer: "
                f"spark_conf={{'{NO_EXECUTOR}': 3600}}"
            ) from error
        raise
    finally:
        ended.set()
        thread.join()


def _end_gateway(context: Any) -> None:
    """Ends the JVM, which PySpark would keep, with all its memory, until Python ends."""
    gateway, context._gateway, context._jvm = context._gateway, None, None
    if gateway is None:
        return
    with contextlib.suppress(Exception):
        gateway.shutdown()
    process = getattr(gateway, "proc", None)
    if process is not None:
        process.stdin.close()  # tells the JVM to end
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _check_java() -> None:
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if not java or not os.access(java, os.X_OK):
        reason = f"JAVA_HOME is {home}, and there is no bin/java in it" if home else "there is no `java` on the PATH"
        raise InputError(f"engine='spark': needs Java {JAVA}, and {reason}: {INSTALL_JAVA}")
    output = subprocess.run([java, "-version"], capture_output=True, text=True, errors="replace").stderr
    version = re.search(r'version "(?:1\.)?(\d+)', output)
    if version and int(version[1]) < JAVA:
        raise InputError(f"engine='spark': needs Java {JAVA} or later, and {java} is Java {version[1]}: {INSTALL_JAVA}")


def _check_reachable(master: str) -> None:
    """Checks that the master accepts connections. Spark itself would retry for a minute or forever."""
    shown = without_token(master)
    addresses = re.match(r"(?:spark|k8s|sc)://(?:https?://)?(.+?)/?$", shown)
    for address in addresses[1].split(",") if addresses else []:
        if master.startswith("sc://") and ":" not in address:
            address += f":{PORT}"
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit():
            raise InputError(f"spark_master={shown!r}: must have a port, e.g. spark://host:7077")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()
        except (OSError, OverflowError) as error:
            reason = str(error)
        else:
            return
    if addresses:
        raise InputError(f"spark_master={shown!r}: cannot be reached ({reason}): is it running, is this its address?")


@contextlib.contextmanager
def _standard_error_in(file: Path) -> Iterator[None]:
    """Redirects standard error, of this process and of those it starts meanwhile, to a file."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with file.open("ab") as opened:
            os.dup2(opened.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _start_error(master: str, error: Exception, log: Path) -> str:
    """Returns in one line why Spark did not start: the first error in its log, else the first line of `error`."""
    text = log.read_text(errors="replace")
    found = re.findall(
        r"^(?:Exception in thread \S+ |Caused by: )?[\w.$]+(?:Exception|Error): (.+)", text, re.MULTILINE
    )
    found = found or re.findall(r"^Error: (.+)", text, re.MULTILINE)  # from the JVM itself
    reason = " ".join((found[0] if found else str(error).strip().partition("\n")[0]).split())[:300]
    return f"engine='spark' on {master}: Spark did not start: {reason}"


def _megabytes(memory: str) -> str:
    """Converts a size such as 4GB or 500MiB to Spark's notation."""
    number, unit = re.fullmatch(r"([\d.]+) ?([KMGT])i?B", str(memory), re.IGNORECASE).groups()
    return f"{int(float(number) * 1024 ** ('KMGT'.index(unit.upper()) - 1))}m"


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
