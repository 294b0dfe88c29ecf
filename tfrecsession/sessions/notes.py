"""Notes and advice of `prepare` on logs whose result a user would not expect; each says what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import ibis.expr.types as ir

from tfrecsession.errors import InputError
from tfrecsession.sessions.coded_log import Log
from tfrecsession.sessions.filters import long_and_frequent
from tfrecsession.sessions.options import Options
from tfrecsession.sessions.scratch_db import ScratchDatabase
from tfrecsession.sessions.sessionize import USUAL_GAP, recut, session_names
from tfrecsession.sessions.spans import parse_span
from tfrecsession.sessions.split import Split, session_table, split_sessions
from tfrecsession.sessions.step_counts import StepCounts

MOST = 0.5  # the share of sessions with one time, and of users unknown in training, from which a note is made
MANY = 0.25  # the share of the events of a split that are dropped
LARGE = 0.2  # the share of the log's events that a step of the cleaning took
FEW = 100  # sessions of a split
SHARE = "10%"


def equal_times(sessions: ir.Table, order: str | None, db: ScratchDatabase) -> list[str]:
    """Returns a note if the events of most sessions share one time, and no column orders them."""
    if order is not None:
        return []
    long = sessions.filter(sessions.events > 1)
    count = db.numbers(long, sessions=long.count(), equal=long.count(where=long.start == long.end))
    if count["equal"] <= MOST * count["sessions"] or not count["sessions"]:
        return []
    share = count["equal"] / count["sessions"]
    return [
        f"{count['equal']:,} of {count['sessions']:,} sessions ({share:.0%}) have one time for all their events, which "
        "keep the order of the rows: if that means nothing, models that read the order learn noise; name a column that "
        "orders the events with order=COLUMN, or take models that ignore the order, such as item_knn or als"
    ]


def unseen_users(splits: dict[str, Split], log: Log, db: ScratchDatabase) -> list[str]:
    """Returns a note if a log without times is grouped by user, so that the test split has other users than train."""
    if log.timed or "user" not in log.names:
        return []
    train, test = (splits[name].sessions for name in ("train", "test"))
    train, test = (part.filter(part.user.notnull()) for part in (train, test))
    counts = db.numbers(train, sessions=train.count(), users=train.user.nunique())
    users = test.select("user").distinct()
    total, seen = db.count(users), db.count(users.semi_join(train, "user"))
    if counts["sessions"] == counts["users"] or not total or seen >= MOST * total:
        return []
    return [
        f"the log has no times and is split by the order of its rows: of the {total:,} users in test, {seen:,} "
        f"{'was' if seen == 1 else 'were'} seen in training. The rows seem to be grouped by user: name the times with "
        "time=COLUMN, or a column that orders all events with order=COLUMN"
    ]


def single_sessions(sessions: ir.Table, log: Log, db: ScratchDatabase) -> list[str]:
    """Returns a note if the log names users, and none of them has a second session."""
    if "user" not in log.names:
        return []
    named = sessions.filter(sessions.user.notnull())
    counts = db.numbers(named, sessions=named.count(), users=named.user.nunique())
    if counts["sessions"] > counts["users"] or counts["users"] < 2:
        return []
    return [
        f"each of the {counts['users']:,} users has one session: models of the user (hrnn, long_short_term, user_gru) "
        f"have no earlier session to learn from; cut sessions with gap='{USUAL_GAP}', or name another "
        "column with user=COLUMN"
    ]


def lost_events(steps: Iterable[dict], names: Iterable[str], options: Options) -> list[str]:
    """Returns a note for each part of the cleaning that took many of the log's events, before the split.

    Args:
        steps: the step counts.
        names: the columns of the log that were named: "user", "event", ...
        options: those of `prepare`.
    """
    before, merged, dropped = None, None, {}
    for step in (step for step in steps if "split" not in step):
        lost = 0 if before is None else before - step["events"]
        if step["step"] == "duplicate rows":
            merged = (lost, before)
        for kind in ("sessions shorter", "items with fewer"):
            if step["step"].startswith(kind):
                dropped.setdefault("before", before)
                dropped[kind] = dropped.get(kind, 0) + lost
        before = step["events"]
    notes = []
    if merged and merged[0] > LARGE * merged[1]:
        keys = ["session", "user", "item", "time", "event"]
        alike = ", ".join(key for key in keys if key in (*names, "item", "time"))
        apart = "" if "event" in names else "; event=COLUMN, the type of the events, may tell them apart"
        notes.append(
            f"{_share(*merged)} were merged as duplicate rows, which agree in {alike}: keep_duplicates=True keeps "
            f"them{apart}"
        )
    short, rare = dropped.get("sessions shorter", 0), dropped.get("items with fewer", 0)
    if short + rare > LARGE * (dropped.get("before") or 0):
        ways = [f"min_session_length= than {options.min_session_length}"] * bool(short)
        ways += [f"min_item_support= than {options.min_item_support}"] * bool(rare)
        notes.append(
            f"{_share(short + rare, dropped['before'])} are left out by the filters: {short:,} in short "
            f"sessions, {rare:,} on rare items. A lower {' or '.join(ways)} keeps more"
        )
    return notes


def _share(lost: int, before: int) -> str:
    return f"{lost:,} of {before:,} events ({lost / before:.0%})"


def dropped_events(steps: Iterable[dict], options: Options) -> list[str]:
    """Returns a note for each split that lost many of its events because training does not have their items."""
    notes = []
    for split in ("validation", "test"):
        left = [step for step in steps if step.get("split") == split]
        at = next((index for index, step in enumerate(left) if step["step"] == "items unknown in training"), 0)
        if not at or not left[at - 1]["events"]:
            continue
        before, known, after = left[at - 1]["events"], left[at]["events"], left[-1]["events"]
        if before - after <= MANY * before:
            continue
        short = f", then {known - after:,} in sessions that became too short" if known > after else ""
        by_span = options.test_input is None and options.hold_out is None
        shorter = by_span and f", a shorter {split}_span= than {getattr(options, f'{split}_span')}"
        notes.append(
            f"{split}: {before - after:,} of {before:,} events ({(before - after) / before:.0%}) were dropped: "
            f"{before - known:,} on items that training does not have{short}. What helps: a higher min_item_support= "
            f"than {options.min_item_support}, so that rare items leave the whole log{shorter or ''}, or "
            "unknown_items='keep', which counts these events as misses"
        )
    return notes


def silent_steps(log: Log, counts: dict[str, dict]) -> list[str]:
    """Returns a note if events without an item are kept, but no column says what they are."""
    if not counts["train"].get("itemless_events") or log.context or "event" in log.names:
        return []
    return [
        "events without an item were kept, and no column says what they are: name their type with event=COLUMN, or "
        "columns with context=, such as the words of a search"
    ]


def tiny_splits(counts: dict[str, dict], options: Options) -> list[str]:
    """Returns a note on validation and test splits of few sessions."""
    few = {name: counts[name]["sessions"] for name in ("test", "validation") if 0 < counts[name]["sessions"] < FEW}
    if not few:
        return []
    by_span = options.test_input is None and options.hold_out is None
    words = " and ".join(f"{name} has {count:,} session{'s' * (count > 1)}" for name, count in few.items())
    total = sum(split["sessions"] for split in counts.values())
    given = {name: getattr(options, f"{name}_span") for name in few}
    wider = [
        f"{name}_span='{SHARE}'" for name in few if total // 10 > few[name] and by_span and "%" not in str(given[name])
    ]
    advice = f": give {' and '.join(wider)}, a share of the {total:,} sessions" if wider else ""
    return [f"{words}: with fewer than {FEW}, scores have wide intervals{advice}"]


def ways_to_split(log: Log, sessions: ir.Table, options: Options, dates: bool, split: str, db: ScratchDatabase) -> str:
    """Returns which other options give the empty `split` sessions, tried on the log: "; on this log ... works"."""
    ways = []
    if log.timed and options.split_by == "start":
        _try(ways, "split_by='end'", sessions, replace(options, split_by="end"), log, dates, split, db)
    spans = {
        f"{name}_span": SHARE
        for name in ("validation", "test")
        if not parse_span(getattr(options, f"{name}_span"), f"{name}_span").empty
    }
    words = " and ".join(f"{name}={span!r}" for name, span in sorted(spans.items()))
    _try(ways, words, sessions, replace(options, **spans), log, dates, split, db)
    if log.timed and log.pieces is None:
        cut = recut(log, USUAL_GAP, db)
        kept = long_and_frequent(
            cut, options.min_session_length, options.min_item_support, options.one_pass, db, _Unlimited()
        )
        shorter = db.store(session_names(cut, session_table(cut, kept.of(cut.events))))
        for more, changed in (("", options), (f" and {words}", replace(options, **spans))):
            if _try(ways, f"gap='{USUAL_GAP}'{more}", shorter, changed, cut, dates, split, db):
                break
    return f"; on this log work: {'; '.join(ways)}" if ways else ""


def _try(ways, words, sessions, options, log, dates, split, db) -> bool:
    """Adds a way to split, with the number of sessions that it gives, if no split is empty."""
    validation, test = options.spans
    try:
        cuts = split_sessions(sessions, validation, test, options.split_by, db, log.source, dates)
    except InputError:
        return False
    counts = {name: db.count(cut) for name, cut in cuts.items()}
    needed = {"train"} | {name for name, span in (("validation", validation), ("test", test)) if not span.empty}
    if not all(counts[name] for name in needed):
        return False
    numbers = ", ".join(f"{name} {counts[name]:,}" for name in cuts if name in needed)
    ways.append(f"{words} (sessions: {numbers})")
    return True


class _Unlimited(StepCounts):
    """Step counts of an attempt: it may leave nothing."""

    def record(self, step: str, *, advice: str = "", **counts: int | None) -> None:
        pass
