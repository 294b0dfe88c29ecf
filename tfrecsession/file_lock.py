"""A lock between processes, on an open file or folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from tfrecsession.errors import InputError


def lock(file) -> bool:
    """Locks an open file or folder, given as a file object or descriptor; returns False if another process holds it.

    The lock ends when the file is closed, or when the process dies. Systems without `flock` (Windows) lock nothing.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def locked_folder(out: Path, doing: str) -> Iterator[None]:
    """Creates a folder and locks it while the block runs; the lock ends with the process.

    Args:
        out: the folder.
        doing: the work of the other process, for the error, e.g. "tuning".

    Raises:
        InputError: the folder cannot be created, or another process has locked it.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = os.open(out, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"{out}: cannot write there: {error.strerror}") from None
    try:
        if not lock(folder):
            raise InputError(f"{out}: another process is {doing} there: wait for it, or choose another out=")
        yield
    finally:
        os.close(folder)
