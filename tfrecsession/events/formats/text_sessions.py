"""Reader of plain text with one session per line, a common form of the literature's prepared data."""

from __future__ import annotations

from pathlib import Path

from tfrecsession.events.formats.first_bytes import is_text
from tfrecsession.events.raw_log import ROW, Format, RawLog, literally, number_rows
from tfrecsession.events.schema import Columns


def open_text_sessions(path: Path, columns: Columns, connection) -> RawLog:
    """Reads one row per item: `session` (line number from 1, as text), `item`, ROW (number in the whole file, from 1).

    Items are separated by white space, in time order; blank lines are skipped, but counted.
    """
    lines = connection.read_csv(
        literally(path),
        auto_detect=False,
        header=False,
        columns={"line": "VARCHAR"},
        delim="\x01",  # not in any text: the whole line is one column
        quote="",
        escape="",
        strict_mode=False,
    )
    lines = number_rows(lines)
    items = lines.select(session=lines[ROW].cast("string"), item=lines.line.re_split(r"\s+").unnest())
    return RawLog(number_rows(items.filter(items.item != "")), str(path), connection)


TEXT_SESSIONS = Format("txt", (".txt",), "a text file in UTF-8 with a session per line", open_text_sessions, is_text)
