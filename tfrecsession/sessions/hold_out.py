"""The split of sessions by users: the sessions of some users are held out, or the last ones of every user."""

from __future__ import annotations

import math

import ibis
import ibis.expr.types as ir

from tfrecsession.errors import InputError
from tfrecsession.sessions.coded_log import Log
from tfrecsession.sessions.options import Options
from tfrecsession.sessions.scratch_db import ScratchDatabase
from tfrecsession.sessions.sessionize import USUAL_GAP

PRIME = 2**31 - 1  # x -> x^5 permutes the numbers below it, for 5 does not divide 2^31 - 2
STEP = {"users": "split by users", "last-session": "split by last sessions"}


def hold_out(
    log: Log, sessions: ir.Table, options: Options, db: ScratchDatabase
) -> tuple[dict[str, ir.Table], list[str]]:
    """Splits sessions as `options.hold_out` says. Returns split -> sessions, and notes.

    - "users": all sessions of a share of the users are test, those of another share validation. The choice depends on
      the users' names alone, not on their sessions.
    - "last-session": the last session of every user with two and more is test, the one before it validation if the
      user has three and more.

    Sessions without a user are in training.

    Args:
        log: the log of the sessions.
        sessions: a table with `session`, `label`, `start`, `user`, see `session_table`.
        options: after `for_log`.
        db: the database of the tables.

    Raises:
        InputError: the log names no users, too few of them, or none has two sessions.
    """
    given = f"hold_out={options.hold_out!r}"
    if "user" not in log.names:
        raise InputError(
            f"{log.source}: {given} needs users, and the log names none: name their column with user=COLUMN"
        )
    named = sessions.filter(sessions.user.notnull())
    counts = db.numbers(named, sessions=named.count(), users=named.user.nunique())
    anonymous, notes = db.count(sessions) - counts["sessions"], []
    if anonymous:
        notes.append(f"{given}: {anonymous:,} sessions without a user are in training")
    if options.hold_out == "users":
        cuts = _users(log, named, options, counts["users"], given, db)
    else:
        cuts, more = _last_sessions(log, named, options, counts, given, db)
        notes += more
    held = cuts["validation"].select("session").union(cuts["test"].select("session"))
    return {"train": sessions.anti_join(held, "session"), **cuts}, notes


def _users(log: Log, named: ir.Table, options: Options, count: int, given: str, db: ScratchDatabase) -> dict:
    validation, test = (math.ceil((span.share or 0) * count) for span in options.spans)
    if validation + test >= count:
        raise InputError(
            f"{log.source}: {given} with test_span={options.test_span!r} and "
            f"validation_span={options.validation_span!r} leaves no user to train on: the log has {count:,} users "
            "with sessions; give smaller shares of the users"
        )
    users = named.select(code="user").distinct().inner_join(log.names["user"], "code").select("code", "name")
    place = db.numbered(_in_random_order(db.numbered(users, ["name"], "number")), ["random"], "place")

    def of(low: int, high: int) -> ir.Table:
        chosen = place.filter(place.place >= low, place.place < high).select(user="code")
        return db.store(named.semi_join(chosen, "user"))

    return {"validation": of(test, test + validation), "test": of(0, test)}


def _in_random_order(users: ir.Table) -> ir.Table:
    """Adds the column `random`: different numbers in an order unlike that of `number`, alike on every engine."""
    start = (users.number.cast("int64") * 48_271 + 11) % PRIME  # below 2^31, so that squares fit into int64
    users = users.mutate(x=start)
    users = users.mutate(x2=users.x * users.x % PRIME)
    users = users.mutate(x4=users.x2 * users.x2 % PRIME)
    return users.mutate(random=users.x4 * users.x % PRIME).select("code", "random")


def _last_sessions(log: Log, named: ir.Table, options: Options, counts: dict, given: str, db: ScratchDatabase):
    window = ibis.window(group_by=named.user, order_by=[named.start.desc(), named.label.desc()])
    ordered = named.mutate(
        from_last=ibis.row_number().over(window), of_user=named.count().over(ibis.window(group_by=named.user))
    )
    ordered = db.store(ordered)

    def of(place: int) -> ir.Table:
        chosen = ordered.filter(ordered.from_last == place, ordered.of_user >= place + 2)
        return db.store(chosen.drop("from_last", "of_user"))

    cuts = {"validation": of(1) if not options.spans[0].empty else named.limit(0), "test": of(0)}
    if not db.count(cuts["test"]):
        cut = f", cut sessions with gap='{USUAL_GAP}'" if log.timed and log.pieces is None else ""
        raise InputError(
            f"{log.source}: {given}: none of the {counts['users']:,} users has two sessions: name another column with "
            f"user=COLUMN{cut}, or hold out users with hold_out='users'"
        )
    if options.spans[0].empty or db.count(cuts["validation"]):
        return cuts, []
    return cuts, [f"{given}: no user has three sessions, so the validation split is empty"]
