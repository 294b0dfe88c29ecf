"""Weights of events in training: by event type, from a column, by the age of the session, or of chosen targets only."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfrecsession.errors import InputError
from tfrecsession.sessions.context import NOT_CONTEXT

DAY = 86_400_000_000  # microseconds
EXPRESSION = "case when event = 'purchase' then 5 else 1 end"
SHOWN = 20  # event types that an error lists
ZERO = "no event after the first of its session has a weight above 0: there is nothing to train on"


class Weights(NamedTuple):
    """The weights of the events of a log, float64 [events] each.

    event: by its type and the weight column. session: by the age of its session. target: 1 or 0, whether its type is
    among the target events.
    """

    event: np.ndarray
    session: np.ndarray
    target: np.ndarray

    @property
    def example(self) -> np.ndarray:
        """float64 [events]: how much the example counts whose target is the event."""
        return self.event * self.session * self.target


class Weighing:
    """The rule by which events are weighed; see `Sessions.weighted` for the arguments.

    Raises:
        InputError: an argument of another form.
    """

    def __init__(self, event_weights=None, weight=None, session_decay=None, target_events=None):
        self.event_weights = None if event_weights is None else _table(event_weights)
        if weight is not None and (not isinstance(weight, str) or not weight):
            raise InputError(f"weight={weight!r}: must be the name of a column of numbers, e.g. weight='dwell'")
        self.read = ()  # the columns of an expression; see `bound`
        self.weight = weight
        is_number = isinstance(session_decay, int | float | np.number) and not isinstance(session_decay, bool)
        if session_decay is not None and not (is_number and 0 < session_decay < math.inf):
            raise InputError(f"session_decay={session_decay!r}: must be a number of days above 0, e.g. 2")
        self.session_decay = session_decay
        self.target_events = None if target_events is None else event_types("target_events", target_events)
        self.newest = 0  # microseconds since 1970, of the split; see `bound`

    def bound(self, sessions) -> Weighing:
        """Checks the rule against a split, and takes the time of its newest event.

        Raises:
            InputError: a column that the split does not have, or an event type that does not occur.
        """
        names = ("event_weights", self.event_weights), ("target_events", self.target_events)
        check_types(sessions, {name: types for name, types in names if types})
        columns = [name for name in sessions.arrays.columns if name not in NOT_CONTEXT]
        if self.weight is not None and self.weight not in columns and not self.weight.isidentifier():
            self.read = _columns_of(self.weight, columns)
        elif self.weight is not None and self.weight not in columns:
            near = difflib.get_close_matches(self.weight, columns, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"to keep it, prepare the log with context={self.weight!r}"
            known = ", ".join(columns) or "none"
            raise InputError(f"weight={self.weight!r}: must be a column of the events, which are: {known}; {hint}")
        if self.session_decay is not None:
            if not sessions.timed or "times" not in sessions.arrays.columns:
                raise InputError(
                    f"session_decay={self.session_decay:g}: needs the times of the events: leave it out, or prepare "
                    "the log with time=NAME"
                )
            self.newest = max((int(times.max(initial=0)) for times in _parts(sessions, "times")), default=0)
        return self

    def weights(
        self,
        read: Callable[[str], np.ndarray],
        offsets: np.ndarray,
        first: int = 0,
        counted: np.ndarray | None = None,
    ) -> Weights:
        """Returns the weights of events.

        Args:
            read: name of a column -> its values, [events].
            offsets: int64 [sessions + 1], where each session starts.
            first: the index of the first session in its split, for errors.
            counted: bool [events], those that need a number in the weight column; the others get 0. None: all.

        Raises:
            InputError: a value of the weight column is not a number of at least 0.
        """
        events = int(offsets[-1])
        event, session, target = np.ones((3, events))
        if self.event_weights is not None or self.target_events is not None:
            types = pa.array(read("event")).cast(pa.string()).dictionary_encode()
            names = types.dictionary.to_pylist()
            index = types.indices.fill_null(len(names)).to_numpy(zero_copy_only=False).astype(np.int64)
            if self.event_weights is not None:
                event = np.array([*(self.event_weights.get(name, 1.0) for name in names), 1.0])[index]
            if self.target_events is not None:
                target = np.array([*(name in self.target_events for name in names), False], np.float64)[index]
        if self.weight is not None:
            values = read(self.weight) if not self.read else _evaluated(self.weight, {n: read(n) for n in self.read})
            event = event * self._column(values, offsets, first, counted)
        if self.session_decay is not None:
            times = np.asarray(read("times"), np.int64)
            lengths = np.diff(offsets)
            end = times[np.maximum(offsets[1:] - 1, 0)] if events else np.zeros(len(lengths), np.int64)
            session = np.repeat(np.exp(np.minimum(end - self.newest, 0) / (DAY * self.session_decay)), lengths)
        return Weights(event, session, target)

    def _column(self, values, offsets: np.ndarray, first: int, counted: np.ndarray | None = None) -> np.ndarray:
        """Returns the numbers of the weight column, float64 [events]."""
        try:
            values = pa.array(values, from_pandas=True)
            if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
                values = pc.utf8_trim_whitespace(values.cast(pa.string()))
            numbers = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
        except (pa.ArrowException, TypeError) as error:
            raise InputError(f"weight={self.weight!r}: must be a column of numbers ({error})") from None
        if counted is not None and not np.all(counted):
            numbers = np.where(counted, numbers, 0.0)
        wrong = np.flatnonzero(~((numbers >= 0) & (numbers < np.inf)))
        if len(wrong):
            session = int(np.searchsorted(offsets, wrong[0], side="right")) - 1
            value = "missing" if np.isnan(numbers[wrong[0]]) else f"{numbers[wrong[0]]:g}"
            raise InputError(
                f"weight={self.weight!r}: must be a number of at least 0 for every event; {len(wrong):,} events have "
                f"none, the first is event {wrong[0] - offsets[session] + 1} of session {first + session + 1}: {value}"
            )
        return numbers


def _columns_of(expression: str, known: list[str]) -> tuple[str, ...]:
    """Returns the columns that an SQL expression of an event names.

    Raises:
        InputError: it is no such expression, or names a column that the events do not have.
    """
    from tfrecsession.events.conditions import names_in

    shown = f"weight={expression!r}"
    try:
        names = names_in(expression)
    except InputError:
        raise InputError(
            f"{shown}: must be the name of a column, or SQL of the columns of an event, e.g. {EXPRESSION!r}"
        ) from None
    found = []
    for name in names:
        alike = [column for column in known if column.lower() == name.lower()]
        if not alike:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else "to keep a column, prepare the log with context=NAME"
            columns = ", ".join(known) or "none"
            raise InputError(f"{shown}: {name!r} must be a column of the events, which are: {columns}; {hint}")
        found.append(name if name in alike else alike[0])
    if not found:
        raise InputError(f"{shown}: must name a column of the events, e.g. {EXPRESSION!r}")
    return tuple(dict.fromkeys(found))


def _evaluated(expression: str, columns: dict) -> np.ndarray:
    """Returns the values of an SQL expression for each event, float64, NaN where it is null."""
    import duckdb  # most weights need no engine

    table = pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})
    try:
        with duckdb.connect() as connection:
            connection.register("events", table)
            found = connection.sql(f"SELECT CAST(({expression}) AS DOUBLE) AS weight FROM events").to_arrow_table()
    except duckdb.Error as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"weight={expression!r}: {reason}") from None
    return found["weight"].to_numpy()


def event_types(argument: str, types) -> tuple[str, ...]:
    """Returns the event types of an argument: a list, or a text such as "purchase,cart".

    Raises:
        InputError: it is of another form, or empty.
    """
    if isinstance(types, str):
        types = [part.strip() for part in types.split(",") if part.strip()]
    is_list = isinstance(types, list | tuple | set | frozenset | np.ndarray) and len(types) > 0
    if is_list and all(isinstance(name, str | int | np.integer) and not isinstance(name, bool) for name in types):
        return tuple(dict.fromkeys(str(name) for name in types))
    raise InputError(f"{argument}={types!r}: must be a list of event types, e.g. ['purchase']")


def check_types(sessions, given: dict) -> None:
    """Checks that event types occur in a split; `given`: name of an argument -> event types.

    Raises:
        InputError: the log has no event types, or not this one; the message lists those there are.
    """
    if not given:
        return
    if "event" not in sessions.arrays.columns:
        raise InputError(f"{next(iter(given))}: the log has no event types: prepare it with event=COLUMN")
    counts: dict = {}
    for part in _parts(sessions, "event"):
        for entry in pc.value_counts(pa.array(part).cast(pa.string()).drop_null()).to_pylist():
            counts[entry["values"]] = counts.get(entry["values"], 0) + entry["counts"]
    known = sorted(counts, key=lambda name: (-counts[name], name))
    for argument, types in given.items():
        for name in types:
            if name not in counts:
                near = difflib.get_close_matches(name, known, 1)
                shown = ", ".join(known[:SHOWN]) + (", ..." if len(known) > SHOWN else "") or "none"
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise InputError(
                    f"{argument}={name!r}: must be an event type of the {sessions.role} split, one of {shown}{hint}"
                )


def is_of_types(sessions, types) -> np.ndarray:
    """bool [events]: whether the type of the event is one of `types`."""
    found = pc.is_in(pa.array(sessions.column("event")).cast(pa.string()), pa.array(list(types), pa.string()))
    return found.to_numpy(zero_copy_only=False).astype(bool)


def _table(event_weights) -> dict[str, float]:
    """Returns event type -> weight, of a dict or of a text such as "purchase=5,cart=2"."""
    table = event_weights
    if isinstance(table, str):
        pairs = [part.replace(":", "=", 1).partition("=") for part in table.strip().strip("{}").split(",")]
        table = {name.strip().strip("'\""): value.strip() for name, _, value in pairs}
    if not isinstance(table, Mapping) or not table:
        raise InputError(
            f"event_weights={event_weights!r}: must be a weight for each event type, e.g. {{'purchase': 5, 'cart': 2}}"
        )
    found = {}
    for name, value in table.items():
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not 0 <= number < math.inf:
            raise InputError(f"event_weights: the weight of {name!r} must be a number of at least 0, not {value!r}")
        found[str(name)] = number
    return found


def _parts(sessions, name: str) -> Iterator[np.ndarray]:
    """Yields a column, of stored sessions a part at a time."""
    arrays = sessions.arrays
    if not hasattr(arrays, "read_shard"):
        yield np.asarray(sessions.column(name))
        return
    for part, group in arrays.shards:
        yield np.asarray(arrays.read_column(part, group, name))
