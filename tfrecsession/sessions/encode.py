"""Encoding of each split's events with the item ids of training, or of training and validation together."""

from __future__ import annotations

from dataclasses import replace

import ibis
import ibis.expr.types as ir

from tfrecsession.sessions.scratch_db import ScratchDatabase
from tfrecsession.sessions.split import Split, session_table
from tfrecsession.sessions.step_counts import StepCounts
from tfrecsession.sessions.vocabulary import PADDING, encode_events


def with_own_events(split: Split, db: ScratchDatabase) -> Split:
    """Returns a split whose events are those of its sessions alone, stored, to be encoded more than once."""
    split.step_counts.begin(f"items unknown in training: {split.name}")
    return replace(split, events=db.store(split.events.semi_join(split.sessions, "session")))


def encode_again(split: Split, vocabulary: ir.Table, unknown: str, length: int, db: ScratchDatabase) -> Split:
    """Returns the split encoded with another vocabulary, as `encode_split`; its steps are not those of the data set."""
    split = replace(split, step_counts=StepCounts(split.step_counts.begin, source=split.log.source))
    return encode_split(split, vocabulary, unknown, length, db)


def encode_split(split: Split, vocabulary: ir.Table, unknown: str, length: int, db: ScratchDatabase) -> Split:
    """Returns the split with the column `id` in its events; those without an item have the id PADDING.

    Sessions of such a log have a column `itemless`, their number of events without an item, beside `events`.

    split: train, or a later one `with_own_events`.
    unknown: in validation and test, "drop" events of items that are not in training, and then sessions of fewer than
    `length` events; or "keep" all.
    """
    return _with_itemless(_encoded(split, vocabulary, unknown, length, db), db)


def _encoded(split: Split, vocabulary: ir.Table, unknown: str, length: int, db: ScratchDatabase) -> Split:
    names, step_counts = split.log.names["item"], split.step_counts
    if split.name == "train":
        _record(split, db.count(vocabulary.filter(vocabulary["count"] > 0)), db)
        return replace(split, events=encode_events(split.log.events, names, vocabulary, "drop"))

    events = split.events
    if not step_counts.steps:
        _record(split, db.numbers(events, items=events.item.nunique())["items"], db)
    known = db.store(encode_events(events, names, vocabulary, unknown))
    if unknown == "keep" or not step_counts.steps[-1]["events"]:
        return replace(split, events=known)

    advice = "it has no item of training; keep such items with unknown_items='keep'"
    step_counts.record("items unknown in training", advice=advice, **_counts(known, db))
    recounted = session_table(split.log, known)
    long = recounted.filter(recounted.events >= length)
    sessions = split.sessions.select("session", "label").inner_join(long, "session")
    sessions = db.store(sessions)
    known = db.store(known.semi_join(sessions, "session"))
    step_counts.record(f"sessions shorter than {length}", advice="lower min_session_length=", **_counts(known, db))
    return replace(split, events=known, sessions=sessions)


def _with_itemless(split: Split, db: ScratchDatabase) -> Split:
    """Adds the events without an item of the sessions of a split."""
    if split.log.itemless is None:
        return split
    itemless = split.log.itemless.semi_join(split.sessions, "session")
    itemless = db.store(itemless.mutate(id=ibis.literal(PADDING, "int32")))
    counts = itemless.group_by("session").agg(itemless=itemless.count())
    sessions = split.sessions.left_join(counts, "session").drop("session_right")
    sessions = db.store(sessions.mutate(itemless=sessions.itemless.fill_null(0)))
    names = list(itemless.columns)
    return replace(split, events=split.events.select(names).union(itemless), sessions=sessions)


def _record(split: Split, items: int, db: ScratchDatabase) -> None:
    sessions = split.sessions
    counts = db.numbers(sessions, events=sessions.events.sum(), sessions=sessions.count())
    option = "validation_span= and test_span=" if split.name == "train" else f"{split.name}_span="
    step = split.step or ("split by time" if split.log.timed else "split by order")
    split.step_counts.record(step, advice=f"no session lies in it, see {option}{split.advice}", items=items, **counts)


def _counts(events: ir.Table, db: ScratchDatabase) -> dict[str, int]:
    aggregates = {"events": events.count(), "sessions": events.session.nunique(), "items": events.item.nunique()}
    return db.numbers(events, **aggregates)
