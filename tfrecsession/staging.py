"""A folder appears whole or not at all: it is written beside its place and moved there at the end."""

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
    """A new folder `OUT.partial-<pid>` to write into, moved to `out` if the block ends well and removed if not.

    What a killed process left behind for the same `out` is cleared first. Raises InputError where `out` exists and may
    not be replaced (without `overwrite`, or when it is anything but a prepared data set or an empty folder), and where
    there is no room for it. If the block fails, folders made on the way to `out` are removed too.
    """
    out = Path(out).expanduser().absolute()
    _clear_leftovers(out)
    _check_replaceable(out, marker, overwrite)
    partial = _sibling(out, "partial")
    made = [parent for parent in out.parents if not parent.exists()]
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
        raise InputError(f"{out}: cannot write there: {error.strerror}: make room and say it again") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if not out.exists():
            with contextlib.suppress(OSError):  # of several processes another may have put something there
                for parent in made:
                    parent.rmdir()


def replace_file(path: str | os.PathLike, text: str) -> None:
    """Write a file that is read whole or as it was before."""
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
        raise InputError(f"{out}: exists and is not a folder: choose another name for --out")
    if not overwrite:
        raise InputError(f"{out}: exists already: choose another name, or replace it with --overwrite")
    if any(out.iterdir()) and not (out / marker).exists():
        raise InputError(f"{out}: is not ours to overwrite (it has no {marker}): choose another name for --out")


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
    """Remove the staging of processes that are gone; bring back what one had moved aside and not yet replaced."""
    for kind in ("replaced", "partial"):
        for left in out.parent.glob(f"{glob.escape(out.name)}.{kind}-*"):
            if _running(left.name.rpartition("-")[2]):
                continue
            if kind == "replaced" and not out.exists():
                os.replace(left, out)
            else:
                shutil.rmtree(left, ignore_errors=True)


def _sibling(out: Path, kind: str) -> Path:
    return out.with_name(f"{out.name}.{kind}-{os.getpid()}")


def _running(pid: str) -> bool:
    """Whether another process has this number. Our own is nobody else's: containers number their processes alike."""
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
