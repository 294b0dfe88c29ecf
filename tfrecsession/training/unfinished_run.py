"""Where a training keeps what it needs to go on, until its run folder is there."""

from __future__ import annotations

import contextlib
import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from tfrecsession.errors import InputError
from tfrecsession.training import snapshot


@contextlib.contextmanager
def unfinished(out: str | Path, afresh: bool = False) -> Iterator[Path]:
    """The folder `OUT.unfinished`, for this process alone. It goes when the block ends well, and where nothing in it
    is worth keeping; otherwise the next training into `out` finds it.

    `OUT.unfinished/run` holds a name of the training, which its run folder is to have too (`name_of`): so a run that
    was killed after it was there and before this folder was gone is known to be finished.

    Args:
        out: the run folder to be.
        afresh: forget what is there.

    Raises:
        InputError: another process is at it, or the folder cannot be written.
    """
    folder = folder_of(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / "lock", "w")  # noqa: SIM115, held as long as the block runs
    except OSError as error:
        raise InputError(f"{out}: cannot write there: {error.strerror}") from None
    with lock:
        if not _ours(lock):
            raise InputError(f"{out}: another process is training into it; choose another folder, or wait")
        if afresh or _finished(Path(out).expanduser(), folder):
            for number in snapshot.numbers(folder):
                shutil.rmtree(folder / f"{snapshot.NAME}{number}")
        if not snapshot.numbers(folder):
            (folder / "run").write_text(uuid.uuid4().hex)
        ended = False
        try:
            yield folder
            ended = True
        finally:
            if ended or not snapshot.numbers(folder):
                shutil.rmtree(folder, ignore_errors=True)


def folder_of(out: str | Path) -> Path:
    out = Path(out).expanduser().absolute()
    return out.with_name(f"{out.name}.unfinished")


def name_of(folder: Path) -> str:
    """The name of the training that keeps itself in this folder."""
    return (folder / "run").read_text()


def _finished(out: Path, folder: Path) -> bool:
    try:
        return json.loads((out / "run.json").read_text()).get("name") == name_of(folder)
    except (OSError, ValueError):
        return False


def _ours(lock) -> bool:
    """Whether no other process holds it; the system lets go of it when a process dies, however it dies."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
