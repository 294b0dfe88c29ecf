"""Reader of JSON Lines, one object per event. Every key is read as text, with the type that JSON declares."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path

import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from tfrecsession.errors import InputError
from tfrecsession.events.formats.first_bytes import is_json_lines
from tfrecsession.events.raw_log import Format, RawLog, literally, number_rows
from tfrecsession.events.schema import Columns

EXPECTED = "JSON Lines (one object per line) in UTF-8"


def open_json_lines(path: Path, columns: Columns, connection) -> RawLog:
    lines = functools.partial(connection.read_json, literally(path), format="newline_delimited")
    declared = dict(lines().schema().items())
    if list(declared) == ["json"]:  # DuckDB's column name if some lines are not objects
        raise InputError(f"{path}: not {EXPECTED}: some lines are not objects")
    declared |= dict.fromkeys(_late_keys(lines, columns.sought(declared), declared), dt.string)
    table = lines(columns=dict.fromkeys(declared, "VARCHAR"))
    return RawLog(number_rows(table), str(path), connection, text=True, declared=declared)


def _late_keys(lines: Callable[..., ir.Table], sought: list[str], known: Iterable[str]) -> list[str]:
    """Returns the `sought` keys that first occur below DuckDB's sample of lines, e.g. of users who log in late."""
    taken = {name.lower() for name in known}  # DuckDB ignores case
    sought = [name for name in sought if name.lower() not in taken]
    if not sought:
        return []
    table = lines(columns=dict.fromkeys(sought, "VARCHAR"))
    counts = table.aggregate([table[name].count().name(name) for name in sought]).to_pyarrow().to_pylist()[0]
    return [name for name, count in counts.items() if count]


JSON_LINES = Format("jsonl", (".jsonl", ".ndjson", ".json"), EXPECTED, open_json_lines, is_json_lines)
