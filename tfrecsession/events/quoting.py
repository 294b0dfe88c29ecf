"""Rows of a delimited file that vanish inside a quoted field, because a text begins with a stray quotation mark."""

from __future__ import annotations

import re
from functools import reduce
from operator import or_

import ibis
import ibis.expr.types as ir

from tfrecsession.errors import InputError
from tfrecsession.events.raw_log import ROW, RawLog

NONE = "none"
WIDEST = 200  # columns; a regular expression for wider rows would be too large


def check_quote(quote: str | None) -> None:
    fits = quote is None or (isinstance(quote, str) and (quote in ("", NONE) or len(quote) == 1))
    if not fits or (quote and quote != NONE and (quote.isalnum() or quote.isspace())):
        raise InputError(f"quote={quote!r}: must be one character, such as '\"', or none for a file without quotes")


def quote_mark(quote: str | None) -> str:
    """Returns the mark of quoted fields, "" for none: the usual one if it is not declared."""
    return {None: '"', NONE: ""}.get(quote, quote)


def broken_lines(log: RawLog) -> dict[str, ir.Scalar]:
    """Returns an aggregate for one scan: the count of rows with a line break in a field, if quotes are not declared."""
    if log.delimiter is None:
        return {}
    return {"broken": log.table.count(where=reduce(or_, (log.table[name].contains("\n") for name in log.columns)))}


def check_swallowed_rows(log: RawLog) -> None:
    """Raises InputError if a quoted field holds whole rows.

    A field that begins in one row and ends in a later one leaves a row of the right width only if it ends in the same
    column. It then holds the rest of its row, whole rows and the beginning of the last one.
    """
    columns = log.columns
    if len(columns) < 2:
        return
    row = log.table[ROW]
    texts = [ibis.coalesce(log.table[name], "") for name in columns]
    breaks = [text.length() - text.replace("\n", "").length() for text in texts]
    swallowed = [_holds_rows(text, index, len(columns), log.delimiter) for index, text in enumerate(texts)]
    found = log.fetch(
        **{f"row {i}": row.min(where=mask) for i, mask in enumerate(swallowed)},
        **{f"lost {i}": breaks[i].sum(where=mask) for i, mask in enumerate(swallowed)},
        **{f"text {i}": texts[i].argmin(row, where=mask) for i, mask in enumerate(swallowed)},
    )
    first = [(found[f"row {i}"], i) for i in range(len(columns)) if found[f"row {i}"] is not None]
    if not first:
        return
    at, i = min(first)
    lost = sum(found[f"lost {i}"] or 0 for i in range(len(columns)))
    text = found[f"text {i}"].split("\n")[0].rstrip("\r")[:40]
    rows = "1 row" if lost == 1 else f"{lost:,} rows"
    raise InputError(
        f"{log.source}: row {at}: a quotation mark opens a field in column {columns[i]!r} that goes on over whole rows "
        f"(it begins with {text!r}); {rows} would be lost: give quote='none' if the file has no quotes, or "
        "quote='\"' if these fields are texts of several lines"
    )


def _holds_rows(text: ir.StringValue, index: int, width: int, delimiter: str) -> ir.BooleanValue:
    """Returns whether the field of column `index` is the rest of a row, whole rows, and the beginning of a row."""
    if width > WIDEST or len(delimiter) > 1:
        delimiters = (text.length() - text.replace(delimiter, "").length()) / len(delimiter)
        lines = text.length() - text.replace("\n", "").length()
        return (lines > 0) & (delimiters == lines * (width - 1))
    mark = re.escape(delimiter)
    cell = f"[^{mark}\\n]*"

    def cells(delimiters: int) -> str:
        return f"{cell}(?:{mark}{cell}){{{delimiters}}}"

    return text.re_search(f"^{cells(width - 1 - index)}\\n(?:{cells(width - 1)}\\n)*{cells(index)}$")
