"""Reader of Parquet: one file, or a folder of files as parallel engines write it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfrecsession.events.raw_log import ROW, Files, Format, RawLog, reading, register
from tfrecsession.events.schema import Columns


def open_parquet(files: Files, columns: Columns, connection) -> RawLog:
    """Numbers the rows by file and position, which unlike a running count lets DuckDB read on all cores."""
    ends = np.cumsum([_rows(file) for file in files.parts])
    paths = [os.path.abspath(file) for file in files.parts]
    starts = register(pa.table({"__file__": paths, "__start__": np.r_[0, ends[:-1]]}), connection)
    table = connection.read_parquet(
        files.patterns,
        file_row_number=True,
        filename="__file__",
        binary_as_string=True,
        union_by_name=len(files.parts) > 1,
    )
    table = table.join(starts, "__file__")
    table = table.mutate((table.__start__ + table.file_row_number + 1).name(ROW))
    return RawLog(table.drop("__file__", "__start__", "file_row_number"), files.source, connection)


def _rows(file: Path) -> int:
    with reading(str(file)):
        return pq.read_metadata(file).num_rows


PARQUET = Format("parquet", (".parquet",), "a Parquet file", open_parquet, lambda head: head.startswith(b"PAR1"))
