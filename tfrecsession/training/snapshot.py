"""Snapshots of a training: folders that appear whole or not at all.

FOLDER/checkpoint-12/state.json      the state, and the position of each array
FOLDER/checkpoint-12/variables.bin   the arrays, end to end

The number rises. A new checkpoint is written beside the last one, forced to disk and renamed; only then is the last one
removed. So the checkpoint with the highest number is complete, whenever the process or the machine dies.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np

from tfrecsession.errors import InputError

NAME = "checkpoint-"
PARTIAL = ".partial"


def write(folder: Path, state: dict, arrays) -> Path:
    """Writes the next checkpoint, and removes the ones before it.

    Args:
        folder: the checkpoints of one training; created if it does not exist.
        state: JSON values, by name.
        arrays: an iterable of arrays, read one at a time.

    Raises:
        OSError: the checkpoint cannot be written. Earlier ones stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = numbers(folder)
    checkpoint = folder / f"{NAME}{max(before, default=0) + 1}"
    partial = checkpoint.with_name(checkpoint.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        table = []
        with open(partial / "variables.bin", "wb") as file:
            for array in arrays:
                table.append({"shape": list(array.shape), "dtype": array.dtype.name, "at": file.tell()})
                file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            _to_disk(file)
            size = file.tell()
        with open(partial / "state.json", "w", encoding="utf-8") as file:
            json.dump({**state, "variables": table, "bytes": size}, file)
            _to_disk(file)
        _folder_to_disk(partial)
        os.replace(partial, checkpoint)
        _folder_to_disk(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    for number in before:
        shutil.rmtree(folder / f"{NAME}{number}", ignore_errors=True)
    return checkpoint


def read(folder: Path) -> tuple[dict, Path] | None:
    """Returns the state of the last checkpoint and its folder, or None if there is none; removes half-written ones.

    Raises:
        InputError: the checkpoint is incomplete.
    """
    for left in folder.glob(f"{NAME}*{PARTIAL}"):
        shutil.rmtree(left, ignore_errors=True)
    found = numbers(folder)
    if not found:
        return None
    checkpoint = folder / f"{NAME}{max(found)}"
    try:
        state = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))
        size = (checkpoint / "variables.bin").stat().st_size
    except (OSError, ValueError) as error:
        raise InputError(
            f"{checkpoint}: this checkpoint cannot be read ({error}); remove {folder} to start afresh"
        ) from None
    if size != state["bytes"]:
        raise InputError(
            f"{checkpoint}: variables.bin has {size:,} of {state['bytes']:,} bytes; copy it again, or remove "
            f"{folder} to start afresh"
        )
    return state, checkpoint


def read_arrays(checkpoint: Path, table: list[dict]):
    """Yields the arrays of a checkpoint, one at a time."""
    with open(checkpoint / "variables.bin", "rb") as file:
        for entry in table:
            file.seek(entry["at"])
            dtype = np.dtype(entry["dtype"])
            # own memory, not a map of the file: TensorFlow may keep this buffer as that of the variable
            yield np.fromfile(file, dtype, int(np.prod(entry["shape"], dtype=np.int64))).reshape(entry["shape"])


def numbers(folder: Path) -> list[int]:
    """Returns the numbers of the complete checkpoints in a folder, rising."""
    names = [path.name.removeprefix(NAME) for path in folder.glob(f"{NAME}*")]
    return sorted(int(name) for name in names if name.isdecimal())


def _to_disk(file) -> None:
    file.flush()
    os.fsync(file.fileno())


def _folder_to_disk(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
