"""Atomic output: folders and files are written beside their destination and moved there when complete."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from tfrecsession.errors import InputError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_ROOM_WORDS = (*map(os.strerror, NO_ROOM), "database or disk is full", "disk I/O error")  # the last two: SQLite
SHORT = re.compile(r"\d+ requested and \d+ written")  # NumPy


@contextlib.contextmanager
def staged(out: str | os.PathLike, *, marker: str, overwrite: bool = False) -> Iterator[Path]:
    """Yields a new folder `OUT.partial-<pid>`, which is moved to `out` if the block succeeds and removed if it fails.

    Leftovers of killed processes for the same `out` are removed first. If the block fails, the parent folders created
    for `out` are removed too.

    Raises:
        InputError: `out` exists and may not be replaced (without `overwrite`, or when it is not empty and has no
            `marker`), cannot be written, or the disk is full.
    """
    out = Path(out).expanduser().absolute()
    _clear_leftovers(out)
    check_folder(out, marker=marker, overwrite=overwrite)
    partial = _sibling(out, "partial")
    created = [parent for parent in out.parents if not parent.exists()]
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        _remove_empty(created)
        raise InputError(f"{out}: cannot write there: {error.strerror}") from None
    try:
        with one_line(out):
            yield partial
            _publish(partial, out, marker, overwrite)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if not out.exists():
            _remove_empty(created)


def replace_file(path: str | os.PathLike, text: str) -> None:
    """Writes a file atomically: a reader gets the whole new text or the old one. Parent folders are created.

    Raises:
        InputError: the file cannot be written, or the disk is full. The old file stays.
    """
    path = Path(os.path.realpath(Path(path).expanduser()))  # a link stays a link
    created = [parent for parent in path.parents if not parent.exists()]
    special = path.exists() and not path.is_file()  # a device or a pipe
    partial = path if special else path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        if not special:
            os.replace(partial, path)
    except OSError as error:
        raise InputError(f"{path}: cannot write there: {said(error)}") from None
    finally:
        if not special:
            with contextlib.suppress(OSError):  # it was moved, or its folder could not be created
                partial.unlink()
            if not path.exists():
                _remove_empty(created)


def check_folder(out: str | os.PathLike, *, marker: str, overwrite: bool = False) -> None:
    """Checks before the work that `staged` will be able to write the folder `out`.

    Raises:
        InputError: `out` exists and may not be replaced, see `staged`, or cannot be written.
    """
    out = Path(out).expanduser().absolute()
    _check_replaceable(out, marker, overwrite)
    check_parents(out)


def check_file(path: str | os.PathLike) -> None:
    """Checks before the work that a file can be written: `path` is no folder, and the folder above it can be written.

    Raises:
        InputError: it cannot.
    """
    path = Path(path).expanduser().absolute()
    if path.is_dir():
        raise InputError(f"{path}: is a folder: name a file")
    if path.exists() and not os.access(path, os.W_OK):
        raise InputError(f"{path}: cannot write there: {os.strerror(errno.EACCES)}")
    if not path.exists() or path.is_file():
        check_parents(path)


def check_parents(path: str | os.PathLike) -> None:
    """Checks that a file or folder can be created at `path`: its nearest existing parent is a folder to write to."""
    path = Path(path).expanduser().absolute()
    parent = next(parent for parent in path.parents if os.path.lexists(parent))
    code = None
    if not parent.is_dir():
        code = errno.ENOTDIR
    elif not os.access(parent, os.W_OK | os.X_OK):
        code = errno.EACCES
    elif os.statvfs(parent).f_flag & os.ST_RDONLY if hasattr(os, "statvfs") else False:
        code = errno.EROFS
    if code:
        raise InputError(f"{path}: cannot write there: {parent}: {os.strerror(code)}")


def differences(before: dict, now: dict) -> str:
    """Describes how two sets of named values differ: "epochs: 6 there, 1 now; seed: 0 there, 3 now"; "" if equal.

    Values that are dicts are compared entry by entry. Tuples equal lists, as they are read back from JSON.
    """
    found = []
    for name in {**before, **now}:
        there, here = (_listed(values.get(name)) for values in (before, now))
        if isinstance(there, dict) and isinstance(here, dict):
            found += [text] if (text := differences(there, here)) else []
        elif there != here:
            found.append(f"{name}: {there!r} there, {here!r} now")
    return "; ".join(found)


@contextlib.contextmanager
def one_line(out: str | os.PathLike) -> Iterator[None]:
    """Turns the system's error about a full disk, while `out` is written, into an InputError of one line."""
    try:
        yield
    except Exception as error:  # DuckDB, SQLite and TensorFlow have errors of their own
        text = str(error)
        full = _is_full(error) if isinstance(error, OSError) else any(words in text for words in NO_ROOM_WORDS)
        if not full or (isinstance(error, InputError) and "cannot write there" in text):
            raise
        raise InputError(f"{out}: cannot write there: {said(error)}") from None


