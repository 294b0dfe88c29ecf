"""A training as it stands, in a folder that appears whole or not at all.

FOLDER/checkpoint-12/state.json      what a program wants to read, and where each array lies
FOLDER/checkpoint-12/variables.bin   the arrays, end to end

The number rises. A new checkpoint is written beside the last one, forced to disk, renamed, and only then the last one
goes: whenever the process or the machine dies, the highest number is whole.
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
    """Add the next checkpoint, and remove the ones before it.

    Args:
        folder: where the checkpoints of one training lie; made if need be.
        state: what JSON can say.
        arrays: an iterable of arrays, taken one at a time.

    Raises:
        OSError: it cannot be written. What was there before stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = numbers(folder)
    place = folder / f"{NAME}{max(before, default=0) + 1}"
    partial = place.with_name(place.name + PARTIAL)
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
        os.replace(partial, place)
        _folder_to_disk(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    for number in before:
        shutil.rmtree(folder / f"{NAME}{number}", ignore_errors=True)
    return place


def read(folder: Path) -> tuple[dict, Path] | None:
    """The state of the last checkpoint and its folder, or None where there is none. Clears what was half-written.

    Raises:
        InputError: the checkpoint is not whole.
    """
    for left in folder.glob(f"{NAME}*{PARTIAL}"):
        shutil.rmtree(left, ignore_errors=True)
    there = numbers(folder)
    if not there:
        return None
    place = folder / f"{NAME}{max(there)}"
    try:
        state = json.loads((place / "state.json").read_text(encoding="utf-8"))
        size = (place / "variables.bin").stat().st_size
    except (OSError, ValueError) as error:
        raise InputError(
            f"{place}: this checkpoint cannot be read ({error}); remove {folder} to start afresh"
        ) from None
    if size != state["bytes"]:
        raise InputError(
            f"{place}: variables.bin has {size:,} of {state['bytes']:,} bytes; copy it again, or remove {folder} to "
            "start afresh"
        )
    return state, place


def read_arrays(place: Path, table: list[dict]):
    """The arrays of a checkpoint, one at a time."""
    with open(place / "variables.bin", "rb") as file:
        for entry in table:
            file.seek(entry["at"])
            dtype = np.dtype(entry["dtype"])
            # owned memory, not a map of the file: TensorFlow may go on to use the very buffer for the variable
            yield np.fromfile(file, dtype, int(np.prod(entry["shape"], dtype=np.int64))).reshape(entry["shape"])


def numbers(folder: Path) -> list[int]:
    """Of the whole checkpoints in a folder."""
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
