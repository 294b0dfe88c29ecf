"""Ids of any type -> text."""

from __future__ import annotations

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from tfrecsession.errors import InputError

EXACT = 2**53  # a float64 tells whole numbers apart up to here


def id_text(column: ir.Value, source: str, declared: dt.DataType | None = None) -> ir.StringValue:
    """`column` as string, null where it is empty. Whole floats lose their ".0": 17850.0 is "17850".

    declared: the type that the format gave a column which was read as text (JSON). Raises InputError for a type that
    cannot name anything (lists, structs, bytes).
    """
    kind = column.type() if declared is None else declared
    if kind.is_nested() or kind.is_binary():
        raise InputError(
            f"{source}: column {column.get_name()!r} holds {kind}, which cannot be an id: choose a column of texts or "
            "numbers"
        )
    text = column.cast("string").nullif("")
    if not kind.is_floating():
        return text
    if column.type().is_string():
        return text.re_replace(r"^(-?\d+)\.0$", r"\1")
    whole = (column == column.floor()) & (column.abs() <= EXACT)
    text = ibis.ifelse(whole, column.try_cast("int64").cast("string"), text)
    return ibis.ifelse(column.isnan(), ibis.null("string"), text)


def inexact(column: ir.Value) -> ir.IntegerScalar:
    """How many ids of a float column are too large for it to have kept their last digits."""
    if not column.type().is_floating():
        return ibis.literal(0)
    return column.count(where=column.abs() > EXACT)
