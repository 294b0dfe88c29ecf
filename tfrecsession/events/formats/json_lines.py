"""Reader of JSON Lines, an object per event or session. Every key is read as text, with the type that JSON declares."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from tfrecsession.errors import InputError
from tfrecsession.events.formats.first_bytes import is_json_lines
from tfrecsession.events.nested import nesting
from tfrecsession.events.raw_log import Files, Format, RawLog, number_rows
from tfrecsession.events.schema import Columns

EXPECTED = "JSON Lines (one object per line) in UTF-8"


def open_json_lines(files: Files, columns: Columns, connection) -> RawLog:
    lines = functools.partial(connection.read_json, files.patterns, format="newline_delimited")
    declared = dict(lines().schema().items())
    if list(declared) == ["json"]:  # DuckDB's column name if some lines are not objects
        raise InputError(f"{files.source}: not {EXPECTED}: some lines are not objects")
    declared |= dict.fromkeys(_late_keys(lines, columns.sought(declared), declared), dt.string)
    read_as = dict.fromkeys(declared, "VARCHAR")
    if found := nesting(declared, columns):
        read_as |= dict.fromkeys(found.lists, "VARCHAR[]")
        if found.fields:
            (name,) = found.lists
            late = _late_fields(lines, name, columns.sought([*declared, *found.fields]), found.fields)
            read_as[name] = _events(fields := (*found.fields, *late))
            declared[name] = dt.Array(dt.Struct({**dict.fromkeys(fields, dt.string), **declared[name].value_type}))
    table = lines(columns=read_as)
    return RawLog(number_rows(table), files.source, connection, text=True, declared=declared)


def _late_keys(lines: Callable[..., ir.Table], sought: list[str], known: Iterable[str]) -> list[str]:
    """Returns the `sought` keys that first occur below DuckDB's sample of lines, e.g. of users who log in late."""
    taken = {name.lower() for name in known}  # DuckDB ignores case
    sought = [name for name in sought if name.lower() not in taken]
    if not sought:
        return []
    table = lines(columns=dict.fromkeys(sought, "VARCHAR"))
    counts = table.aggregate([table[name].count().name(name) for name in sought]).to_pyarrow().to_pylist()[0]
    return [name for name, count in counts.items() if count]


def _late_fields(lines: Callable[..., ir.Table], name: str, sought: list[str], known: Iterable[str]) -> list[str]:
    """Returns the `sought` fields of events that first occur below DuckDB's sample of lines."""
    taken = {field.lower() for field in known}
    sought = [field for field in sought if field.lower() not in taken]
    if not sought:
        return []
    table = lines(columns={name: _events(sought)})
    table = table.select(event=table[name].unnest())
    counts = table.aggregate([table.event[field].count().name(field) for field in sought]).to_pyarrow().to_pylist()[0]
    return [field for field, count in counts.items() if count]


def _events(fields: Iterable[str]) -> str:
    """Returns DuckDB's type of a list of objects with these fields, read as text."""
    quoted = ('"' + field.replace('"', '""') + '"' for field in fields)
    return f"STRUCT({', '.join(f'{name} VARCHAR' for name in quoted)})[]"


JSON_LINES = Format("jsonl", (".jsonl", ".ndjson", ".json"), EXPECTED, open_json_lines, is_json_lines)
