"""A second sort key, `order=COLUMN`: events are ordered as if the rows of the log were sorted by it."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from tfrecsession.errors import InputError
from tfrecsession.events.raw_log import RawLog

KEY = "__key__"


def check_key(key: ir.Value, name: str, source: str) -> None:
    """Raises InputError for a column whose values have no order."""
    if key.type().is_nested() or key.type().is_binary():
        raise InputError(f"{source}: order={name!r}: the column holds {key.type()}, which has no order")


def ranked(log: RawLog, table: ir.Table, timed: bool) -> ir.Table:
    """Replaces `order` in the event table, the row number, by the rank from 1 of the row in the order of its KEY.

    Equal keys keep the order of the rows; rows without a key come last. timed: else `time` is this rank, too.
    """
    keys = [table[KEY].isnull().name("__last__"), table[KEY], table.order]
    if log.connection.name == "pyspark":  # a window without groups would bring all rows to one executor
        frame = log.connection.frame(table.mutate(__last__=table[KEY].isnull()))
        numbered = log.connection.numbered(frame.orderBy("__last__", KEY, "order"), "__rank__")
        numbered = numbered.mutate(order=numbered["__rank__"] + 1).drop("__rank__", "__last__", KEY)
    else:
        numbered = table.mutate(order=ibis.row_number().over(order_by=keys) + 1).drop(KEY)
    return numbered if timed else numbered.mutate(time=numbered.order)
