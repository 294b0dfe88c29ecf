"""Results appear whole or not at all: they are written beside their place and moved there at the end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfrecsession.errors import InputError


@contextmanager
def staged(out: str | Path, *, marker: str, overwrite: bool = False) -> Iterator[Path]:
    """A folder to write into that becomes `out` when the block ends, and vanishes when it fails.

    Args:
        out: where the result is to be.
        marker: a file that tells our own results; a folder without it is never overwritten.
        overwrite: replace an earlier result, at the very end.

    Raises:
        InputError: `out` exists and may not be replaced.
    """
    out = Path(out)
    check_free(out, marker=marker, overwrite=overwrite)
    out.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(out)
    staging = out.with_name(f"{out.name}.partial-{os.getpid()}")
    staging.mkdir()
    try:
        yield staging
        if out.exists():
            old = out.with_name(f"{out.name}.partial-{os.getpid()}-old")
            out.rename(old)
            staging.rename(out)
            shutil.rmtree(old)
        else:
            staging.rename(out)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def check_free(out: str | Path, *, marker: str, overwrite: bool) -> None:
    """InputError where `out` is taken; said before the work, not after it."""
    out = Path(out)
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise InputError(f"{out} exists: say --overwrite to replace it, or choose another --out")
    if not (out / marker).exists():
        raise InputError(f"{out} is not ours to overwrite (it has no {marker}): choose another --out")


def _remove_abandoned(out: Path) -> None:
    """What a process left behind that was killed while it wrote `out`."""
    for staging in out.parent.glob(f"{out.name}.partial-*"):
        pid = staging.name.rsplit(".partial-", 1)[1].split("-")[0]
        if pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(staging, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
