"""Checks of a file's first bytes against its format."""

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
    """Raises InputError for a file that is empty or does not begin like its format, before an engine reads it."""
    try:
        head = _head(path)
    except (OSError, EOFError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    if not head:
        raise InputError(f"{path}: the file is empty")
    if not format.begins(head):
        raise _mismatch(path, format.expected, head)


def is_text(head: bytes) -> bool:
    """Returns whether the bytes begin a UTF-8 text; the last character may be cut off."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return "\x00" not in text and not text.startswith("PAR1")


def is_json_lines(head: bytes) -> bool:
    """Returns whether the first line begins an object and holds more than its opening brace."""
    first_line = head.removeprefix(codecs.BOM_UTF8).lstrip().partition(b"\n")[0].strip()
    return is_text(head) and first_line.startswith(b"{") and first_line != b"{"


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(LENGTH)
    if path.suffix.lower() != ".gz" or not head:
        return head
    if not head.startswith(b"\x1f\x8b"):
        raise _mismatch(path, "a gzip file", head)
    with gzip.open(path) as file:
        return file.read(LENGTH)


def _mismatch(path: Path, expected: str, head: bytes) -> InputError:
    look = next((text for magic, text in LOOKS.items() if head.startswith(magic)), "")
    return InputError(f"{path}: not {expected}; it begins{look}: {head[:24]!r}")
