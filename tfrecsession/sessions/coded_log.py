"""The event table with numbers for names: everything after reading touches integers alone."""

from __future__ import annotations

from dataclasses import dataclass

import ibis.expr.types as ir

from tfrecsession.events.schema import EventTable
from tfrecsession.sessions.scratch_db import Workbench

NAMED = ("item", "session", "user", "event")
CONTEXT = "context_"  # keeps the names of context columns apart from all others


@dataclass(frozen=True)
class Log:
    """A coded event table.

    events: `item`, and where the log has them `session`, `user` (null: anonymous) and `event`, as int64 codes; `time`
        int64 microseconds, `order` int64; context columns with the prefix CONTEXT.
    names: per coded column the table (`code` int64, `name` string). The code of a name is the `order` of its first row:
        unique without sorting anything.
    pieces: None, or the sessions were cut at idle gaps: session = code of the `owner` * pieces + running number from 1.
    owner: the coded column whose names the sessions bear, "session" or "user".
    """

    events: ir.Table
    names: dict[str, ir.Table]
    source: str
    timed: bool
    context: tuple[str, ...] = ()
    pieces: int | None = None
    owner: str = "session"

    @property
    def order(self) -> list[ir.Value]:
        """What sorts the events of a session."""
        return [self.events.time, self.events.order]


def code(table: EventTable, raw: ir.Table, bench: Workbench) -> Log:
    """Store the events of `table` with integer codes for its strings; `raw` holds them as read, and is dropped."""
    names = {part: bench.store(_names(raw, part)) for part in NAMED if part in raw.columns}
    coded = raw
    for part, known in names.items():
        known = known.select(**{part: known.name, f"{part}_code": known.code})
        coded = coded.join(known, part, how="left")
    columns = {part: coded[f"{part}_code"] for part in names}
    context = {f"{CONTEXT}{name}": coded[name] for name in table.context}
    events = bench.store(coded.select(time=coded.time, order=coded.order, **columns, **context))
    bench.drop(raw)
    return Log(events, names, table.source, table.timed, tuple(table.context))


def _names(events: ir.Table, part: str) -> ir.Table:
    known = events.filter(events[part].notnull())
    return known.group_by(name=known[part]).agg(code=known.order.min())
