"""Conversion of ids of any type to text."""

from __future__ import annotations

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from tfrecsession.errors import InputError

WHOLE = r"^(-?\d+)\.0$"


def id_text(column: ir.Column, source: str, declared: dt.DataType | None = None) -> ir.StringColumn:
    """Returns `column` as string, null where it is empty. Whole floats lose their ".0": 17850.0 is "17850".

    declared: the type that the format (JSON) declares for a column that was read as text. Raises InputError for types
    that cannot be ids (lists, structs, bytes).
    """
    kind = column.type() if declared is None else declared
    if kind.is_nested() or kind.is_binary():
        raise InputError(
            f"{source}: column {column.get_name()!r} holds {kind}, which cannot be an id: choose a column of texts or "
            "numbers"
        )
    text = column.nullif("") if column.type().is_string() else column.cast("string")
    if not kind.is_floating():
        return text
    if column.type().is_string():
        return without_zero(text)
    whole = (column % 1 == 0) & (column.abs() <= _exact_up_to(kind))
    text = ibis.ifelse(whole, column.try_cast("int64").cast("string"), text)
    return ibis.ifelse(column.isnan(), ibis.null("string"), text)


def whole_floats(text: ir.StringColumn) -> dict[str, ir.Scalar]:
    """Returns aggregates of ids that were read as text: how many are whole floats, and how many are no numbers."""
    number = text.re_search(r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
    return {"whole": text.count(where=text.re_search(WHOLE)), "texts": text.count(where=~number)}


def without_zero(text: ir.StringColumn) -> ir.StringColumn:
    """Returns the ids; whole floats lose their ".0"."""
    return text.re_replace(WHOLE, r"\1")


def inexact_ids(column: ir.FloatingColumn) -> ir.IntegerScalar:
    """Counts the ids that are too large for their float type to keep the last digit."""
    return column.count(where=(column.abs() > _exact_up_to(column.type())) & ~column.isnan())


def _exact_up_to(kind: dt.DataType) -> int:
    return 2**24 if kind == dt.float32 else 2**53
