"""What a file begins with, against what its name says."""

from __future__ import annotations

import codecs
import gzip
from pathlib import Path

from tfrecsession.errors import InputError

EXPECTED = {
    "csv": "a CSV file in UTF-8",
    "tsv": "a tab-separated file in UTF-8",
    "jsonl": "JSON Lines (one object per line) in UTF-8",
    "parquet": "a Parquet file",
    "txt": "a text file in UTF-8 with a session per line",
}
LOOKS = {
    b"PAR1": " like Parquet",
    b"\x1f\x8b": " like gzip (name it .gz)",
    b"PK\x03\x04": " like a zip archive or a workbook",
    b"{\n": " like indented JSON (write one object per line)",
    b"{": " like JSON Lines",
    b"[": " like a JSON array (write one object per line)",
}


def check_first_bytes(path: Path, format: str, compressed: bool) -> None:
    """InputError for an empty file, and for one that belies its format, before an engine tries to make sense of it."""
    try:
        head = _head(path, compressed)
    except (OSError, EOFError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    if not head:
        raise InputError(f"{path}: the file is empty")
    if not _looks_right(head, format):
        raise _belied(path, EXPECTED[format], head)


def _head(path: Path, compressed: bool) -> bytes:
    with path.open("rb") as file:
        head = file.read(4096)
    if not compressed or not head:
        return head
    if not head.startswith(b"\x1f\x8b"):
        raise _belied(path, "a gzip file", head)
    with gzip.open(path) as file:
        return file.read(4096)


def _looks_right(head: bytes, format: str) -> bool:
    if format == "parquet":
        return head.startswith(b"PAR1")
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError:
        return False
    first_line = text.lstrip().partition("\n")[0].strip()
    is_json = first_line.startswith("{") and first_line != "{"
    right = {"jsonl": is_json, "txt": True}.get(format, not is_json)
    return right and "\x00" not in text and not head.startswith(b"PAR1")


def _belied(path: Path, expected: str, head: bytes) -> InputError:
    look = next((say for magic, say in LOOKS.items() if head.startswith(magic)), "")
    return InputError(f"{path}: not {expected}; it begins{look}: {head[:24]!r}")
