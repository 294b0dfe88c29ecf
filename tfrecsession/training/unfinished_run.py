"""The folder of an unfinished training: what it needs to resume, until its run folder exists."""

from __future__ import annotations

import contextlib
import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from tfrecsession.errors import InputError
from tfrecsession.file_lock import lock
from tfrecsession.staging import replace_file
from tfrecsession.training import snapshot

REFIT = "refit"  # folder of the checkpoints of the second fit, on train and validation


@contextlib.contextmanager
def unfinished(out: str | Path, afresh: bool = False) -> Iterator[Path]:
    """Creates the folder `OUT.unfinished` and locks it for this process.

    The folder is removed when the block ends well, or when it has no checkpoint. Otherwise the next training into `out`
    finds it. `OUT.unfinished/run` holds the name of the training, which its run folder has too (`name_of`). So a run is
    known to be finished even if its process was killed before it removed this folder.

    Args:
        out: the run folder of the training.
        afresh: whether to discard earlier checkpoints.

    Raises:
        InputError: another process trains into `out`, or the folder cannot be written.
    """
    folder = folder_of(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock_file = open(folder / "lock", "w")  # noqa: SIM115, held as long as the block runs
    except OSError as error:
        raise InputError(f"{out}: cannot write there: {error.strerror}") from None
    with lock_file:
        if not lock(lock_file):
            raise InputError(f"{out}: another process is training into it; choose another folder, or wait")
        if afresh or _finished(Path(out).expanduser(), folder):
            for number in snapshot.numbers(folder):
                shutil.rmtree(folder / f"{snapshot.NAME}{number}")
            shutil.rmtree(folder / REFIT, ignore_errors=True)
        ended = False
        try:
            if not snapshot.numbers(folder):
                replace_file(folder / "run", uuid.uuid4().hex)
            yield folder
            ended = True
        finally:
            if ended or not snapshot.numbers(folder):
                shutil.rmtree(folder, ignore_errors=True)


def remove_if_finished(out: str | Path) -> None:
    """Removes `OUT.unfinished` where its training has ended, but was killed before it could remove the folder."""
    if _finished(Path(out).expanduser(), folder_of(out)):
        with unfinished(out):
            pass


def folder_of(out: str | Path) -> Path:
    out = Path(out).expanduser().absolute()
    return out.with_name(f"{out.name}.unfinished")


def name_of(folder: Path) -> str:
    """Returns the name of the training that this folder belongs to."""
    return (folder / "run").read_text()


def _finished(out: Path, folder: Path) -> bool:
    try:
        return json.loads((out / "run.json").read_text()).get("name") == name_of(folder)
    except (OSError, ValueError):
        return False
