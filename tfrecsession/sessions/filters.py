"""Filters of a log: repeated rows and clicks, rare items, short sessions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count

import ibis
import ibis.expr.types as ir

from tfrecsession.sessions.coded_log import CONTEXT, Log
from tfrecsession.sessions.scratch_db import ScratchDatabase
from tfrecsession.sessions.step_counts import StepCounts


def drop_duplicates(log: Log, db: ScratchDatabase, step_counts: StepCounts, itemless: bool = False) -> Log:
    """Keeps the first of rows that agree in session, user, item, time and event; without an item, in context too."""
    step_counts.begin("duplicate rows")
    events = log.events
    alike = [name for name in events.columns if name != "order" and not name.startswith(CONTEXT)]
    if itemless:
        further = {name: ibis.ifelse(events.item.isnull(), events[name], None) for name in events.columns}
        alike += [value.name(name) for name, value in further.items() if name.startswith(CONTEXT)]
    firsts = events.group_by(alike).agg(order=events.order.min(), rows=events.count())
    again = firsts.filter(firsts.rows > 1)
    repeated = db.numbers(again, rows=again.rows.sum() - again.count())["rows"] or 0
    step_counts.record("duplicate rows", events=step_counts.steps[-1]["events"] - repeated)
    if not repeated:
        return log
    kept = events.semi_join(firsts, "order") if log.context else firsts.drop("rows")
    kept = db.store(kept)
    db.drop(events)
    return replace(log, events=kept)


def drop_repeats(log: Log, db: ScratchDatabase, step_counts: StepCounts) -> Log:
    """Keeps the first of consecutive events of a session with the same item."""
    step_counts.begin("consecutive repeats")
    events = log.events
    before = events.item.lag().over(group_by="session", order_by=log.order)
    events = events.mutate(before=before)
    is_fresh = (events.before != events.item) | events.before.isnull() | events.item.isnull()
    fresh = db.store(events.filter(is_fresh).drop("before"))
    db.drop(log.events)
    step_counts.record("consecutive repeats", **db.numbers(fresh, events=fresh.count()))
    return replace(log, events=fresh)


def keep_newest(log: Log, length: int, db: ScratchDatabase, step_counts: StepCounts) -> Log:
    """Keeps the newest `length` events of longer sessions."""
    step = f"newest {length} events of a session"
    step_counts.begin(step)
    events = log.events
    newest_first = [key.desc() for key in log.order]
    age = ibis.row_number().over(group_by="session", order_by=newest_first)
    events = events.mutate(age=age)
    kept = db.store(events.filter(events.age < length).drop("age"))
    db.drop(log.events)
    step_counts.record(step, **db.numbers(kept, events=kept.count(), items=kept.item.nunique()))
    return replace(log, events=kept)


def set_itemless_apart(log: Log, db: ScratchDatabase, step_counts: StepCounts) -> Log:
    """Moves events without an item out of the way of filters and counts, to `itemless` of the log."""
    step = "events without an item, kept as context"
    step_counts.begin(step)
    itemless = db.store(log.events.filter(log.events.item.isnull()))
    events = db.store(log.events.filter(log.events.item.notnull()))
    sessions = {} if step_counts.steps[-1]["sessions"] is None else {"sessions": events.session.nunique()}
    step_counts.record(step, **db.numbers(events, events=events.count(), **sessions))
    db.drop(log.events)
    return replace(log, events=events, itemless=itemless)


def long_and_frequent(
    log: Log, length: int, support: int, one_pass: bool, db: ScratchDatabase, step_counts: StepCounts
) -> Kept:
    """Drops sessions of fewer than `length` events and items of fewer than `support`, until nothing changes.

    The result does not depend on the order: it is the largest set of sessions and items that satisfies both limits.
    one_pass: drop short sessions, rare items, short sessions again, and stop, as in P-RSC15; rare items may remain.

    The events are only counted, not copied; only the counts are stored.
    """
    filters = (
        _Filter("session", length, f"sessions shorter than {length}", f"lower min_session_length={length}"),
        _Filter("item", support, f"items with fewer than {support} events", f"lower min_item_support={support}"),
    )
    kept, alive, dead = Kept(), {}, None
    for turn in count():
        this, last = filters[turn % 2], filters[(turn - 1) % 2]
        step = last.step if turn < 3 else f"{last.step}, round {(turn + 1) // 2}"
        step_counts.begin(this.step if turn < 2 else f"{this.step}, round {turn // 2 + 1}")
        before = getattr(kept, this.column)
        if before is None:
            tally = db.store(_tally(kept.of(log.events), this.column))
        else:
            tally = db.store(_remaining(log.events, before, dead, this.column, last.column))
        enough = tally.events >= this.least
        found = db.numbers(tally, events=tally.events.sum(), rows=tally.count(), kept=tally.count(where=enough))
        # The items that the length filter left are known only now that they are counted, and vice versa.
        if turn and last.least > 1:
            rows = {f"{this.column}s": found["rows"], f"{last.column}s": alive[last.column]}
            step_counts.record(step, events=found["events"] or 0, advice=last.advice, **rows)
        settled = turn > 0 and found["kept"] == found["rows"]
        if settled or (one_pass and turn == 3):
            return replace(kept, **{this.column: tally})
        alive[this.column] = found["kept"]
        kept, dead = replace(kept, **{this.column: tally.filter(enough)}), tally.filter(~enough)


@dataclass(frozen=True)
class Kept:
    """The survivors of the length and support filters: a table of `session` and one of `item`; None: all."""

    session: ir.Table | None = None
    item: ir.Table | None = None

    def of(self, events: ir.Table) -> ir.Table:
        """Returns the events of these sessions and items."""
        for column in ("session", "item"):
            if (alive := getattr(self, column)) is not None:
                events = events.semi_join(alive, column)
        return events


@dataclass(frozen=True)
class _Filter:
    column: str
    least: int  # events
    step: str
    advice: str


def _tally(events: ir.Table, column: str) -> ir.Table:
    return events.group_by(column).agg(events=events.count())


def _remaining(events: ir.Table, tally: ir.Table, dead: ir.Table, column: str, other: str) -> ir.Table:
    """Subtracts the events of `dead` rows of the other column from `tally`: few, so that later rounds cost little."""
    lost = _tally(events.semi_join(dead, other).semi_join(tally, column), column).rename(lost="events")
    left = tally.left_join(lost, column).drop(f"{column}_right")
    left = left.mutate(events=left.events - left.lost.fill_null(0)).drop("lost")
    return left.filter(left.events > 0)
