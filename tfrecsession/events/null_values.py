"""Texts that stand for a missing id, such as NA: databases and data frames write them for empty cells."""

from __future__ import annotations

from collections.abc import Iterable

import ibis
import ibis.expr.types as ir

from tfrecsession.events.id_texts import text_of
from tfrecsession.events.raw_log import RawLog

USUAL = ("NA", "N/A", "n/a", "#N/A", "<NA>", "NULL", "Null", "null", "(null)", "NaN", "nan", "NaT", "None", "\\N")
NULLABLE = ("item", "session", "user")


def null_values(given: str | Iterable | None) -> tuple[str, ...]:
    """Returns the texts that are no id: the usual ones, or the given ones (a list, or a text with commas).

    Empty and blank cells are never ids. Raises InputError for a value that is no text or number.
    """
    if given is None:
        return USUAL
    given = given.split(",") if isinstance(given, str) else given
    texts = (text_of(value, f"null_values[{index}]").strip() for index, value in enumerate(given))
    return tuple(dict.fromkeys(text for text in texts if text))


def without_nulls(text: ir.StringValue, values: tuple[str, ...]) -> ir.StringValue:
    """Returns `text`, null where it is blank or one of `values`; spaces around do not count."""
    return ibis.ifelse(text.strip().isin(["", *values]), ibis.null("string"), text)


def describe_nulls(log: RawLog, part: str, column: str, text: ir.StringColumn, known: ir.StringColumn) -> str:
    """Returns a note on the null values of a column. known: `text` without them."""
    values = log.table.filter(text.notnull() & known.isnull()).group_by(value=text.strip()).agg(rows=ibis._.count())
    found = log.connection.to_pyarrow(values.order_by(ibis._.rows.desc(), "value")).to_pylist()
    rows = sum(value["rows"] for value in found)
    names = ", ".join(f"'{value['value']}'" for value in found[:5])
    return (
        f"column {column!r}: {rows:,} values ({names}) stand for no {part}; if they are ids, list the null values of "
        "the log with null_values=, null_values='' for none"
    )
