"""The options of `prepare`, checked before any work is done."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from tfrecsession.errors import InputError
from tfrecsession.events.null_values import null_values
from tfrecsession.events.quoting import check_quote
from tfrecsession.events.raw_log import FileOptions
from tfrecsession.events.schema import Columns
from tfrecsession.sessions.content_kinds import checked_content
from tfrecsession.sessions.derived_context import zone_table
from tfrecsession.sessions.spans import Span, parse_duration, parse_span

ON_DISK = ("items", "times", "start")  # columns of prepared sessions that the event table does not have
MEMORY = re.compile(r"\d+(\.\d+)? ?[KMGT]i?B", re.IGNORECASE)
HOLD_OUT = ("users", "last-session")
SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT]?)(i?)B?", re.IGNORECASE)  # ... or a number of bytes


@dataclass(frozen=True)
class Options:
    """The arguments of `prepare` that shape its result; None: a default that depends on the log."""

    item: str | None = None
    time: str | None = None
    session: str | None = None
    user: str | None = None
    event: str | None = None
    context: tuple[str, ...] = ()
    format: str | None = None
    time_unit: str | None = None
    gap: str | None = None
    drop_repeats: bool = False
    min_item_support: int | None = None
    min_session_length: int | None = None
    one_pass: bool = False
    test_span: str | None = None
    validation_span: str | None = None
    split_by: str = "start"
    test_input: object = None
    unknown_items: str | None = None
    keep_duplicates: bool = False
    drop_bad_rows: bool = False
    null_values: object = None
    quote: str | None = None
    engine: str = "duckdb"
    memory: str = "4GB"
    order: str | None = None
    where: str | None = None
    columns: tuple[str, ...] | None = None  # of files without a header
    encoding: str | None = None
    time_format: str | None = None
    max_session_length: int | None = None
    time_zone: str | None = None
    items: object = None
    items_key: str | None = None
    items_columns: tuple[str, ...] | None = None  # of an item table without a header
    items_encoding: str | None = None
    content: object = None  # after `checked`: "NAME" or "NAME:KIND" each
    unseen_items: str | None = None
    users: object = None
    users_key: str | None = None
    users_columns: tuple[str, ...] | None = None  # of a table of users without a header
    users_encoding: str | None = None
    user_content: object = None  # after `checked`: "NAME" or "NAME:KIND" each
    itemless: str | None = None
    hold_out: str | None = None

    def checked(self) -> Options:
        """Returns the options with all defaults that do not depend on the log; raises InputError for invalid values."""
        given = self.test_input is not None
        if self.engine not in ("duckdb", "spark"):
            raise InputError(f"engine={self.engine!r}: choose duckdb or spark")
        if not MEMORY.fullmatch(str(self.memory)):
            raise InputError(f"memory={self.memory!r}: must be a size such as 4GB or 500MB")
        if self.split_by not in ("start", "end"):
            raise InputError(f"split_by={self.split_by!r}: choose start or end")
        if self.unknown_items not in (None, "drop", "keep"):
            raise InputError(f"unknown_items={self.unknown_items!r}: choose drop or keep")
        content = checked_content(self.content)
        user_content = checked_content(self.user_content, "user_content")
        if self.unseen_items not in (None, "leave", "add"):
            raise InputError(f"unseen_items={self.unseen_items!r}: choose leave or add")
        for name in ("items_key", "items_columns", "items_encoding", "content"):
            if self.items is None and getattr(self, name) is not None:
                raise InputError(f"{name}={getattr(self, name)!r}: needs an item table, given as items=TABLE")
        for name in ("users_key", "users_columns", "users_encoding", "user_content"):
            if self.users is None and getattr(self, name) is not None:
                raise InputError(f"{name}={getattr(self, name)!r}: needs a table of users, given as users=TABLE")
        if self.unseen_items == "add" and self.engine == "spark":
            raise InputError("unseen_items='add': must be 'leave' with engine='spark'")
        if self.itemless not in (None, "drop", "keep"):
            raise InputError(f"itemless={self.itemless!r}: choose drop or keep")
        check_quote(self.quote)
        zone_table(self.time_zone)
        if given and self.test_span is not None:
            raise InputError("test_span= and test_input= exclude each other: the test sessions are given")
        self._check_hold_out()
        options = replace(
            self,
            context=tuple(self.context),
            null_values=null_values(self.null_values),
            min_item_support=_at_least_one(self.min_item_support, "min_item_support", 1 if given else 5),
            min_session_length=_at_least_one(self.min_session_length, "min_session_length", 2),
            max_session_length=_at_least_one(self.max_session_length, "max_session_length", None),
            columns=None if self.columns is None else () if isinstance(self.columns, str) else tuple(self.columns),
            unknown_items=self.unknown_items or ("keep" if given else "drop"),
            content=_listed(content),
            user_content=_listed(user_content),
        )
        if (longest := options.max_session_length) is not None and longest < options.min_session_length:
            raise InputError(
                f"max_session_length={longest}: must be at least min_session_length={options.min_session_length}"
            )
        if self.columns is not None and not (options.columns and all(isinstance(n, str) for n in options.columns)):
            raise InputError(f"columns={self.columns!r}: must be a list of names, e.g. columns=['session', 'item']")
        for name in options.context:
            if str(name).lower() in ON_DISK:
                raise InputError(f"context={name!r}: prepared sessions use this name: rename the column in the log")
        if options.gap is not None and not parse_duration(options.gap, "gap"):
            raise InputError(f"gap={options.gap!r}: must be longer than 0")
        for span, argument in ((options.test_span, "test_span"), (options.validation_span, "validation_span")):
            if span is not None:
                parse_span(span, argument)
        return options

    def for_log(self, source: str, timed: bool) -> Options:
        """Returns the options with every default filled in, once it is known whether the log has times."""
        if self.hold_out is not None:
            share = None if self.hold_out == "last-session" else "10%"
            return replace(self, test_span=self.test_span or share, validation_span=self.validation_span or share)
        given = self.test_input is not None
        if not timed:
            self._check_untimed(source)
        test = "0d" if given else self.test_span or "1d"
        validation = self.validation_span or ("1d" if timed and not given else "0d")
        return replace(self, test_span=test, validation_span=validation)

    def _check_hold_out(self) -> None:
        if self.hold_out is None:
            return
        given = f"hold_out={self.hold_out!r}"
        if self.hold_out not in HOLD_OUT:
            raise InputError(f"{given}: choose {' or '.join(HOLD_OUT)}; without it the log is split by time")
        if self.test_input is not None:
            raise InputError(f"{given}: must be left out with test_input=, the test sessions are given")
        if self.split_by != "start":
            raise InputError(f"{given}: must be left out with split_by={self.split_by!r}, which is for a split by time")
        for argument in ("test_span", "validation_span"):
            span = getattr(self, argument)
            if span is None:
                continue
            parsed = parse_span(span, argument)
            if self.hold_out == "users" and (parsed.microseconds or (parsed.empty and argument == "test_span")):
                raise InputError(f"{argument}={span!r}: must be a share of the users with {given}, such as 10%")
            if self.hold_out == "last-session" and (argument == "test_span" or not parsed.empty):
                none = "; validation_span='0d' leaves validation out" if argument == "validation_span" else ""
                raise InputError(
                    f"{argument}={span!r}: must be left out with {given}, which takes one session of each user{none}"
                )

    def _check_untimed(self, source: str) -> None:
        if self.test_span is None and self.test_input is None:
            raise InputError(
                f"{source}: without times there is no last day to test on: give a share of the sessions, as "
                "test_span='10%', or test_input=FILE"
            )
        for span, argument in ((self.test_span, "test_span"), (self.validation_span, "validation_span")):
            if span is not None and parse_span(span, argument).microseconds:
                raise InputError(
                    f"{source}: {argument}={span!r} needs times, which this log lacks: give a share, "
                    f"as {argument}='10%'"
                )

    @property
    def log_columns(self) -> Columns:
        return Columns(self.item, self.time, self.session, self.user, self.event, self.context, self.order, self.where)

    @property
    def files(self) -> FileOptions:
        return FileOptions(self.format, self.columns, self.encoding, self.quote)

    @property
    def spans(self) -> tuple[Span, Span]:
        """The spans of validation and test; only after `for_log`."""
        validation, test = self.validation_span, self.test_span
        if self.hold_out == "last-session":  # one session each: these lengths only say that there are such splits
            validation, test = validation or "1s", "1s"
        return parse_span(validation, "validation_span"), parse_span(test, "test_span")

    @property
    def shaping(self) -> dict:
        """The options in the fingerprint: no names of files and columns, no settings of the engine."""
        names = (
            "gap drop_repeats min_item_support min_session_length one_pass test_span validation_span split_by "
            "unknown_items keep_duplicates"
        )
        longest = {} if self.max_session_length is None else {"max_session_length": self.max_session_length}
        added = {"unseen_items": "add"} if self.unseen_items == "add" else {}
        itemless = {"itemless": "keep"} if self.itemless == "keep" else {}
        hold_out = {} if self.hold_out is None else {"hold_out": self.hold_out}
        return {name: getattr(self, name) for name in names.split()} | longest | added | itemless | hold_out


def _listed(content: dict[str, str | None] | None) -> tuple[str, ...] | None:
    """Returns content columns as "NAME" or "NAME:KIND" each."""
    return None if content is None else tuple(f"{name}:{kind}" if kind else name for name, kind in content.items())


def _at_least_one(count: int | None, argument: str, default: int | None) -> int | None:
    if count is None:
        return default
    if isinstance(count, bool) or int(count) != count or count < 1:
        raise InputError(f"{argument}={count!r}: must be a whole number of at least 1")
    return int(count)


def bytes_of(memory: str | int) -> int:
    """Converts "512MB" to 512000000; a number is in bytes already. Raises InputError for a size that is not above 0."""
    match = SIZE.fullmatch(str(memory).strip())
    size = float(match[1]) * (1024 if match[3] else 1000) ** " KMGT".index(match[2].upper() or " ") if match else 0
    if size < 1:
        raise InputError(f"memory={memory!r}: must be a size such as 4GB or 500MB")
    return int(size)
