"""Conditions on the rows of a log, `where="quantity > 0"`, as SQL that is checked before any engine sees it."""

from __future__ import annotations

import re
from collections.abc import Iterable

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from tfrecsession.errors import InputError
from tfrecsession.events.column_names import nearest_first

EXAMPLE = "where=\"quantity > 0 AND country = 'France'\""
LACKS = re.compile(r"Required keyword: '\w+' missing for <class '[\w.]+'>")  # the parser's words for `price >`


def names_in(condition: str) -> list[str]:
    """Returns the column names in a condition, as written. Raises InputError if it is not one."""
    return list(dict.fromkeys(column.parts[0].name for column in columns_within(parsed(condition))))


def columns_of(condition: str, existing: Iterable[str], source: str) -> list[str]:
    """Returns the columns of the log that a condition names. Raises InputError if one does not exist."""
    existing = list(existing)
    return [found_column(name, condition, existing, source) for name in names_in(condition)]


def parsed(condition: str) -> exp.Expression:
    if not isinstance(condition, str) or not condition.strip():
        raise InputError(f"where={condition!r}: must be a condition in SQL, e.g. {EXAMPLE}")
    try:
        trees = sqlglot.parse(condition, dialect="duckdb")
    except SqlglotError as error:
        reason = LACKS.sub("a part is missing", str(error).partition("\n")[0].rstrip("."))
        raise InputError(
            f"where={condition!r}: is not SQL: {reason}; must be e.g. {EXAMPLE}, with names of columns that SQL "
            "reserves in double quotes"
        ) from error
    (tree,) = trees if len(trees) == 1 else (None,)
    if not isinstance(tree, exp.Condition) or tree.find(exp.Query):
        raise InputError(f"where={condition!r}: must be one condition on the columns of a row, e.g. {EXAMPLE}")
    if tree.find(exp.AggFunc, exp.Window):
        raise InputError(f"where={condition!r}: must look at one row at a time, without aggregates and windows")
    if tree.find(exp.Rand, exp.Uuid):
        raise InputError(f"where={condition!r}: must be true of the same rows at each reading of the log, not random")
    return tree


def columns_within(tree: exp.Expression) -> list[exp.Column]:
    """Returns the columns in a condition, without the arguments of its lambdas."""
    bound = {argument.name for function in tree.find_all(exp.Lambda) for argument in function.expressions}
    return [column for column in tree.find_all(exp.Column) if column.parts[0].name not in bound]


def found_column(name: str, condition: str, existing: list[str], source: str) -> str:
    """Returns the name of a column as the log spells it; SQL ignores case."""
    if name in existing:
        return name
    alike = [column for column in existing if column.lower() == name.lower()]
    if len(alike) == 1:
        return alike[0]
    raise InputError(
        f"{source}: there is no column {name!r} (where={condition!r}); texts are written in single quotes, as "
        f"'{name}'; {nearest_first(name, existing)}"
    )
