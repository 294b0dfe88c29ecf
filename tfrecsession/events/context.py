"""Type detection for the context columns of a log that was read as text."""

from __future__ import annotations

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from tfrecsession.events.null_values import USUAL
from tfrecsession.events.raw_log import RawLog


def context_counts(log: RawLog, names: tuple[str, ...]) -> dict[str, ir.Scalar]:
    """Returns aggregates for one scan: per column the count of values, and of those that fit each possible type."""
    counts = {}
    for index, name in enumerate(names if log.text else ()):
        text = log.table[name].nullif("")
        counts[f"context {index}"] = text.count(where=~text.strip().isin(USUAL))  # NA among numbers is no number
        for kind in _candidates(log.declared.get(name)):
            counts[f"context {index} {kind}"] = _as(text, kind).count()
    return counts


def context_columns(log: RawLog, names: tuple[str, ...], counts: dict[str, int]) -> dict[str, ir.Value]:
    """Returns the columns; those read as text are cast to the first type that fits all their values."""
    if not log.text:
        return {name: log.table[name] for name in names}
    columns = {}
    for index, name in enumerate(names):
        columns[name] = text = log.table[name].nullif("")
        for kind in _candidates(log.declared.get(name)):
            if counts[f"context {index} {kind}"] == counts[f"context {index}"] > 0:
                columns[name] = _as(text, kind)
                break
    return columns


def _candidates(declared: dt.DataType | None) -> tuple[dt.DataType, ...]:
    """Returns the types to try. declared: the type in JSON; None for CSV, which has no types."""
    if declared is None or declared.is_integer():
        return (dt.int64, dt.float64)
    if declared.is_floating() or declared.is_boolean() or declared.is_timestamp() or declared.is_date():
        return (declared,)
    return ()


def _as(text: ir.StringValue, kind: dt.DataType) -> ir.Value:
    """Casts `text` to `kind`, else null. A code such as "007" is not a number, and 2.5 must not be rounded."""
    value = text.try_cast(kind)
    if not kind.is_numeric():
        return value
    number = r"^-?(0|[1-9]\d*)$" if kind.is_integer() else r"^[+-]?(0$|0?\.|[1-9])"
    return ibis.ifelse(text.re_search(number), value, ibis.null(kind))
