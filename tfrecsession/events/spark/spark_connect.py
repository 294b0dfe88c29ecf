"""Sessions on a server of Spark Connect: this process is a client, without Java.

The server's executors and this process read and write the same files, so both must see them at the same paths.
"""

from __future__ import annotations

import contextlib
import copy
import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tfrecsession.errors import InputError

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

PORT = 15002  # Spark's default
MODE = "SPARK_CONNECT_MODE_ENABLED"  # where it is set, `pyspark.sql.functions` makes expressions for Spark Connect
AT_START, LATER = 3, 7  # retries of a call that does not reach the server: 1 s and 2 min. Spark's default is 10 min


def is_connect(session: Any) -> bool:
    return type(session).__module__.startswith("pyspark.sql.connect")


def without_token(master: str) -> str:
    """Returns the address without its parameters, for messages."""
    return master.partition(";")[0]


@contextlib.contextmanager
def connected(master: str, conf: Mapping[str, str]) -> Iterator[SparkSession]:
    """Yields a new session on the server at `master` (sc://host:port) with the settings `conf`, and ends it.

    Raises InputError if the server does not answer, refuses a setting, or is lost.
    """
    argument = f"spark_master={without_token(master)!r}"
    try:
        from pyspark.sql.connect.client import DefaultChannelBuilder
    except ImportError as error:
        raise InputError(f"{argument}: needs pip install 'tfrecsession[spark]' ({error})") from None
    try:
        builder = DefaultChannelBuilder(master)
    except Exception as error:  # PySpark's own types and ValueError
        raise InputError(f"{argument}: must be sc://host:port ({_reason(error)})") from None
    with _opened(builder, argument) as session:
        for name, value in conf.items():
            try:
                session.conf.set(name, value)
            except Exception as error:
                raise InputError(
                    f"spark_conf: {name}: the server of Spark Connect does not take it from a client: {_reason(error)}"
                ) from error
        yield session


@contextlib.contextmanager
def beside(session: SparkSession) -> Iterator[SparkSession]:
    """Yields a new session on the server of `session`, and ends it: neither sees the other's settings and names."""
    builder = copy.copy(session.client._builder)
    builder._params = {name: value for name, value in builder._params.items() if name != builder.PARAM_SESSION_ID}
    with _opened(builder, "spark=") as own:
        yield own


@contextlib.contextmanager
def _opened(builder: Any, argument: str) -> Iterator[SparkSession]:
    from pyspark.errors import RetriesExceeded
    from pyspark.sql.connect.client.retries import DefaultPolicy
    from pyspark.sql.connect.session import SparkSession

    session, version, mode = SparkSession(builder), None, os.environ.get(MODE)
    os.environ[MODE] = "1"
    session.client.set_retry_policies([DefaultPolicy(max_retries=AT_START)])
    try:
        try:
            version = session.version
        except Exception as error:
            raise InputError(f"{argument}: no server of Spark Connect answers there ({_reason(error)})") from error
        if int(version.split(".")[0]) < 4:
            raise InputError(f"{argument}: the server must have Spark 4.0, and has {version}")
        session.client.set_retry_policies([DefaultPolicy(max_retries=LATER)])
        yield session
    except Exception as error:
        if any(isinstance(raised, RetriesExceeded) for raised in (error, error.__cause__)) and version:
            raise InputError(f"{argument}: the server of Spark Connect no longer answers") from error
        raise
    finally:
        # Not `session.stop()`: where the server runs in this process, that ends it with all its sessions.
        session.client.set_retry_policies([DefaultPolicy(max_retries=0)])
        with contextlib.suppress(Exception):
            session.client.release_session()
        session.client.close()
        os.environ.pop(MODE)
        if mode is not None:
            os.environ[MODE] = mode


def _reason(error: Exception) -> str:
    """Returns the error of Spark in one line, without its class and the stack trace of the server."""
    text = re.split(r" SQLSTATE: |\n", re.split(r"\[[A-Z][A-Z_.]{4,}\] ", str(error))[-1])[0]
    return text.strip().removesuffix(".")[:300]
