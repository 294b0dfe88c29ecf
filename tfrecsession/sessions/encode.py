"""The events of each split under the item ids of training."""

from __future__ import annotations

from dataclasses import replace

import ibis.expr.types as ir

from tfrecsession.sessions.scratch_db import Workbench
from tfrecsession.sessions.split import Split, session_table
from tfrecsession.sessions.vocabulary import encode_events


def encode_split(split: Split, vocabulary: ir.Table, unknown: str, length: int, bench: Workbench) -> Split:
    """The split with the column `id` in its events.

    unknown: in validation and test, "drop" the events of items that training does not have, and then the sessions of
    fewer than `length` events; or "keep" all of them.
    """
    names, ledger = split.log.names["item"], split.ledger
    if split.name == "train":
        _record(split, bench.count(vocabulary), bench)
        return replace(split, events=encode_events(split.log.events, names, vocabulary, "drop"))

    ledger.begin(f"items unknown in training: {split.name}")
    events = bench.store(split.events.semi_join(split.sessions, "session"))
    if not ledger.steps:
        _record(split, bench.numbers(events, items=events.item.nunique())["items"], bench)
    known = bench.store(encode_events(events, names, vocabulary, unknown))
    if unknown == "keep" or not ledger.steps[-1]["events"]:
        return replace(split, events=known)

    advice = "it has nothing in common with training; --unknown-items keep lets such items stay"
    ledger.record("items unknown in training", advice=advice, **_counts(known, bench))
    again = session_table(split.log, known)
    sessions = split.sessions.select("session", "label").inner_join(again.filter(again.events >= length), "session")
    sessions = bench.store(sessions)
    known = bench.store(known.semi_join(sessions, "session"))
    ledger.record(f"sessions shorter than {length}", advice="lower --min-session-length", **_counts(known, bench))
    return replace(split, events=known, sessions=sessions)


def _record(split: Split, items: int, bench: Workbench) -> None:
    sessions = split.sessions
    counts = bench.numbers(sessions, events=sessions.events.sum(), sessions=sessions.count())
    option = "--validation-span and --test-span" if split.name == "train" else f"--{split.name}-span"
    split.ledger.record("split by time", advice=f"no session falls into it, see {option}", items=items, **counts)


def _counts(events: ir.Table, bench: Workbench) -> dict[str, int]:
    aggregates = {"events": events.count(), "sessions": events.session.nunique(), "items": events.item.nunique()}
    return bench.numbers(events, **aggregates)
