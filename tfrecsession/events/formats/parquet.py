"""Reader of Parquet: one file, or a folder of files as parallel engines write it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfrecsession.errors import InputError
from tfrecsession.events.formats.first_bytes import check_first_bytes
from tfrecsession.events.raw_log import ROW, Format, RawLog, literally, reading, register
from tfrecsession.events.schema import Columns


def open_parquet(path: Path, columns: Columns, connection) -> RawLog:
    return _open_files([path], str(path), connection)


def open_parquet_folder(folder: Path, connection) -> RawLog:
    files = parquet_files(folder)
    for file in files:
        check_first_bytes(file, PARQUET)
    with reading(str(folder)):
        return _open_files(files, str(folder), connection)


def parquet_files(folder: Path) -> list[Path]:
    """Returns the files by name, including subfolders; names that begin with . or _ are not data."""
    files = sorted(
        file
        for file in folder.rglob("*.parquet")
        if not any(part[0] in "._" for part in file.relative_to(folder).parts)
    )
    if not files:
        raise InputError(f"{folder}: no *.parquet file in this folder; for another format give the path of one file")
    return files


def _open_files(files: list[Path], source: str, connection) -> RawLog:
    """Numbers the rows by file and position, which unlike a running count lets DuckDB read on all cores."""
    ends = np.cumsum([_rows(file) for file in files])
    paths = [os.path.abspath(file) for file in files]
    starts = register(pa.table({"__file__": paths, "__start__": np.r_[0, ends[:-1]]}), connection)
    table = connection.read_parquet(
        [literally(file) for file in files],
        file_row_number=True,
        filename="__file__",
        binary_as_string=True,
        union_by_name=len(files) > 1,
    )
    table = table.join(starts, "__file__")
    table = table.mutate((table.__start__ + table.file_row_number + 1).name(ROW))
    return RawLog(table.drop("__file__", "__start__", "file_row_number"), source, connection)


def _rows(file: Path) -> int:
    with reading(str(file)):
        return pq.read_metadata(file).num_rows


PARQUET = Format("parquet", (".parquet",), "a Parquet file", open_parquet, lambda head: head.startswith(b"PAR1"))
