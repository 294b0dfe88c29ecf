"""Context columns of events as numbers for models: of a log, and of requests to a trained model."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfrecsession.errors import InputError
from tfrecsession.events.id_texts import text_of
from tfrecsession.sessions.derived_context import SECOND, SIZES, TIMED, of_numpy, zone_table

FEW = 64  # distinct whole numbers up to which they are categories
MOST = 10_000  # values of a category that have a code of their own, the most frequent ones
FARTHEST = 10.0  # deviations from the mean, to which larger numbers are cut
LATEST = 253_402_300_799  # seconds since 1970, the end of the year 9999
NOT_CONTEXT = ("session", "user", "start", "times", "items")  # columns of prepared sessions
KINDS = ("category", "number")
USER = "user"  # the column of the user of a session: a category without a limit
NEVER_KNOWN = (
    "request=['event']: must be columns that are known when a recommendation is requested; the type of the event to be "
    "predicted is not: use it as context"
)
NO_USERS = "'user': the log names no users: prepare it with user=COLUMN, or leave it out"


class Column(NamedTuple):
    """A context column: `kind` "category", "number", or one that is derived: "gap", "hour", "weekday", "month",
    "position".

    values: those of a category in training, by falling count. mean, deviation: of a number in training.
    """

    name: str
    kind: str
    values: tuple[str, ...] = ()
    mean: float = 0.0
    deviation: float = 1.0

    @property
    def codes(self) -> int:
        """The count of codes: 0 missing, 1 unknown, 2.. the values; 0 for a number."""
        return 0 if self.kind == "number" else 2 + SIZES.get(self.kind, len(self.values))

    @property
    def dtype(self) -> type:
        """The type of its values in a batch: codes, or standardized numbers, NaN where they are missing."""
        return np.float32 if self.kind == "number" else np.int32

    @property
    def missing(self):
        return np.float32(np.nan) if self.kind == "number" else np.int32(0)

    def scaled(self, numbers) -> np.ndarray:
        """Standardizes numbers, float64 [n] -> float32 [n]; NaN and infinity are missing."""
        scaled = np.clip((np.asarray(numbers, np.float64) - self.mean) / self.deviation, -FARTHEST, FARTHEST)
        return np.where(np.isfinite(numbers), scaled, np.nan).astype(np.float32)


class Context:
    """The context that a model reads: of the input events, and of the event that is requested.

        data.context(["device", "hour", "gap"], request=["hour"])

    Columns of the log are categories (texts, truth values, whole numbers with few values) or numbers. The others are
    derived: `gap`, log2 of the seconds since the event before it in its session; `hour`, `weekday` and `month`, in the
    time zone; `position`, the number of events before it in its session. A column of the log wins over a derived one.
    `user` is the user of the session, a category of all users of training.

    In a batch a category is an int32 code: 0 missing, 1 unknown in training, 2.. its values by falling count. So is a
    derived column. A number is float32, with mean 0 and deviation 1 in training; NaN is missing.

    Args:
        columns: all columns that are read, see `Column`.
        context: names of those that are read of the input events.
        request: names of those that are read of the event to be predicted: only what is known when the recommendation
            is requested.
        time_zone: of hour, weekday and month, e.g. "Europe/Berlin"; None: UTC.
        itemless: whether events without an item are read, as steps of the session: the log of training had some, see
            `prepare(itemless="keep")`.
        described: names of `request` that a request alone gives, features of its user; they are missing in every log.

    Raises:
        InputError: `request` has the event type, which is never known, or there is no such time zone.
    """

    def __init__(
        self,
        columns: Iterable[Column],
        context=(),
        request=(),
        time_zone: str | None = None,
        itemless: bool = False,
        described=(),
    ):
        self.columns = {column.name: column for column in columns}
        self.context, self.request, self.time_zone = tuple(context), tuple(request), time_zone
        self.itemless = bool(itemless) and bool(self.context)
        self.described = tuple(described)
        if "event" in self.request:
            raise InputError(NEVER_KNOWN)
        self.zone = zone_table(time_zone)
        self._known = {}

    def __repr__(self) -> str:
        return f"<Context: {', '.join(self.context) or 'nothing'}; request: {', '.join(self.request) or 'nothing'}>"

    def side(self, side: str) -> list[Column]:
        """Returns the columns of "context" or "request", in their order."""
        return [self.columns[name] for name in getattr(self, side)]

    @property
    def keys(self) -> dict[str, Column]:
        """Key of a batch, such as "context/device" -> its column."""
        return {f"{side}/{column.name}": column for side in ("context", "request") for column in self.side(side)}

    @property
    def needs_times(self) -> bool:
        return any(column.kind in TIMED for column in self.columns.values())

    @property
    def given_keys(self) -> tuple[str, ...]:
        """The keys that a request may give: those of a batch but the position, and `context/time`, `request/time`."""
        times = [f"{side}/time" for side in ("context", "request") if self.reads_time(side)]
        return (*(key for key, column in self.keys.items() if column.kind != "position"), *times)

    def reads_time(self, side: str) -> bool:
        """Returns whether a request may give the times of its input events ("context") or its own ("request")."""
        timed = any(column.kind in TIMED for column in self.side(side))
        return timed or (side == "context" and any(column.kind == "gap" for column in self.side("request")))

    # A log -----------------------------------------------------------------------------------------------------------

    @classmethod
    def of(cls, data, context=(), request=(), time_zone: str | None = None) -> Context:
        """Learns values, means and deviations from the train split of a data set, see `Data.context`."""
        return data.context(context, request, time_zone)

    def encode(self, read: Callable[[str], np.ndarray], names, offsets: np.ndarray, timed: bool = True) -> dict:
        """Encodes the events of a log.

        Args:
            read: name of a column -> its values, [events].
            names: the columns that the log has.
            offsets: int64 [sessions + 1], where each session starts.
            timed: whether the log has times.

        Returns:
            Key of a batch -> int32 or float32 [events], the value of each event itself.

        Raises:
            InputError: a column is missing or holds other values than in training.
        """
        events = int(offsets[-1])
        starts = np.repeat(offsets[:-1], np.diff(offsets))
        time = before = None
        if self.needs_times:
            if not timed or "times" not in names:
                kind = next(column.kind for column in self.columns.values() if column.kind in TIMED)
                raise InputError(f"{kind}: needs the times of the events: prepare the log with time=NAME")
            time = np.asarray(read("times"), np.int64)
            before = np.concatenate([np.zeros(min(events, 1), np.int64), time[:-1]])
            before[starts == np.arange(events)] = 0
        encoded = {}
        for name, column in self.columns.items():
            if column.kind in SIZES:
                encoded[name] = of_numpy(column.kind, time, before, np.arange(events) - starts, self.zone)
                continue
            if name == USER:
                if name not in names:
                    raise InputError(NO_USERS)
                users = _codes(_texts(read(name), name), column.values)
                encoded[name] = np.repeat(users, np.diff(offsets))
                continue
            if name in self.described:
                encoded[name] = np.full(events, column.missing)
                continue
            if name not in names:
                raise InputError(
                    f"context: the log has no column {name!r}, which the model reads: prepare it with context={name!r}"
                )
            if column.kind == "number":
                encoded[name] = column.scaled(_numbers(read(name), name))
            else:
                encoded[name] = _codes(_texts(read(name), name), column.values)
        return {key: encoded[column.name] for key, column in self.keys.items()}

    # Requests --------------------------------------------------------------------------------------------------------

    def given(self, context: Mapping | None, request: Mapping | None, lengths: list[int]) -> dict[str, list]:
        """Encodes the context that a request gives.

        Args:
            context: name -> a list of values for each history, one for each of its events; None: missing. A name is
                that of a column of the log, "time", or a derived column: gap in seconds, hour 0 to 23, weekday 0
                (Monday) to 6, month 1 to 12. Times are datetimes, ISO texts, or seconds since 1970.
            request: name -> a value for each history.
            lengths: of the histories.

        Returns:
            Key -> an array for each history (of `context`), or one array (of `request`); only of names that are given.

        Raises:
            InputError: a name that the model does not read, a list of another length, or a value that cannot be read.
        """
        found = {}
        for side, columns in (("context", context), ("request", request)):
            if columns is not None and not isinstance(columns, Mapping):
                raise InputError(f"{side}={columns!r}: must be a dict of columns, e.g. {{'device': ...}}")
            for name, values in (columns or {}).items():
                self._check_name(side, name)
                argument = f"{side}[{name!r}]"
                values = _listed(values, argument)
                if len(values) != len(lengths):
                    each = "a list of values" if side == "context" else "a value"
                    raise InputError(f"{argument}: must have {each} for each of the {len(lengths)} histories")
                if side == "request":
                    found[f"{side}/{name}"] = self.encode_values(name, values, argument)
                    continue
                lists = [_listed(part, f"{argument}[{row}]") for row, part in enumerate(values)]
                for row, (part, length) in enumerate(zip(lists, lengths, strict=True)):
                    if len(part) != length:
                        raise InputError(
                            f"{argument}[{row}]: has {len(part)} values, must have {length}, one for each event of the "
                            "history; None where it is missing"
                        )
                found[f"{side}/{name}"] = [
                    self.encode_values(name, part, f"{argument}[{row}]") for row, part in enumerate(lists)
                ]
        return found

    def _check_name(self, side: str, name: str) -> None:
        known = [key.partition("/")[2] for key in self.given_keys if key.startswith(f"{side}/")]
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(f"{side}: {name!r} must be one that the model reads: {', '.join(known) or 'none'}{hint}")

    def encode_values(self, name: str, values: list, argument: str) -> np.ndarray:
        """Encodes values that a request gives for a column, or for "time"; None, NaN and "" are missing.

        Returns:
            int32 codes, float32 numbers, or int64 times, [values].
        """
        column = self.columns.get(name)
        if column is None:
            return np.array([_time(value, argument) for value in values], np.int64)
        if column.kind == "category":
            known = self._codes_of(column)
            return np.array([known.get(_text(value, argument), 1) for value in values], np.int32)
        numbers = np.array([_number(value, argument) for value in values], np.float64)
        if column.kind == "number":
            return column.scaled(numbers)
        least, most = VALUES[column.kind]
        for number in numbers:
            if not (np.isnan(number) or (least <= number <= most)):
                raise InputError(f"{argument}: {number:g} must be {_range(column.kind)}")
        return derived_codes(column.kind, numbers)

    def _codes_of(self, column: Column) -> dict:
        """Returns value -> code of a category, made once: a log may have many users."""
        if column.name not in self._known:
            self._known[column.name] = {value: code for code, value in enumerate(column.values, 2)} | {None: 0}
        return self._known[column.name]

    # Files -----------------------------------------------------------------------------------------------------------

    def with_users(self, users: Iterable[str]) -> Context:
        """Returns the same context with these users, which begin with its own."""
        columns = {**self.columns, USER: self.columns[USER]._replace(values=tuple(users))}
        return Context(columns.values(), self.context, self.request, self.time_zone, self.itemless, self.described)

    def with_described(self, columns: Iterable[Column]) -> Context:
        """Returns the same context with columns that a request alone gives; names that it has already stay its own."""
        more = {column.name: column for column in columns if column.name not in {*self.columns, "time"}}
        request, described = (*self.request, *more), (*self.described, *more)
        columns = (*self.columns.values(), *more.values())
        return Context(columns, self.context, request, self.time_zone, self.itemless, described)

    def learn(self, context=(), request=(), time_zone: str | None = None) -> Context:
        """Returns itself: the context of a trained model stays as it was learned, also with a newer log."""
        of_log = tuple(name for name in self.request if name not in self.described)
        for argument, names, own in (("context", context, self.context), ("request", request, of_log)):
            if tuple(name.partition(":")[0] for name in checked_names(argument, names)) != own:
                raise InputError(f"{argument}={list(names)!r}: must be {list(own)!r}, as the model was trained")
        return self

    def get_config(self) -> dict:
        columns = [{**column._asdict(), "values": list(column.values)} for column in self.columns.values()]
        sides = {"context": list(self.context), "request": list(self.request)}
        further = {"itemless": True} if self.itemless else {}
        further |= {"described": list(self.described)} if self.described else {}
        return {"columns": columns, **sides, "time_zone": self.time_zone, **further}

    @classmethod
    def from_config(cls, config: dict) -> Context:
        columns = [Column(**{**column, "values": tuple(column["values"])}) for column in config["columns"]]
        sides = config["context"], config["request"]
        return cls(columns, *sides, config["time_zone"], config.get("itemless", False), config.get("described", ()))


class ContextLog:
    """The train split that context is learned from; `Items.context_log` of a data set.

    Args:
        sessions: the split, `Sessions`.
        schema: name of a column -> its type, as in `dataset.json`.
        time_zone: of the data set.
        codes: the log that the codes of context are learned from; None: this one.
    """

    def __init__(
        self, sessions, schema: Mapping[str, str], time_zone: str | None = None, codes: ContextLog | None = None
    ):
        self.sessions, self.schema, self.time_zone, self.codes = sessions, schema, time_zone, codes
        self._read = sessions.whole or sessions  # with events that have no item, whose context is learned too

    def learn(self, context=(), request=(), time_zone: str | None = None) -> Context:
        """Learns the columns of a `Context`.

        Args:
            context, request: names of columns of the log, or derived ones. "NAME:category" and "NAME:number" choose how
                a column of whole numbers is read.
            time_zone: None: that of the data set.

        Raises:
            InputError: a column that the log does not have, or one that cannot be read.
        """
        if self.codes is not None:
            return self.codes.learn(context, request, time_zone)
        chosen: dict[str, Column] = {}
        sides = []
        for argument, names in (("context", context), ("request", request)):
            sides.append([])
            for name in checked_names(argument, names):
                column = self._column(argument, name)
                if chosen.setdefault(column.name, column) != column:
                    raise InputError(f"{argument}: {column.name!r} must be of one kind on both sides")
                sides[-1].append(column.name)
        itemless = bool((np.asarray(self._read.values) == 0).any())
        return Context(chosen.values(), *sides, time_zone or self.time_zone, itemless)

    def _column(self, argument: str, given: str) -> Column:
        available = [name for name in self._read.arrays.columns if name not in NOT_CONTEXT]
        known = [*available, *(name for name in SIZES if name not in available)]
        if argument == "request":
            known = [name for name in known if name != "event"]  # it is never known
        name, kind = given, None
        if given == USER:
            return _user_column(self.sessions, argument)
        if given not in available and given.rpartition(":")[2] in KINDS:
            name, _, kind = given.rpartition(":")
        if name not in available:
            if name == "event" and argument == "request":
                raise InputError(NEVER_KNOWN)
            if name in SIZES and kind is None:
                if name in TIMED and not self._read.timed:
                    raise InputError(
                        f"{argument}: {name!r} needs the times of the events: prepare the log with time=NAME"
                    )
                return Column(name, name)
            near = difflib.get_close_matches(name, known, 1)
            keep = "event=COLUMN" if name == "event" else f"context={name!r}"
            hint = f"; did you mean {near[0]!r}?" if near else f"; to keep it, prepare the log with {keep}"
            raise InputError(f"{argument}: {name!r} must be one of {', '.join(known)}{hint}")
        values = np.asarray(self._read.column(name))
        whole = values.dtype.kind in "iu" or "int" in self.schema.get(name, "")
        if values.dtype.kind not in "iufbO":
            raise InputError(f"{argument}: column {name!r} holds {values.dtype}; must be texts or numbers")
        if kind is None and values.dtype.kind in "iuf":
            few = whole and len(np.unique(values[np.isfinite(values)])) <= FEW
            kind = "category" if few else "number"
        if kind == "number":
            numbers = _numbers(values, name)
            numbers = numbers[np.isfinite(numbers)]
            mean, deviation = (float(numbers.mean()), float(numbers.std())) if len(numbers) else (0.0, 0.0)
            return Column(name, kind, mean=mean, deviation=deviation or 1.0)
        counts = pc.value_counts(_texts(values, name))
        pairs = zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)
        ordered = sorted((-count, value) for value, count in pairs if value)
        return Column(name, "category", tuple(value for _, value in ordered[:MOST]))


def _user_column(sessions, argument: str) -> Column:
    """Returns the column of the users of training, those with most events first."""
    users = sessions.column(USER) if USER in sessions.arrays.columns else []
    if all(user is None for user in users):
        raise InputError(f"{argument}: {NO_USERS}")
    names, index = np.unique(np.array(["" if user is None else user for user in users], str), return_inverse=True)
    events = np.bincount(index.reshape(-1), np.diff(sessions.offsets), len(names))
    order = np.lexsort((names, -events))
    return Column(USER, "category", tuple(names[row].item() for row in order if names[row]))


VALUES = {"gap": (0, math.inf), "hour": (0, 23), "weekday": (0, 6), "month": (1, 12)}  # that a request may give


def derived_codes(kind: str, numbers: np.ndarray) -> np.ndarray:
    """Returns int32 codes of the values of a derived column, as a request gives them: float64, NaN where missing."""
    known = np.isfinite(numbers)
    value = np.where(known, numbers, 0.0)
    if kind == "gap":
        code = of_numpy("gap", 1 + np.rint(value * SECOND).astype(np.int64), np.ones(len(value), np.int64), None, None)
    else:
        code = np.minimum(np.floor(value) - VALUES[kind][0], SIZES[kind] - 1).astype(np.int32) + 2
    return np.where(known, code, 0).astype(np.int32)


def checked_names(argument: str, names) -> list[str]:
    """Returns the names of columns as a list; one text stands for one name."""
    names = [names] if isinstance(names, str) else names
    names = list(names) if isinstance(names, Iterable) else [names]
    if not all(isinstance(name, str) for name in names):
        raise InputError(f"{argument}={names!r}: must be a list of names of columns, e.g. ['device', 'hour']")
    if len(set(names)) < len(names):
        raise InputError(f"{argument}={names!r}: must name each column once")
    return names


def _range(kind: str) -> str:
    least, most = VALUES[kind]
    return "seconds, at least 0" if kind == "gap" else f"from {least} to {most}"


def _listed(values, argument: str) -> list:
    """Returns the values of a list, an array, a tensor or a column."""
    for method in ("to_pylist", "tolist", "to_list"):
        if callable(getattr(values, method, None)):
            values = getattr(values, method)()
            break
    else:
        values = values.numpy().tolist() if hasattr(values, "numpy") else values
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise InputError(f"{argument}={values!r}: must be a list of values")
    return list(values)


def _is_missing(value) -> bool:
    return value is None or value == "" or value == b"" or (isinstance(value, float | np.floating) and value != value)


def _text(value, argument: str) -> str | None:
    if _is_missing(value):
        return None
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    return text_of(value, argument)


def _number(value, argument: str) -> float:
    if _is_missing(value):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(f"{argument}: {value!r} must be a number; None where it is missing") from None


def _time(value, argument: str) -> int:
    """Returns the microseconds since 1970 of a datetime, an ISO text, or seconds; 0 where it is missing."""
    if _is_missing(value) or value != value:  # NaT
        return 0
    if isinstance(value, np.datetime64):
        return int(value.astype("datetime64[us]").astype(np.int64))
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip()) if not value.replace(".", "", 1).isdecimal() else float(value)
        except ValueError:
            raise InputError(
                f"{argument}: {value!r} must be a time: ISO 8601, a datetime, or seconds since 1970"
            ) from None
    if isinstance(value, datetime):
        value = value.replace(tzinfo=UTC) if value.tzinfo is None else value
        return round(value.timestamp() * SECOND)
    seconds = _number(value, argument)
    if not abs(seconds) <= LATEST:
        raise InputError(f"{argument}: {seconds:g} must be a time in seconds since 1970, not milliseconds")
    return round(seconds * SECOND)


def _numbers(values, name: str) -> np.ndarray:
    """Returns the numbers of a column, float64 [n], NaN where they are missing."""
    values = np.asarray(values)
    if values.dtype.kind in "iufb":
        return values.astype(np.float64)
    found = pc.utf8_trim_whitespace(pa.array(values, pa.string(), from_pandas=True))
    found = pc.if_else(pc.equal(found, ""), None, found)
    try:
        return found.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid as error:
        raise InputError(f"context: column {name!r} must hold numbers, as in training: {error}") from None


def _texts(values, name: str) -> pa.Array:
    """Returns the texts of a column of categories, null where they are missing; a whole float has no ".0"."""
    values = np.asarray(values)
    if values.dtype.kind == "f":
        known = np.isfinite(values)
        if (values[known] == np.floor(values[known])).all():
            return pa.array(np.where(known, values, 0).astype(np.int64), mask=~known).cast(pa.string())
        return pa.array([repr(float(value)) if finite else None for value, finite in zip(values, known, strict=True)])
    if values.dtype.kind in "iub":
        return pa.array(values).cast(pa.string())
    try:
        return pa.array(values, pa.string(), from_pandas=True)
    except (pa.ArrowException, TypeError) as error:
        raise InputError(f"context: column {name!r} must hold texts or numbers ({error})") from None


def _codes(texts: pa.Array, values: tuple[str, ...]) -> np.ndarray:
    """Returns int32 codes: 0 for null and "", 1 for a value that is not in `values`, 2.. in their order."""
    encoded = texts.dictionary_encode()
    index = pc.index_in(encoded.dictionary, pa.array(values, pa.string()))
    codes = pc.fill_null(pc.add(index, 2), 1).to_numpy(zero_copy_only=False).astype(np.int32)
    codes[np.asarray(pc.equal(encoded.dictionary, "")).astype(bool)] = 0
    codes = np.append(codes, np.int32(0))
    return codes[pc.fill_null(encoded.indices, len(codes) - 1).to_numpy(zero_copy_only=False)]