def said(error: Exception) -> str:
    """Returns the system's words for an error, with what to do where the disk is full."""
    if code := _no_room(error):
        return f"{os.strerror(code)}: make room and run it again"
    return getattr(error, "strerror", None) or str(error).partition("\n")[0]


def _is_full(error: OSError) -> bool:
    return error.errno in NO_ROOM or (error.errno is None and _no_room(error) is not None)


def _no_room(error: Exception) -> int | None:
    """Returns the system's number of the error that there was no room; None for another error.

    HDF5, NumPy, DuckDB and SQLite give the system's words or their own, and no number.
    """
    if getattr(error, "errno", None) in NO_ROOM:
        return error.errno
    text = str(error)
    if code := next((code for code in NO_ROOM if os.strerror(code) in text), None):
        return code
    return errno.ENOSPC if SHORT.search(text) or any(words in text for words in NO_ROOM_WORDS) else None


def _listed(value):
    return list(value) if isinstance(value, tuple) else value


def _remove_empty(folders: list[Path]) -> None:
    """Removes folders that were created for nothing, the innermost first."""
    with contextlib.suppress(OSError):  # another process may have written there meanwhile
        for folder in folders:
            folder.rmdir()


def _check_replaceable(out: Path, marker: str, overwrite: bool) -> None:
    if not out.exists() and not out.is_symlink():
        return
    if not out.is_dir() or out.is_symlink():
        raise InputError(f"{out}: exists and is not a folder: choose another name for out=")
    if not overwrite:
        raise InputError(f"{out}: exists already: choose another name, or replace it with overwrite=True")
    if any(out.iterdir()) and not (out / marker).exists():
        raise InputError(f"{out}: must not be overwritten (it has no {marker}): choose another name for out=")


def _publish(partial: Path, out: Path, marker: str, overwrite: bool) -> None:
    _check_replaceable(out, marker, overwrite)
    if not out.exists():
        os.replace(partial, out)
        return
    aside = _sibling(out, "replaced")
    os.replace(out, aside)
    os.replace(partial, out)
    shutil.rmtree(aside)


def _clear_leftovers(out: Path) -> None:
    """Removes staging folders of ended processes, and restores a folder that one moved aside but did not replace."""
    for kind in ("replaced", "partial"):
        for leftover in out.parent.glob(f"{glob.escape(out.name)}.{kind}-*"):
            if _running(leftover.name.rpartition("-")[2]):
                continue
            if kind == "replaced" and not out.exists():
                os.replace(leftover, out)
            else:
                shutil.rmtree(leftover, ignore_errors=True)


def _sibling(out: Path, kind: str) -> Path:
    return out.with_name(f"{out.name}.{kind}-{os.getpid()}")


def _running(pid: str) -> bool:
    """Returns whether another process has this id. Our own id does not count: containers reuse the same process ids."""
    if not pid.isdigit():
        return True
    if int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
