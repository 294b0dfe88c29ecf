"""The event table that every reader returns and every later step expects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any

from tfrecsession.errors import InputError
from tfrecsession.events.column_names import nearest_first as _nearest_first
from tfrecsession.events.conditions import columns_of, names_in

USUAL_NAMES = {
    "item": ("item", "item_id"),
    "time": ("time", "timestamp"),
    "session": ("session", "session_id"),
    "user": ("user", "user_id"),
}
NO_TIMES = "none"
RESERVED = ("item", "time", "order", "session", "user", "event")


@dataclass(frozen=True)
class Columns:
    """The columns and rows of a log that are read; None: found by its usual name.

    `event`, `context` and `order` have no usual name: they are read only if given.

    time: NO_TIMES reads the log as one without times.
    order: a second sort key, for events of equal time; without times, the only one.
    where: a condition in DuckDB's SQL over any columns of the log; other rows are not read.
    """

    item: str | None = None
    time: str | None = None
    session: str | None = None
    user: str | None = None
    event: str | None = None
    context: tuple[str, ...] = ()
    order: str | None = None
    where: str | None = None

    def __post_init__(self):
        """Takes whole numbers for names: pandas calls columns without names 0, 1, 2."""
        for part in (*USUAL_NAMES, "event", "order"):
            object.__setattr__(self, part, _name(getattr(self, part), part))
        object.__setattr__(self, "context", tuple(_name(name, "context") for name in self.context))

    @property
    def timeless(self) -> bool:
        """Whether the log is read as one without times; a column that has this name is one of times."""
        return self.time == NO_TIMES

    def resolve(self, existing: Iterable[str], source: str) -> Columns:
        """Returns the same columns under their names in `existing`; None: the log has no such column.

        Raises:
            InputError: a given column does not exist, the log has no item column, or a context column has a name that
                the event table reserves.
        """
        existing = list(existing)
        found = {part: self._find(part, existing, source) for part in (*USUAL_NAMES, "event", "order")}
        if found["item"] is None:
            raise InputError(
                f"{source}: no item column found under its usual names "
                f"({', '.join(USUAL_NAMES['item'])}): choose it with item=NAME; "
                f"{_nearest_first('item_id', existing)}"
            )
        for name in self.context:
            if name not in existing:
                raise _no_such_column("context", name, existing, source)
            if name.lower() in RESERVED and found.get(name) != name:
                raise InputError(
                    f"{source}: the context column {name!r} has a name that the event table uses "
                    f"itself ({', '.join(RESERVED)}): rename it in the log"
                )
        return replace(self, **found, context=tuple(dict.fromkeys(self.context)))

    def needed(self, existing: list[str], source: str) -> list[str]:
        """Returns the columns that the event table needs; raises InputError if one occurs twice."""
        found = self.resolve(existing, source)
        named = [found.item, found.time, found.session, found.user, found.event, *found.context, found.order]
        if self.where is not None:
            named += columns_of(self.where, existing, source)
        needed = dict.fromkeys(name for name in named if name is not None)
        for name in needed:
            if existing.count(name) > 1:
                raise InputError(f"{source}: two columns are called {name!r}: rename one")
        return list(needed)

    def sought(self, existing: Iterable[str]) -> list[str]:
        """Returns the names not in `existing` that `resolve` would use if they existed."""
        existing = list(existing)
        names = [name for name in (self.event, *self.context, self.order) if name is not None]
        names += names_in(self.where) if self.where is not None else []
        for part, usual in USUAL_NAMES.items():
            given = getattr(self, part)
            if given is not None and not (part == "time" and self.timeless):
                names.append(given)
            elif not (part == "time" and self.timeless) and not set(usual) & set(existing):
                names.extend(usual)
        return [name for name in dict.fromkeys(names) if name not in existing]

    def _find(self, part: str, existing: list[str], source: str) -> str | None:
        given = getattr(self, part)
        if given is None:
            return next((name for name in USUAL_NAMES.get(part, ()) if name in existing), None)
        if part == "time" and self.timeless and given not in existing:
            return None
        if given not in existing:
            raise _no_such_column(part, given, existing, source)
        return given


def _name(name: Any, argument: str) -> str | None:
    if name is None or isinstance(name, str):
        return name
    if isinstance(name, Integral) and not isinstance(name, bool):
        return str(name)
    raise InputError(f"{argument}={name!r}: must be the name of a column, a text")


def _no_such_column(part: str, given: str, existing: list[str], source: str) -> InputError:
    return InputError(f"{source}: there is no column {given!r} ({part}={given!r}); {_nearest_first(given, existing)}")


@dataclass
class EventTable:
    """One row per event, as an Ibis expression on `connection`.

    Columns: `item` string (never empty; null only in a log read with itemless="keep"), `time` int64 (microseconds since
    1970-01-01 UTC), `order` int64 (row number in the source, from 1, breaks ties of time), and where the log has them
    `session` string (never null), `user` string (null: anonymous), `event` string and the context columns under their
    own names and types.

    The expression is lazy: every execution reads the source again. To read it more than once,
    store what you need with `connection.create_table`.
    """

    table: Any  # ibis.Table
    connection: Any  # Ibis backend, DuckDB or Spark
    source: str  # named in messages
    timed: bool = True  # False: the log has no times, `time` is the row number
    context: tuple[str, ...] = ()
    content: Any = None  # pyarrow.Table of item columns, or None
    rows_read: int | None = None  # rows of the log before `where`, if that is given
    notes: list[str] = field(default_factory=list)  # remarks of the reader for the user
    missing: dict[str, int] = field(default_factory=dict)  # rows without an item, session or user, where there are any
