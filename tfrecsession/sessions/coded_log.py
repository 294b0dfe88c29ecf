"""The event table with integer codes for its strings: every step after reading works on integers only."""

from __future__ import annotations

from dataclasses import dataclass

import ibis.expr.types as ir

from tfrecsession.events.schema import EventTable
from tfrecsession.sessions.scratch_db import ScratchDatabase

NAMED = ("item", "session", "user", "event")
CONTEXT = "context_"  # keeps the names of context columns apart from all others


@dataclass(frozen=True)
class Log:
    """A coded event table.

    events: `item`, and if the log has them `session`, `user` (null: anonymous) and `event`, as int64 codes; `time`
        int64 microseconds, `order` int64; context columns with the prefix CONTEXT.
    names: per coded column a table (`code` int64, `name` string). The code of a name is the `order` of its first row,
        which is unique without sorting.
    itemless: None, or the events without an item, of the same columns; `events` has none of them then.
    pieces: None, or for sessions cut at idle gaps: session = code of the `owner` * pieces + running number from 1.
    owner: the coded column that names the sessions, "session" or "user".
    """

    events: ir.Table
    names: dict[str, ir.Table]
    source: str
    timed: bool
    context: tuple[str, ...] = ()
    pieces: int | None = None
    owner: str = "session"
    itemless: ir.Table | None = None

    @property
    def order(self) -> list[ir.Value]:
        """The columns that sort the events of a session."""
        return [self.events.time, self.events.order]


def code(table: EventTable, raw: ir.Table, db: ScratchDatabase) -> Log:
    """Stores the events of `table` with integer codes for its strings. `raw` holds them as read, and is dropped."""
    names = {part: db.store(_names(raw, part)) for part in NAMED if part in raw.columns}
    coded = raw
    for part, known in names.items():
        known = known.select(**{part: known.name, f"{part}_code": known.code})
        coded = coded.join(known, part, how="left")
    columns = {part: coded[f"{part}_code"] for part in names}
    context = {f"{CONTEXT}{name}": coded[name] for name in table.context}
    events = db.store(coded.select(time=coded.time, order=coded.order, **columns, **context))
    db.drop(raw)
    return Log(events, names, table.source, table.timed, tuple(table.context))


def _names(events: ir.Table, part: str) -> ir.Table:
    known = events.filter(events[part].notnull())
    return known.group_by(name=known[part]).agg(code=known.order.min())
