"""Context columns of a log that was read as text -> their own types."""

from __future__ import annotations

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from tfrecsession.events.raw_log import RawLog


def context_counts(log: RawLog, names: tuple[str, ...]) -> dict[str, ir.Scalar]:
    """How many values of each column there are, and how many fit each type it may have, as aggregates of one scan."""
    counts = {}
    for number, name in enumerate(names if log.text else ()):
        text = log.table[name].nullif("")
        counts[f"context {number}"] = text.count()
        for kind in _candidates(log.declared.get(name)):
            counts[f"context {number} {kind}"] = _as(text, kind).count()
    return counts


def context_columns(log: RawLog, names: tuple[str, ...], counts: dict[str, int]) -> dict[str, ir.Value]:
    """The columns, those read as text in the first type that all their values fit."""
    if not log.text:
        return {name: log.table[name] for name in names}
    columns = {}
    for number, name in enumerate(names):
        columns[name] = text = log.table[name].nullif("")
        for kind in _candidates(log.declared.get(name)):
            if counts[f"context {number} {kind}"] == counts[f"context {number}"] > 0:
                columns[name] = _as(text, kind)
                break
    return columns


def _candidates(declared: dt.DataType | None) -> tuple[dt.DataType, ...]:
    """declared: what JSON says; None for CSV, which says nothing."""
    if declared is None or declared.is_integer():
        return (dt.int64, dt.float64)
    if declared.is_floating() or declared.is_boolean() or declared.is_timestamp() or declared.is_date():
        return (declared,)
    return ()


def _as(text: ir.StringValue, kind: dt.DataType) -> ir.Value:
    """Null where `text` is not a `kind`. A code as "007" is no number, and 2.5 must not be rounded to a whole one."""
    value = text.try_cast(kind)
    if not kind.is_numeric():
        return value
    number = r"^-?(0|[1-9]\d*)$" if kind.is_integer() else r"^[+-]?(0$|0?\.|[1-9])"
    return ibis.ifelse(text.re_search(number), value, ibis.null(kind))
