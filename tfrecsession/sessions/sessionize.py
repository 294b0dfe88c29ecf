"""Events -> sessions: by the log's own session column, or wherever a user was idle for long enough."""

from __future__ import annotations

from dataclasses import replace

import ibis
import ibis.expr.types as ir

from tfrecsession.errors import InputError
from tfrecsession.events.schema import EventTable
from tfrecsession.sessions.coded_log import Log
from tfrecsession.sessions.scratch_db import Workbench
from tfrecsession.sessions.spans import parse_duration
from tfrecsession.sessions.step_counts import Ledger

USUAL_GAP = "30m"


def gap_for(table: EventTable, gap: str | None) -> str | None:
    """The idle gap to cut at: as asked, else none for a log with sessions, else the usual one over its users.

    Raises InputError for a log that has neither sessions nor users, or no times to see a gap in.
    """
    has_sessions = "session" in table.table.columns
    if gap is None and has_sessions:
        return None
    if not has_sessions and "user" not in table.table.columns:
        raise InputError(
            f"{table.source}: no session and no user column: say which events belong together with --session NAME, or "
            "with --user NAME and --gap 30m"
        )
    if not table.timed:
        raise InputError(f"{table.source}: cutting sessions at idle gaps needs times: name them with --time NAME")
    return gap or USUAL_GAP


def sessionize(log: Log, gap: str | None, bench: Workbench, ledger: Ledger, notes: list[str]) -> Log:
    """Give every event its session.

    gap: a pause of a user (in a log with sessions: within a session) longer than this begins a new session. Such
    sessions are named "<user>/<n>", n from 1 in time order. Events without a user cannot be told apart then: they are
    dropped, with a note.
    """
    if gap is None:
        _note_shared_sessions(log, bench, notes)
        return log
    owner = "session" if "session" in log.names else "user"
    known = log if owner == "session" else _with_users(log, bench, ledger, notes)
    step = f"sessions cut at idle gaps over {gap}"
    ledger.begin(step)
    pieces = bench.numbers(known.events, rows=known.events.order.max())["rows"] + 1
    cut = bench.store(_cut(known, owner, parse_duration(gap, "--gap"), pieces))
    bench.drop(log.events)
    ledger.record(step, **bench.numbers(cut, sessions=cut.session.nunique()))
    return replace(known, events=cut, pieces=pieces, owner=owner)


def session_names(log: Log, sessions: ir.Table) -> ir.Table:
    """The table `sessions` with a column `label`, the session's name."""
    names = log.names[log.owner].select(owner="code", label="name")
    if log.pieces is None:
        return sessions.mutate(owner=sessions.session).inner_join(names, "owner").drop("owner")
    piece = sessions.session % log.pieces
    owner = ((sessions.session - piece) / log.pieces).round().cast("int64")  # through a float: rounding makes it exact
    named = sessions.mutate(owner=owner, piece=piece).inner_join(names, "owner")
    return named.mutate(label=named.label + "/" + named.piece.cast("string")).drop("owner", "piece")


def _cut(log: Log, owner: str, gap: int, pieces: int) -> ir.Table:
    events = log.events
    before = events.time.lag().over(group_by=owner, order_by=log.order)
    events = events.mutate(opens=((events.time - before) > gap).fill_null(True).cast("int64"))
    so_far = ibis.cumulative_window(group_by=owner, order_by=["time", "order"])
    number = events.opens.sum().over(so_far)
    return events.mutate(session=events[owner] * pieces + number).drop("opens")


def _with_users(log: Log, bench: Workbench, ledger: Ledger, notes: list[str]) -> Log:
    events = log.events
    known = events.filter(events.user.notnull())
    counts = bench.numbers(known, events=known.count(), items=known.item.nunique())
    dropped = ledger.steps[-1]["events"] - counts["events"]
    if not dropped:
        return log
    ledger.record("events without a user", advice="there is nobody whose idle gaps could be seen", **counts)
    notes.append(f"{dropped:,} events without a user were dropped, because sessions are cut by user")
    return replace(log, events=known)


def _note_shared_sessions(log: Log, bench: Workbench, notes: list[str]) -> None:
    if "user" not in log.names:
        return
    users = log.events.group_by("session").agg(first=log.events.user.min(), last=log.events.user.max())
    shared = users.filter(users.first != users.last)
    count = bench.numbers(shared, sessions=shared.count())["sessions"]
    if count:
        notes.append(
            f"{count:,} session ids occur with more than one user; each was kept as one session of the "
            "user who comes first in the log"
        )
