"""Slices of the events that are scored separately: by position, history, popularity, novelty and event type."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfrecsession.batches import Sessions
from tfrecsession.batches.packing import ranges
from tfrecsession.batches.user_sequences import UserSequences
from tfrecsession.sessions.spans import MICROSECONDS

TYPES = 20  # the most frequent event types have their own label; the others share one


class Slicing(NamedTuple):
    """A partition of the events. labels: their names. number: int [events], the index of each label, -1 for none."""

    labels: tuple[str, ...]
    number: np.ndarray


def slicings(sessions: Sessions, event: np.ndarray, earlier: Iterable[Sessions] = ()) -> dict[str, Slicing]:
    """Returns the slices of the scored events of a split: name -> slicing.

    - `position`: position of the target in its session, from 1; the first event is never a target.
    - `history_length`: earlier events of the user: those before it in the same split, and all in the splits of
      `earlier`. An anonymous session counts its own events only. Left out if the log has no users.
    - `past_sessions`: earlier sessions of the user, in the same split and those of `earlier`, as models that remember
      users see them (`batches.user_sequences`). Left out if the log has no users.
    - `days_since_last_visit`: whole days from the end of the user's session before to the start of this one, of users
      with `past_sessions` above 0. Left out if the log has no users or no times.
    - `user_in_training`: whether the user has a session in the train split ("known"), has none ("new"), or is not named
      ("anonymous"). Left out if the log has no users, or the train split is not among those of `earlier`.
    - `popularity_decile`: deciles of the known targets by the support of their items in train, most popular first,
      labelled with the supports they span: "1: 820-5031". Equal supports stay together, so a decile can be empty.
      (Deciles of the catalogue, or of the train events, would put nearly all targets of some logs into one.)
    - `in_training`: whether the target was seen in training ("known") or not ("new": always a miss).
    - `in_session`: whether the target occurred earlier in its session ("returning") or not ("fresh"). Known targets
      only: new items share one id.
    - `event_type`: the event type of the target, most frequent first. Left out if the log has none.

    Args:
        sessions: the split.
        event: int64 [events], the indices of the targets among its events.
        earlier: the splits before it, for the history of its users.
    """
    values, offsets = sessions.values, sessions.offsets
    session = np.searchsorted(offsets, event, side="right") - 1
    position = event - offsets[session] + 1
    target = values[event]
    known = target > 1
    found = {"position": _by_length(position, (2, 3, 4, 5, 6, 11, 21))}
    columns = sessions.arrays.columns
    if "user" in columns and any(user is not None for user in sessions.column("user")):
        history = history_lengths(sessions, earlier)[event]
        found["history_length"] = _by_length(history, (1, 2, 3, 6, 11, 21, 51))
        sequences = UserSequences.of(sessions, earlier)
        past, mask = np.zeros(len(values), np.int64), sequences.event >= 0
        past[sequences.event[mask]] = sequences.visit[mask]
        found["past_sessions"] = _by_length(past[event], (0, 1, 2, 3, 5, 10))
        if all(split.timed and "times" in split.arrays.columns for split in (*earlier, sessions)):
            found["days_since_last_visit"] = _by_length(days_since_last_visit(sequences)[event], (0, 1, 2, 7, 30))
        if train := [split for split in earlier if split.role == "train"]:
            found["user_in_training"] = Slicing(("known", "new", "anonymous"), _in_training(sessions, train)[session])
    found["popularity_decile"] = _by_support(np.concatenate([[0, 0], sessions.items.counts])[target], known)
    found["in_training"] = Slicing(("known", "new"), np.where(known, 0, 1))
    returning = first_in_session(values, offsets)[event] < event
    found["in_session"] = Slicing(("returning", "fresh"), np.where(known, np.where(returning, 0, 1), -1))
    if "event" in columns:
        found["event_type"] = _by_type(sessions.column("event")[event])
    return {name: Slicing(cut.labels, cut.number.astype(np.int8)) for name, cut in found.items()}


def first_in_session(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Returns int64 [events]: the first event of the same session with the same item."""
    session = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    key = session * (int(values.max(initial=0)) + 1) + values
    _, first, number = np.unique(key, return_index=True, return_inverse=True)
    return first[number]


def history_lengths(sessions: Sessions, earlier: Iterable[Sessions] = ()) -> np.ndarray:
    """Returns int64 [events]: the number of earlier events of the user, see `slicings`."""
    offsets = sessions.offsets
    lengths = np.diff(offsets)
    history = ranges(np.zeros_like(lengths), lengths)  # earlier events in the session
    names = pa.array(sessions.column("user"), pa.string()).dictionary_encode()
    user = np.repeat(names.indices.fill_null(-1).to_numpy(zero_copy_only=False), lengths)
    named = np.flatnonzero(user >= 0)  # events with a user
    times = sessions.column("times")[named] if "times" in sessions.arrays.columns else named
    order = named[np.lexsort((named, times, user[named]))]  # by user, then by time
    nth = np.arange(len(order))
    starts = np.flatnonzero(np.diff(user[order], prepend=-1))
    history[order] = nth - np.repeat(starts, np.diff(starts, append=len(order)))
    for split in earlier:
        index = pc.index_in(pa.array(split.column("user"), pa.string()), value_set=names.dictionary)
        index = index.fill_null(-1).to_numpy(zero_copy_only=False)
        before = np.bincount(index[index >= 0], np.diff(split.offsets)[index >= 0], minlength=len(names.dictionary))
        history[named] += before.astype(np.int64)[user[named]]
    return history


def days_since_last_visit(sequences: UserSequences) -> np.ndarray:
    """Returns int64 [events of the last split]: whole days since the user's session before, -1 where there is none."""
    times = np.asarray(sequences.column("times"))
    first = np.flatnonzero(np.diff(sequences.session, prepend=-1))  # the first event of each session
    back = sequences.visit[first] > 0
    days = np.where(back, (times[first] - times[np.maximum(first - 1, 0)]) // MICROSECONDS["d"], -1)
    found = np.full(int((sequences.event >= 0).sum()), -1, np.int64)
    mask = sequences.event >= 0
    found[sequences.event[mask]] = np.repeat(days, np.diff(first, append=len(times)))[mask]
    return found


def _in_training(sessions: Sessions, train: list[Sessions]) -> np.ndarray:
    """Returns int64 [sessions]: 0, the user has a session in training; 1, the user has none; 2, there is no user."""
    users = pa.array(sessions.column("user"), pa.string())
    known = [pa.array(split.column("user"), pa.string()) for split in train if "user" in split.arrays.columns]
    is_known = pc.is_in(users, value_set=pa.chunked_array(known, pa.string()).combine_chunks())
    unnamed = pc.is_null(users).to_numpy(zero_copy_only=False)
    return np.where(unnamed, 2, np.where(is_known.to_numpy(zero_copy_only=False), 0, 1))


def _by_length(length: np.ndarray, starts: tuple[int, ...]) -> Slicing:
    """Returns classes that begin at `starts`; the last is open, and lengths below the first have none."""
    labels = []
    for first, following in zip(starts, (*starts[1:], None), strict=True):
        last = None if following is None else following - 1
        labels.append(f"{first}+" if last is None else str(first) if first == last else f"{first}-{last}")
    return Slicing(tuple(labels), np.searchsorted(starts, length, side="right") - 1)


def _by_support(support: np.ndarray, known: np.ndarray) -> Slicing:
    """Returns deciles of the known targets by descending support; equal supports share the decile of the middle one."""
    supports, number, times = np.unique(-support[known], return_inverse=True, return_counts=True)
    before = 2 * np.cumsum(times) - times  # twice the index of the middle one
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
