"""Atomic output: folders and files are written beside their destination and moved there when complete."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from tfrecsession.errors import InputError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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
    _check_replaceable(out, marker, overwrite)
    partial = _sibling(out, "partial")
    created = [parent for parent in out.parents if not parent.exists()]
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"{out}: cannot write there: {error.strerror}") from None
    try:
        yield partial
        _publish(partial, out, marker, overwrite)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise InputError(f"{out}: cannot write there: {error.strerror}: make room and run it again") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if not out.exists():
            with contextlib.suppress(OSError):  # another process may have written there meanwhile
                for parent in created:
                    parent.rmdir()


def replace_file(path: str | os.PathLike, text: str) -> None:
    """Writes a file atomically: a reader gets the whole new text or the old one."""
    path = Path(path)
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


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
