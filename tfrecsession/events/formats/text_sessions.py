"""Reader of plain text with one session per line, a common form of the literature's prepared data."""

from __future__ import annotations

from tfrecsession.events.formats.first_bytes import is_text
from tfrecsession.events.raw_log import ROW, Files, Format, RawLog, number_rows
from tfrecsession.events.schema import Columns


def open_text_sessions(files: Files, columns: Columns, connection) -> RawLog:
    """Reads one row per item: `session` (line number from 1, as text), `item`, ROW (number in all files, from 1).

    Items are separated by white space, in time order; blank lines are skipped, but counted.
    """
    lines = connection.read_csv(
        files.patterns,
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
    return RawLog(number_rows(items.filter(items.item != "")), files.source, connection)


TEXT_SESSIONS = Format("txt", (".txt",), "a text file in UTF-8 with a session per line", open_text_sessions, is_text)
