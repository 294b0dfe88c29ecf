"""The sessions of each person end to end: what models read that remember a person from session to session.

Every event of a session is an input, the last one too: the state after it is what the person's next session starts
from. Its target is 0, unless the sessions are joined into one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from tfrecsession.batches import lanes
from tfrecsession.batches.layout import Layout, Pieces, by_width, placed
from tfrecsession.batches.packing import Packing, ranges
from tfrecsession.errors import InputError


@dataclass(frozen=True)
class UserSequences:
    """Events person by person, `values[offsets[p]:offsets[p + 1]]`; sessions in the order of their start.

    A session without a user is a person of its own. So is a session that begins before an earlier one of its person has
    ended: it is played without a past and is nobody's past, for each of the two knows what is to come in the other.

    Attributes:
        values: int32 [events], item ids.
        offsets: int64 [people + 1].
        position: int64 [events], the place in the session, from 0; joined: among all events of the person.
        visit: int64 [events], the number of the session among its person's, from 0; joined: 0.
        session: int64 [events], a number for each session; joined: for each person.
        event: int64 [events], the place among the events of the last split given; -1: of an earlier split.
        joined: whether a person's sessions are read as if they were one.
        overlapping: how many sessions are played alone because they overlap with others of their person.
    """

    values: np.ndarray
    offsets: np.ndarray
    position: np.ndarray
    visit: np.ndarray
    session: np.ndarray
    event: np.ndarray
    joined: bool
    overlapping: int
    _splits: tuple = field(repr=False)
    _place: np.ndarray = field(repr=False)  # among the events of all splits

    @classmethod
    def of(cls, sessions, earlier: Iterable = (), joined: bool = False) -> UserSequences:
        """Collect the sessions of every person of a split, after those that the splits before it have of them.

        Args:
            sessions: a split, `Sessions`.
            earlier: the splits before it; of people whom `sessions` does not know nothing is taken.
            joined: read all sessions of a person as one, in which each event follows the one before.

        Raises:
            InputError: the log names no users.
        """
        splits = (*earlier, sessions)
        who = _numbered(splits)
        lengths = np.concatenate([np.diff(split.offsets) for split in splits])
        first = np.concatenate([[0], np.cumsum(lengths)])[:-1]
        split = np.repeat(np.arange(len(splits)), [len(split) for split in splits])
        kept = np.flatnonzero((who >= 0) & (lengths > 0))
        if all(split.timed and "times" in split.arrays.columns for split in splits):
            start, end = (np.concatenate(array) for array in zip(*map(_spans, splits), strict=True))
            kept = kept[np.lexsort((kept, start[kept], who[kept]))]
            alone = _overlapping(who[kept], start[kept], end[kept])
        else:  # the order of the log is all there is
            kept = kept[np.argsort(who[kept], kind="stable")]
            alone = np.zeros(len(kept), bool)
        # those that overlap go to the end, each a person of its own
        person = np.where(alone, who.max(initial=0) + 1 + np.arange(len(kept)), who[kept])
        order = np.argsort(person, kind="stable")
        kept, person = kept[order], person[order]
        known = np.zeros(int(person.max(initial=-1)) + 1, bool)
        known[person[split[kept] == len(splits) - 1]] = True
        overlapping = int((alone[order] & known[person]).sum())
        kept, person = kept[known[person]], person[known[person]]

        lengths = lengths[kept]
        place = ranges(first[kept], lengths)
        position = ranges(np.zeros_like(lengths), lengths)
        number = np.repeat(np.arange(len(kept)), lengths)
        begins = np.flatnonzero(np.diff(person, prepend=-1))  # the first session of each person
        visit = np.repeat(np.arange(len(kept)) - np.repeat(begins, np.diff(begins, append=len(kept))), lengths)
        bounds = np.concatenate([[0], np.cumsum(lengths)])
        offsets = bounds[np.append(begins, len(kept))]
        if joined:
            position = ranges(np.zeros(len(begins), np.int64), np.diff(offsets))
            visit, number = np.zeros_like(visit), np.repeat(np.arange(len(begins)), np.diff(offsets))
        before = sum(split.events for split in splits[:-1])
        values = np.concatenate([split.values for split in splits])[place]
        event = np.where(place >= before, place - before, -1)
        return cls(values, offsets, position, visit, number, event, joined, overlapping, splits, place)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def column(self, name: str) -> np.ndarray:
        """A column of the log with a value per event, [events]."""
        return np.concatenate([split.column(name) for split in self._splits])[self._place]

    def newest(self, steps: int) -> Pieces:
        """Every person's last `steps` events; whoever has no target among them is left out."""
        lengths = np.diff(self.offsets)
        cut = np.minimum(lengths, steps)
        pieces = Pieces(self.offsets[1:] - cut, cut)
        targets = np.concatenate([[0], np.cumsum(self._targets() > 0)])
        there = targets[pieces.starts + pieces.lengths] > targets[pieces.starts]
        return Pieces(pieces.starts[there], pieces.lengths[there])

    def lay_out(self, pieces: Pieces, packing: Packing, first: int, last: int, steps: int, rows: int, scored=None):
        """Rows `first` to `last` of a packing; `scored`: bool [events], the targets that count, None: all."""
        chosen, row, column = placed(pieces, packing, first, last)
        return self._filled(chosen, row, column, rows, steps, afresh=True, scored=scored)

    def every_event(self, scored: np.ndarray, cells: int = 8192, narrow: int = 32) -> Iterator[Layout]:
        """Every person up to the last event that is scored, uncut, as `layout.every_event` lays out sessions.

        Args:
            scored: bool [events], the events that are targets.
        """
        last = np.maximum.accumulate(np.where(scored, np.arange(len(scored)), -1))
        starts = self.offsets[:-1]
        lengths = np.maximum(last[self.offsets[1:] - 1] - starts, 0) if len(scored) else np.zeros(0, np.int64)
        pieces = Pieces(starts[lengths > 0], lengths[lengths > 0])
        for some, packing, begin, end, width in by_width(pieces, cells, narrow):
            yield self.lay_out(some, packing, begin, end, width, end - begin, scored)

    def scored(self) -> np.ndarray:
        """bool [events]: the events of the last split that are not the first of their session."""
        split = self._splits[-1]
        follows = np.ones(split.events, bool)
        follows[split.offsets[:-1][np.diff(split.offsets) > 0]] = False
        return np.where(self.event >= 0, follows[self.event], False) if split.events else np.zeros(0, bool)

    def windows(self, pieces: Pieces, lane, begin, rows: int, width: int, first: int = 0) -> Iterator[Layout]:
        """Pieces in lanes, see `lanes.assign`, in windows of `width` steps which go on from one another, from number
        `first` on."""
        for some, row, column, _, _ in lanes.windows_of(pieces, lane, begin, width, first):
            yield self._filled(some, row, column, rows, width, afresh=False)

    def _targets(self) -> np.ndarray:
        """int32 [events], the next event of the session (joined: of the person), 0 where there is none."""
        following = np.append(self.values[1:], 0)
        goes_on = np.append(np.diff(self.session) == 0, False) if len(self.values) else np.zeros(0, bool)
        return np.where(goes_on, following, 0)[: len(self.values)]

    def _filled(self, pieces: Pieces, row, column, rows: int, steps: int, afresh: bool, scored=None) -> Layout:
        """Pieces put where they are told to go. `afresh`: a piece that is cut begins as if nothing had been before."""
        starts, lengths = pieces
        event, first = ranges(starts, lengths), np.repeat(starts, lengths)
        position, visit, session = self.position[event], self.visit[event], self.session[event]
        if afresh:
            position = np.where(session == self.session[first], event - first, position)
            visit = visit - self.visit[first]
        following = np.minimum(event + 1, len(self.values) - 1)
        wanted = (following > event) & (self.session[following] == session)
        if scored is not None:  # whatever its session: a joined person's next session begins with an event to score
            wanted = wanted & scored[following]
        cell = ranges(row * steps + column, lengths)

        def cells(content: np.ndarray, empty: int = 0, dtype=np.int32) -> np.ndarray:
            out = np.full(rows * steps, empty, dtype)
            out[cell] = content
            return out.reshape(rows, steps)

        return Layout(
            items=cells(self.values[event]),
            position=cells(position),
            segment=cells(session + 1),
            targets=cells(np.where(wanted, self.values[following], 0)),
            event=cells(np.where(wanted, following, -1), empty=-1, dtype=np.int64),
            source=cells(event, dtype=np.int64),
            visit=None if self.joined else cells(visit),
        )


