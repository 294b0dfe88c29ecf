"""Logs with a row per session: lists of equal length, or one list of events, become a row per event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import ibis
import ibis.expr.datatypes as dt
import pyarrow as pa

from tfrecsession.errors import InputError
from tfrecsession.events.conditions import names_in
from tfrecsession.events.raw_log import ROW, RawLog
from tfrecsession.events.schema import USUAL_NAMES, Columns

PLACE = "__place__"  # of an event in its row, from 0


@dataclass(frozen=True)
class Nesting:
    """Where the events of a row are. lists: parallel columns, or the one column of events, with their `fields`."""

    lists: tuple[str, ...]
    fields: tuple[str, ...] = ()


def nesting(types: Mapping[str, dt.DataType], columns: Columns) -> Nesting | None:
    """Returns where the events of a row are; None in a log with a row per event.

    The item column decides: it is a list itself, or a field of the objects in a list.
    """
    wanted = USUAL_NAMES["item"] if columns.item is None else (columns.item,)
    item = next((name for name in wanted if name in types), None)
    if item is not None:
        if not _is_flat_list(types[item]):
            return None
        given = [columns.time, columns.event, *columns.context, columns.order]
        given += [] if columns.where is None else names_in(columns.where)
        usual = USUAL_NAMES["time"] if columns.time is None else ()
        named = dict.fromkeys(name for name in (item, *given, *usual) if name in types)
        return Nesting(tuple(name for name in named if types[name].is_array()))
    for name, kind in types.items():
        if _is_list_of_events(kind) and any(
            field == one or f"{name}.{field}" == one for field in kind.value_type.names for one in wanted
        ):
            return Nesting((name,), tuple(kind.value_type.names))
    return None


def _check_item(types: Mapping[str, dt.DataType], columns: Columns, source: str) -> None:
    """Raises InputError with the fields of the lists if neither they nor the columns hold the item."""
    wanted = USUAL_NAMES["item"] if columns.item is None else (columns.item,)
    chosen = next((types[name] for name in wanted if name in types), None)
    if chosen is not None and not _is_list_of_events(chosen):
        return
    fields = [field for kind in types.values() if _is_list_of_events(kind) for field in kind.value_type.names]
    if fields:
        raise InputError(
            f"{source}: no item found under {', '.join(wanted)}: choose it with item=NAME; fields of the lists: "
            f"{', '.join(fields)}; columns: {', '.join(types)}"
        )


def flatten(log: RawLog, columns: Columns) -> RawLog:
    """Returns the log with a row per event. Raises InputError for a row whose lists differ in length."""
    types = {name: log.declared.get(name, log.table[name].type()) for name in log.columns}
    found = nesting(types, columns)
    if found is None:
        _check_item(types, columns, log.source)
        return log
    if log.connection.name == "pyspark":
        raise InputError(f"{log.source}: a row holds the events of a session: explode it first, to a row per event")
    _check_lengths(log, found.lists)
    rest = {name: log.table[name] for name in log.columns if name not in found.lists}
    owners = (columns.session, columns.user, *USUAL_NAMES["session"], *USUAL_NAMES["user"])
    if not any(name in rest or name in found.fields for name in owners):
        rest["session"] = log.table[ROW].cast("string")
    first = log.table[found.lists[0]]
    place = {ROW: log.table[ROW], PLACE: ibis.range(0, first.length()).unnest()}
    elements = {name: log.table[name].unnest() for name in found.lists}
    table = log.table.select(**rest, **elements, **place)
    declared = {name: log.declared[name] for name in rest if name in log.declared}
    if found.fields:
        (name,) = found.lists
        names = {field: field if field not in rest else f"{name}.{field}" for field in found.fields}
        table = table.mutate(**{names[field]: table[name][field] for field in found.fields}).drop(
            *(() if name in names.values() else (name,))
        )
        if name in log.declared:
            declared |= {names[field]: kind for field, kind in log.declared[name].value_type.items() if field in names}
    else:
        declared |= {name: log.declared[name].value_type for name in found.lists if name in log.declared}
    # By place, since an engine may read the rows of a file in any order.
    row = ibis.row_number().over(order_by=[table[ROW], table[PLACE]]) + 1
    return replace(log, table=table.mutate(**{ROW: row}).drop(PLACE), declared=declared)


def list_types(schema: pa.Schema) -> dict[str, dt.DataType]:
    """Returns the types of the columns with lists; those of others do not matter, and Ibis does not know them all."""
    lists = {field.name: field.type for field in schema if pa.types.is_list(field.type)}
    known = dict.fromkeys(schema.names, dt.string)
    return known | {name: dt.DataType.from_pyarrow(kind) for name, kind in lists.items()}


def _check_lengths(log: RawLog, lists: tuple[str, ...]) -> None:
    if len(lists) < 2:
        return
    lengths = [ibis.coalesce(log.table[name].length(), 0) for name in lists]
    differ = ibis.or_(*(length != lengths[0] for length in lengths[1:]))
    found = log.fetch(count=log.table.count(where=differ), row=log.table[ROW].min(where=differ))
    if found["count"]:
        raise InputError(
            f"{log.source}: {found['count']:,} rows have lists of different lengths in {', '.join(lists)}, the first "
            f"is row {found['row']}: each must hold a value per event"
        )


def _is_flat_list(kind: dt.DataType) -> bool:
    return kind.is_array() and not kind.value_type.is_nested()


def _is_list_of_events(kind: dt.DataType) -> bool:
    return kind.is_array() and kind.value_type.is_struct()
