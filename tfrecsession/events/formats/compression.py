"""Compressed text files: .gz and .zst, recognised by their names."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import IO

import pyarrow as pa

MAGIC = {".gz": b"\x1f\x8b", ".zst": b"\x28\xb5\x2f\xfd"}  # the first bytes of such files
KINDS = {".gz": "a gzip file", ".zst": "a Zstandard file"}


def inner_name(path: Path) -> Path:
    """Returns the path without the suffix of its compression: log.csv.gz becomes log.csv."""
    return path.with_suffix("") if path.suffix.lower() in MAGIC else path


def open_bytes(path: Path) -> IO[bytes]:
    """Opens a file to be read uncompressed."""
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return gzip.open(path)
    return io.BufferedReader(pa.input_stream(str(path), compression="zstd")) if suffix == ".zst" else path.open("rb")


def open_text(path: Path, encoding: str = "utf-8-sig") -> IO[str]:
    """Opens a file to be read uncompressed, as text with its own line ends."""
    return io.TextIOWrapper(open_bytes(path), encoding=encoding, newline="")
