"""Conditions on rows, `where="quantity > 0"`, in DuckDB's SQL on every engine.

In a log that was read as text, a column whose values are all numbers is a number in the condition, and an empty value
is null.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

import ibis.expr.datatypes as dt
import ibis.expr.types as ir
from ibis.util import gen_name
from sqlglot import exp

from tfrecsession.errors import InputError
from tfrecsession.events.conditions import EXAMPLE, columns_within, found_column, names_in, parsed
from tfrecsession.events.context import context_columns, context_counts
from tfrecsession.events.raw_log import ENGINES, ROW, RawLog

KEPT = "__text_{}__"  # a column as read, beside its values in the condition


def filter_rows(log: RawLog, condition: str) -> tuple[RawLog, int]:
    """Returns the log with those rows alone for which `condition` is true, and its number of rows before."""
    tree = parsed(condition)
    names = {name: found_column(name, condition, log.columns, log.source) for name in names_in(condition)}
    for column in columns_within(tree):
        column.parts[0].replace(exp.to_identifier(names[column.parts[0].name], quoted=True))
    used = tuple(dict.fromkeys(names.values()))
    facts = log.fetch(rows=log.table.count(), **context_counts(log, used))
    values = context_columns(log, used, facts)
    kept = {KEPT.format(index): log.table[name] for index, name in enumerate(used)} if log.text else {}
    table = log.table.mutate(**kept, **values) if log.text else log.table
    dialect = "spark" if log.connection.name == "pyspark" else "duckdb"
    inner, where = log.connection.compile(table), tree.sql(dialect=dialect)
    try:
        if not _query(log, f"SELECT ({where}) AS value FROM ({inner}) AS log")["value"].type().is_boolean():
            raise InputError(f"{log.source}: where={condition!r}: must be true or false for a row, e.g. {EXAMPLE}")
        table = _query(log, f"SELECT * FROM ({inner}) AS log WHERE {where}")
    except InputError:
        raise
    except Exception as error:
        spark = type(error).__module__.partition(".")[0] == "pyspark"
        if not spark and not isinstance(error, ENGINES):
            raise
        reason = _reason(str(error), table, used)
        raise InputError(f"{log.source}: where={condition!r}: {reason}") from error
    if log.text:
        back = {name: table[kept_name] for kept_name, name in zip(kept, used, strict=True)}
        table = table.mutate(**back).drop(*kept)
    return replace(log, table=table.select(*log.columns, ROW)), facts["rows"]


def _reason(error: str, table: ir.Table, used: Iterable[str]) -> str:
    """Returns why a condition does not fit the log in one line, with the types of its columns where these matter."""
    reason = " ".join(re.split(r"\nLINE |\n+\s*Candidate", error)[0].split())[:300]
    if re.search("Cannot compare|No function matches|Could not convert|DATATYPE_MISMATCH", reason):
        words = {name: _kind(table[name].type()) for name in used}
        columns = ", ".join(f"{name!r} holds {kind}" for name, kind in words.items())
        return f"compares values of different types: {columns}; a text is compared with a text, as item = '5'"
    return reason.removeprefix("Binder Error: ").removeprefix("Catalog Error: ")


def _kind(kind: dt.DataType) -> str:
    return "texts" if kind.is_string() else "numbers" if kind.is_numeric() else f"{kind} values"


def _query(log: RawLog, sql: str):
    if log.connection.name == "pyspark":
        return log.connection.view(log.connection.session.sql(sql))
    name = gen_name("rows")  # a view: Ibis 12 asks for the columns of a query by a method that DuckDB 2 no longer has
    log.connection.raw_sql(f"CREATE TEMPORARY VIEW {name} AS {sql}")
    return log.connection.table(name)
