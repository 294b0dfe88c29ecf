"""Assignment of events to sessions: by the log's own session column, or by cutting at idle gaps of a user."""

from __future__ import annotations

from dataclasses import replace

import ibis
import ibis.expr.types as ir

from tfrecsession.errors import InputError
from tfrecsession.events.schema import EventTable
from tfrecsession.sessions.coded_log import Log
from tfrecsession.sessions.scratch_db import ScratchDatabase
from tfrecsession.sessions.spans import parse_duration
from tfrecsession.sessions.step_counts import StepCounts

USUAL_GAP = "30m"


def gap_for(table: EventTable, gap: str | None) -> str | None:
    """Returns the idle gap to cut at: the given one, else none for a log with sessions, else the usual one.

    Raises InputError if the log has neither sessions nor users, or no times to find gaps in.
    """
    has_sessions = "session" in table.table.columns
    if gap is None and has_sessions:
        return None
    if not has_sessions and "user" not in table.table.columns:
        raise InputError(
            f"{table.source}: no session and no user column: give session=NAME, or user=NAME and gap='30m'"
        )
    if not table.timed:
        raise InputError(
            f"{table.source}: cutting sessions at idle gaps needs times: name them with time=NAME, or name the column "
            "whose values are the sessions with session=NAME"
        )
    return gap or USUAL_GAP


def sessionize(log: Log, gap: str | None, db: ScratchDatabase, step_counts: StepCounts, notes: list[str]) -> Log:
    """Assigns every event to a session.

    gap: a longer pause of a user (in a log with sessions: within a session) begins a new session. Such sessions are
    named "<user>/<n>", n from 1 in time order. Events without a user are then dropped, with a note.
    """
    if gap is None:
        _note_shared_sessions(log, db, notes)
        return log
    owner = "session" if "session" in log.names else "user"
    known = log if owner == "session" else _with_users(log, db, step_counts, notes)
    step = f"sessions cut at idle gaps over {gap}"
    step_counts.begin(step)
    pieces = db.numbers(known.events, rows=known.events.order.max())["rows"] + 1
    cut = db.store(_cut(known, owner, parse_duration(gap, "gap"), pieces))
    db.drop(log.events)
    step_counts.record(step, **db.numbers(cut, sessions=cut.session.nunique()))
    return replace(known, events=cut, pieces=pieces, owner=owner)


def recut(log: Log, gap: str, db: ScratchDatabase) -> Log:
    """Returns a log with sessions of its own cut at idle gaps, too, as a copy."""
    pieces = db.numbers(log.events, rows=log.events.order.max())["rows"] + 1
    return replace(log, events=db.store(_cut(log, "session", parse_duration(gap, "gap"), pieces)), pieces=pieces)


def session_names(log: Log, sessions: ir.Table) -> ir.Table:
    """Returns the table `sessions` with a column `label`, the session's name."""
    names = log.names[log.owner].select(owner="code", label="name")
    if log.pieces is None:
        return sessions.mutate(owner=sessions.session).inner_join(names, "owner").drop("owner")
    piece = sessions.session % log.pieces
    owner = ((sessions.session - piece) / log.pieces).round().cast("int64")  # a float: rounding makes it exact
    named = sessions.mutate(owner=owner, piece=piece).inner_join(names, "owner")
    return named.mutate(label=named.label + "/" + named.piece.cast("string")).drop("owner", "piece")


def _cut(log: Log, owner: str, gap: int, pieces: int) -> ir.Table:
    events = log.events
    before = events.time.lag().over(group_by=owner, order_by=log.order)
    events = events.mutate(opens=((events.time - before) > gap).fill_null(True).cast("int64"))
    so_far = ibis.cumulative_window(group_by=owner, order_by=["time", "order"])
    number = events.opens.sum().over(so_far)
    return events.mutate(session=events[owner] * pieces + number).drop("opens")


def _with_users(log: Log, db: ScratchDatabase, step_counts: StepCounts, notes: list[str]) -> Log:
    events = log.events
    known = events.filter(events.user.notnull())
    counts = db.numbers(known, events=known.count(), items=known.item.nunique())
    dropped = step_counts.steps[-1]["events"] - counts["events"]
    if not dropped:
        return log
    step_counts.record("events without a user", advice="idle gaps need a user", **counts)
    notes.append(f"{dropped:,} events without a user were dropped, because sessions are cut by user")
    return replace(log, events=known)


def _note_shared_sessions(log: Log, db: ScratchDatabase, notes: list[str]) -> None:
    if "user" not in log.names:
        return
    users = log.events.group_by("session").agg(first=log.events.user.min(), last=log.events.user.max())
    shared = users.filter(users.first != users.last)
    count = db.numbers(shared, sessions=shared.count())["sessions"]
    if count:
        notes.append(
            f"{count:,} session ids occur with more than one user; each was kept as one session of the "
            "user who comes first in the log"
        )
