"""Kinds of events that are worth a look by themselves: early and late in a session, popular and rare, new and known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfrecsession.batches import Sessions
from tfrecsession.batches.packing import ranges
from tfrecsession.batches.user_sequences import UserSequences

TYPES = 20  # event types shown by themselves, the most frequent; the others are taken together


class Slicing(NamedTuple):
    """One way to cut the events: `labels`, and the number of each event's label, int [events], -1 for none of them."""

    labels: tuple[str, ...]
    number: np.ndarray


def slicings(sessions: Sessions, event: np.ndarray, earlier: Iterable[Sessions] = ()) -> dict[str, Slicing]:
    """How the scored events of a split are cut.

    - `position`: place of the target in its session, from 1; the first event is never a target.
    - `history_length`: events of the user before this one: of the same split by time, and of the splits in `earlier`
      all; those of an anonymous session are its own. Left out where the log knows no user.
    - `past_sessions`: of the user, in the same split and those in `earlier`, as models that remember people are played
      them (`batches.people`). Left out where the log knows no user.
    - `popularity_decile`: tenths of the known targets by the support of their items in train, the most popular first,
      named with the supports they span: "1: 820-5031". Equal supports stay together, so a tenth may come out empty.
      (Tenths of the catalogue, or of the train events, would put nearly all targets of some logs into one.)
    - `in_training`: whether training has seen the target ("known") or not ("new": always a miss).
    - `in_session`: whether the target occurred before in its session ("returning") or not ("fresh"). Known targets
      only: new ones cannot be told apart.
    - `event_type`: of the target, the most frequent first. Left out where the log has none.

    Args:
        sessions: the split.
        event: int64 [events], the targets' places among its events.
        earlier: the splits before it, for the history of its users.
    """
    values, offsets = sessions.values, sessions.offsets
    session = np.searchsorted(offsets, event, side="right") - 1
    place = event - offsets[session]
    target = values[event]
    known = target > 1
    found = {"position": _by_length(place + 1, (2, 3, 4, 5, 6, 11, 21))}
    columns = sessions.arrays.columns
    if "user" in columns and any(user is not None for user in sessions.column("user")):
        history = history_lengths(sessions, earlier)[event]
        found["history_length"] = _by_length(history, (1, 2, 3, 6, 11, 21, 51))
        people = UserSequences.of(sessions, earlier)
        past, here = np.zeros(len(values), np.int64), people.event >= 0
        past[people.event[here]] = people.visit[here]
        found["past_sessions"] = _by_length(past[event], (0, 1, 2, 3, 5, 10))
    found["popularity_decile"] = _by_support(np.concatenate([[0, 0], sessions.items.counts])[target], known)
    found["in_training"] = Slicing(("known", "new"), np.where(known, 0, 1))
    returning = first_in_session(values, offsets)[event] < event
    found["in_session"] = Slicing(("returning", "fresh"), np.where(known, np.where(returning, 0, 1), -1))
    if "event" in columns:
        found["event_type"] = _by_type(sessions.column("event")[event])
    return {name: Slicing(cut.labels, cut.number.astype(np.int8)) for name, cut in found.items()}


def first_in_session(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """int64 [events]: the first event of its session with the same item."""
    session = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    key = session * (int(values.max(initial=0)) + 1) + values
    _, first, number = np.unique(key, return_index=True, return_inverse=True)
    return first[number]


def history_lengths(sessions: Sessions, earlier: Iterable[Sessions] = ()) -> np.ndarray:
    """int64 [events]: how many events the user had before each, see `slicings`."""
    offsets = sessions.offsets
    lengths = np.diff(offsets)
    history = ranges(np.zeros_like(lengths), lengths)  # in the session
    names = pa.array(sessions.column("user"), pa.string()).dictionary_encode()
    user = np.repeat(names.indices.fill_null(-1).to_numpy(zero_copy_only=False), lengths)
    somebody = np.flatnonzero(user >= 0)
    times = sessions.column("times")[somebody] if "times" in sessions.arrays.columns else somebody
    order = somebody[np.lexsort((somebody, times, user[somebody]))]  # user by user, in the order of time
    nth = np.arange(len(order))
    starts = np.flatnonzero(np.diff(user[order], prepend=-1))
    history[order] = nth - np.repeat(starts, np.diff(starts, append=len(order)))
    for split in earlier:
        theirs = pc.index_in(pa.array(split.column("user"), pa.string()), value_set=names.dictionary)
        whose = theirs.fill_null(-1).to_numpy(zero_copy_only=False)
        before = np.bincount(whose[whose >= 0], np.diff(split.offsets)[whose >= 0], minlength=len(names.dictionary))
        history[somebody] += before.astype(np.int64)[user[somebody]]
    return history


def _by_length(length: np.ndarray, starts: tuple[int, ...]) -> Slicing:
    """Classes that begin at `starts`, the last one open; below the first is none."""
    labels = []
    for first, following in zip(starts, (*starts[1:], None), strict=True):
        last = None if following is None else following - 1
        labels.append(f"{first}+" if last is None else str(first) if first == last else f"{first}-{last}")
    return Slicing(tuple(labels), np.searchsorted(starts, length, side="right") - 1)


def _by_support(support: np.ndarray, known: np.ndarray) -> Slicing:
    """Tenths of the known targets by falling support; those of one support go where the middle one of them falls."""
    supports, number, times = np.unique(-support[known], return_inverse=True, return_counts=True)
    before = 2 * np.cumsum(times) - times  # twice the place of the middle one
    decile = before * 10 // max(2 * int(times.sum()), 1)
    labels = []
    for tenth in range(10):
        spanned = -supports[decile == tenth]
        low, high = (spanned[-1], spanned[0]) if len(spanned) else (None, None)
        span = "" if low is None else f": {low}" if low == high else f": {low}-{high}"
        labels.append(f"{tenth + 1}{span}")
    of_event = np.full(len(support), -1)
    of_event[known] = decile[number]
    return Slicing(tuple(labels), of_event)


def _by_type(types: np.ndarray) -> Slicing:
    coded = pa.array(types).cast(pa.string()).fill_null("(none)").dictionary_encode()
    number = coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    names = np.array(coded.dictionary.to_pylist(), object)
    counts = np.bincount(number, minlength=len(names))
    order = np.lexsort((names, -counts))
    rank = np.argsort(order)
    labels = [str(name) for name in names[order][:TYPES]] + ["(others)"] * (len(names) > TYPES)
    return Slicing(tuple(labels), np.minimum(rank[number], TYPES))
