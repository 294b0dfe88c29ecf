"""The split of sessions into train, validation and test, by time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import ibis.expr.types as ir

from tfrecsession.errors import InputError
from tfrecsession.sessions.coded_log import Log
from tfrecsession.sessions.scratch_db import ScratchDatabase
from tfrecsession.sessions.spans import MICROSECONDS, Span, in_words, iso
from tfrecsession.sessions.step_counts import StepCounts
from tfrecsession.sessions.store import SPLITS

DAY = MICROSECONDS["d"]


@dataclass(frozen=True)
class Split:
    """A split: its `sessions` (a `session_table`, with names in `label`), and `events`, which include theirs."""

    name: str
    log: Log
    events: ir.Table
    sessions: ir.Table
    step_counts: StepCounts
    advice: str = ""  # if no session lies in it
    step: str = ""  # the name of the split among the steps; "": by time, or by the order of the rows


def session_table(log: Log, events: ir.Table) -> ir.Table:
    """Returns a row per session of `events`: `session`, `start`, `end` (int64 microseconds), `events`, `user` (code).

    The user of a session is that of its first row with a user.
    """
    aggregates = {"start": events.time.min(), "end": events.time.max(), "events": events.count()}
    if "user" in log.names:
        aggregates["user"] = events.user.argmin(events.order, where=events.user.notnull())
    return events.group_by("session").agg(**aggregates)


@dataclass(frozen=True)
class Border:
    """A border between splits: sessions at or after it are later. Names order equal times, so every cut is exact."""

    time: int
    label: str = ""

    def after(self, sessions: ir.Table, by: str) -> ir.BooleanValue:
        time = sessions[by]
        return (time > self.time) | ((time == self.time) & (sessions.label >= self.label))


def split_sessions(
    sessions: ir.Table, validation: Span, test: Span, by: str, db: ScratchDatabase, source: str, dates: bool = False
) -> dict[str, ir.Table]:
    """Splits sessions by their start (by="end": end).

    Test is the last `test` of the log, validation the `validation` before it, train all earlier sessions.
    A session exactly on a border belongs to the later side. The log ends with its last event. A share of n sessions is
    rounded up, and always a share of all sessions. Raises InputError for spans that leave nothing to train on.

    dates: the times are dates. The log then ends with its last date, and spans are rounded up to whole dates.
    """
    log = db.numbers(sessions, first=sessions.start.min(), last=sessions.end.max(), sessions=sessions.count())
    rest, cuts, given = sessions, {}, []
    shares = [f"{split}_span='10%'" for split, span in (("test", test), ("validation", validation)) if not span.empty]
    if dates:
        log["last"] += DAY
    end = Border(log["last"])
    for split, span in (("test", test), ("validation", validation)):
        if span.empty:
            cuts[split] = rest.limit(0)
            continue
        given.append(f"{split}_span={span.text!r}")
        end = _border(rest, _in_dates(span) if dates else span, by, end, log["sessions"], db)
        if end is None or (span.share is None and end.time <= log["first"]):
            raise InputError(_nothing_to_train_on(source, given, log, span, shares))
        cuts[split] = rest.filter(end.after(rest, by))
        rest = rest.filter(~end.after(rest, by))
    return {"train": rest, **{split: cuts[split] for split in SPLITS[1:]}}


def has_dates_alone(log: Log, db: ScratchDatabase) -> bool:
    """Returns whether every time of the log is the midnight of a date (UTC)."""
    if not log.timed:
        return False
    times = log.events.time
    return not db.numbers(log.events, others=log.events.count(where=times % DAY != 0))["others"]


def _in_dates(span: Span) -> Span:
    if span.share is not None:
        return span
    return Span(span.text, microseconds=math.ceil(Fraction(span.microseconds, DAY)) * DAY)


def _border(sessions: ir.Table, span: Span, by: str, end: Border, of: int, db: ScratchDatabase) -> Border | None:
    """Returns where the latest `span` of the sessions, which end at `end`, begins; None: before all of them."""
    if span.share is None:
        return Border(end.time - span.microseconds)
    before = db.numbers(sessions, count=sessions.count())["count"] - math.ceil(span.share * of)
    if before <= 0:
        return None
    ordered = db.numbered(sessions.select(by, "label"), [by, "label"], "place")
    (session,) = ordered.filter(ordered.place == before).to_pyarrow().to_pylist()
    db.drop(ordered)
    return Border(session[by], session["label"])


def _nothing_to_train_on(source: str, given: list[str], log: dict, span: Span, shares: list[str]) -> str:
    options = " and ".join(given)
    verb = "leave" if len(given) > 1 else "leaves"
    if span.share is not None:
        return (
            f"{source}: {options} {verb} no session to train on: the log has {log['sessions']:,}; give smaller shares"
        )
    length, dates = in_words(log["last"] - log["first"]), f"{iso(log['first'])} to {iso(log['last'])}"
    return (
        f"{source}: {options} {verb} nothing to train on: the log is {length} long ({dates}); give shares of the "
        f"sessions, as {' and '.join(shares)}"
    )
