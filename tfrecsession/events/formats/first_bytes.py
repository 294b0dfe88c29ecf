"""What a file begins with, against what its name says."""

from __future__ import annotations

import codecs
import gzip
from pathlib import Path

from tfrecsession.errors import InputError
from tfrecsession.events.raw_log import Format

LENGTH = 4096
LOOKS = {
    b"PAR1": " like Parquet",
    b"\x1f\x8b": " like gzip (name it .gz)",
    b"PK\x03\x04": " like a zip archive or a workbook",
    b"{\n": " like indented JSON (write one object per line)",
    b"{": " like JSON Lines",
    b"[": " like a JSON array (write one object per line)",
}


def check_first_bytes(path: Path, format: Format) -> None:
    """InputError for an empty file, and for one that belies its format, before an engine tries to make sense of it."""
    try:
        head = _head(path)
    except (OSError, EOFError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    if not head:
        raise InputError(f"{path}: the file is empty")
    if not format.begins(head):
        raise _belied(path, format.expected, head)


def is_text(head: bytes) -> bool:
    """Whether bytes begin a text in UTF-8; the last character may be cut off."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return "\x00" not in text and not text.startswith("PAR1")


def is_json_lines(head: bytes) -> bool:
    """Whether a text begins with a line that holds an object, and more of it than the opening brace."""
    first_line = head.removeprefix(codecs.BOM_UTF8).lstrip().partition(b"\n")[0].strip()
    return is_text(head) and first_line.startswith(b"{") and first_line != b"{"


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(LENGTH)
    if path.suffix.lower() != ".gz" or not head:
        return head
    if not head.startswith(b"\x1f\x8b"):
        raise _belied(path, "a gzip file", head)
    with gzip.open(path) as file:
        return file.read(LENGTH)


def _belied(path: Path, expected: str, head: bytes) -> InputError:
    look = next((say for magic, say in LOOKS.items() if head.startswith(magic)), "")
    return InputError(f"{path}: not {expected}; it begins{look}: {head[:24]!r}")
