"""Plain text with a session per line, as much of the literature's prepared data comes."""

from __future__ import annotations

from pathlib import Path

import ibis.expr.types as ir

from tfrecsession.events.formats import ROW, literally, number_rows


def read_text_sessions(path: Path, connection) -> ir.Table:
    """A row per item: `session` (line number from 1, as text), `item`, ROW (running number over the whole file).

    Items are separated by white space and stand in time order; blank lines are skipped, but counted.
    """
    lines = connection.read_csv(
        literally(path),
        auto_detect=False,
        header=False,
        columns={"line": "VARCHAR"},
        delim="\x01",  # never in a text: the whole line is one column
        quote="",
        escape="",
        strict_mode=False,
    )
    numbered = number_rows(lines)
    items = numbered.select(session=numbered[ROW].cast("string"), item=numbered.line.re_split(r"\s+").unnest())
    return number_rows(items.filter(items.item != ""))