def _numbered(splits: tuple) -> np.ndarray:
    """int64 [sessions of all splits]: a number for each person; -1: of an earlier split, and not in the last one."""
    named = [split for split in splits if "user" in split.arrays.columns]
    if len(named) < len(splits) or all(user is None for split in splits for user in split.column("user")):
        raise InputError(
            "the log names no users, so nobody has earlier sessions: prepare it with --user COLUMN, or take a model "
            "that reads a session alone, such as gru4rec, narm, vsknn or slist"
        )
    names = pa.array(np.concatenate([split.column("user") for split in splits]), pa.string()).dictionary_encode()
    number = names.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    mine, nobody = np.arange(len(number)) >= len(number) - len(splits[-1]), number < 0
    asked = np.zeros(len(names.dictionary), bool)
    asked[number[mine & ~nobody]] = True
    number[~nobody & ~asked[number]] = -1
    number[nobody & mine] = len(asked) + np.arange(int((nobody & mine).sum()))
    return number


def _spans(split) -> tuple[np.ndarray, np.ndarray]:
    """int64 [sessions], the times of the first and of the last event of each."""
    times = np.asarray(split.column("times"))
    empty = np.diff(split.offsets) == 0
    ends = np.minimum(split.offsets, max(len(times) - 1, 0))
    if not len(times):
        return np.zeros(len(split), np.int64), np.zeros(len(split), np.int64)
    start, end = times[ends[:-1]], times[np.maximum(split.offsets[1:] - 1, 0)]
    return np.where(empty, 0, start), np.where(empty, 0, end)


def _overlapping(person: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """bool [sessions], in the order of person and start: those that begin before an earlier one of theirs ended."""
    if not len(person):
        return np.zeros(0, bool)
    # one running maximum for all people: each person's times, as ranks, are moved above those of the person before
    _, rank = np.unique(np.concatenate([start, end]), return_inverse=True)
    begin, finish = (rank.reshape(2, -1) + person * (2 * len(person))).astype(np.int64)
    return begin < np.maximum.accumulate(np.concatenate([[-1], finish[:-1]]))
