"""Checks of a file's first bytes against its format."""

from __future__ import annotations

import codecs
from pathlib import Path

from tfrecsession.errors import InputError
from tfrecsession.events.formats.compression import KINDS, MAGIC, open_bytes
from tfrecsession.events.raw_log import Format

LENGTH = 4096
LOOKS = {
    b"PAR1": " like Parquet",
    b"\x1f\x8b": " like gzip (name it .gz)",
    b"\x28\xb5\x2f\xfd": " like Zstandard (name it .zst)",
    b"\xff\xfe": " like UTF-16 (give encoding='utf-16')",
    b"\xfe\xff": " like UTF-16 (give encoding='utf-16')",
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
    suffix = path.suffix.lower()
    if suffix not in MAGIC or not head:
        return head
    if not head.startswith(MAGIC[suffix]):
        raise _mismatch(path, KINDS[suffix], head)
    with open_bytes(path) as file:
        return file.read(LENGTH)


def _mismatch(path: Path, expected: str, head: bytes) -> InputError:
    look = next((text for magic, text in LOOKS.items() if head.startswith(magic)), "")
    if not look and "UTF-8" in expected and (line := _line_in_another_encoding(head)):
        return InputError(
            f"{path}: not {expected}: {line}; give its encoding, e.g. encoding='latin-1' or encoding='cp1252'"
        )
    return InputError(f"{path}: not {expected}; it begins{look}: {head[:24]!r}")


def _line_in_another_encoding(head: bytes) -> str:
    """Returns the number and the text of the first line that is not UTF-8; "" if the bytes are no text at all."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError as error:
        if any(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head):
            return ""
        index = head.count(b"\n", 0, error.start)
        line = head.split(b"\n")[index][:60]
        return f"line {index + 1} is {line!r}"
    return ""
