"""Context columns of a log that was read as text -> their own types."""

from __future__ import annotations

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from tfrecsession.events.formats import RawLog


def context_counts(log: RawLog, names: tuple[str, ...]) -> dict[str, ir.Scalar]:
    """For every type that a text column may really have, how many of its values fit, as aggregates of one scan."""
    counts = {}
    for name in names if log.text else ():
        text = log.table[name].nullif("")
        counts[f"context {name}"] = text.count()
        for kind in _candidates(log.declared.get(name)):
            counts[f"context {name} {kind}"] = _as(text, kind).count()
    return counts


def typed_context(log: RawLog, name: str, counts: dict[str, int]) -> ir.Value:
    """The column in the first type that all its values fit; text, if they fit none."""
    column = log.table[name]
    if not log.text:
        return column
    text = column.nullif("")
    filled = counts[f"context {name}"]
    for kind in _candidates(log.declared.get(name)):
        if filled and counts[f"context {name} {kind}"] == filled:
            return _as(text, kind)
    return text


def _candidates(declared: dt.DataType | None) -> tuple[dt.DataType, ...]:
    """declared: what JSON says, None for CSV, which says nothing."""
    if declared is None or declared.is_integer():
        return (dt.int64, dt.float64)
    if declared.is_floating() or declared.is_boolean() or declared.is_timestamp() or declared.is_date():
        return (declared,)
    return ()


def _as(text: ir.StringValue, kind: dt.DataType) -> ir.Value:
    """Null where `text` is not a `kind`; a code as "007" is not a number."""
    value = text.try_cast(kind)
    if kind.is_integer():
        return ibis.ifelse(value.cast("string") == text, value, ibis.null(kind))
    return value
