"""Text files in other encodings than UTF-8, which is what DuckDB reads on every machine."""

from __future__ import annotations

import codecs
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ibis.util import gen_name

from tfrecsession.errors import InputError
from tfrecsession.events.formats.compression import inner_name, open_text
from tfrecsession.events.raw_log import Files, RawLog, reading

CHARACTERS = 1 << 20  # converted at a time


def check_encoding(encoding: str | None) -> bool:
    """Returns whether files must be converted to UTF-8. Raises InputError for an encoding that does not exist."""
    if encoding is None:
        return False
    try:
        found = codecs.lookup(encoding)
        "".encode(encoding)  # refuses codecs that are no encodings of texts, such as base64
    except (LookupError, TypeError, ValueError):
        raise InputError(f"encoding={encoding!r}: unknown; must be e.g. latin-1, cp1252 or utf-16") from None
    return found.name not in ("utf-8", "utf-8-sig", "ascii")


def in_utf8(files: Files, encoding: str, connection, open_copies: Callable[[Files], RawLog]) -> RawLog:
    """Opens copies of the files in UTF-8 and stores their content on `connection`, so that no copy stays."""
    with tempfile.TemporaryDirectory(dir=_folder_of(connection)) as folder:
        parts = [_copy(part, index, encoding, Path(folder)) for index, part in enumerate(files.parts)]
        try:
            log = open_copies(replace(files, parts=tuple(parts)))
            with reading(files.source):
                log.table = connection.create_table(gen_name("events"), log.table)
        except InputError as error:
            text = str(error)
            for copy, part in zip(parts, files.parts, strict=True):
                text = text.replace(str(copy), str(part))
            raise InputError(text) from error
    return log


def _copy(part: Path, index: int, encoding: str, folder: Path) -> Path:
    copy = folder / f"{index}{inner_name(part).suffix}"
    lines = 1
    try:
        with open_text(part, encoding) as source, copy.open("w", encoding="utf-8", newline="") as target:
            while text := source.read(CHARACTERS):
                target.write(text)
                lines += text.count("\n")
    except UnicodeError as error:
        raise InputError(f"{part}: encoding={encoding!r}: does not fit, after line {lines}: {error}") from error
    except (OSError, EOFError) as error:
        raise InputError(f"{part}: cannot be read: {error}") from error
    return copy


def _folder_of(connection) -> str | None:
    """Returns the folder of the database, where there is space for the log; None if it is in memory."""
    query = "SELECT path FROM duckdb_databases() WHERE database_name = current_database()"
    paths = connection.con.execute(query).fetchall()
    return str(Path(paths[0][0]).parent) if paths and paths[0][0] else None
