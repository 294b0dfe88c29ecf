"""The sessions of each user end to end, for models that read earlier sessions of the user.

Every event of a session is an input, the last one too: the user's next session starts from the state after it. Its
target is 0, unless the sessions are joined into one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from tfrecsession.batches import lanes
from tfrecsession.batches.layout import Layout, Pieces, at_cells, by_width, placed
from tfrecsession.batches.packing import Packing, ranges
from tfrecsession.errors import InputError


@dataclass(frozen=True)
class UserSequences:
    """Events user by user, `values[offsets[u]:offsets[u + 1]]`; sessions in the order of their start.

    A session without a user is treated as a user of its own. So is a session that begins before an earlier one of its
    user has ended: each of the two would leak the other's future.

    Attributes:
        values: int32 [events], item ids.
        offsets: int64 [users + 1].
        position: int64 [events], the position in the session, from 0; joined: among all events of the user.
        visit: int64 [events], the number of the session among those of its user, from 0; joined: 0.
        session: int64 [events], a number for each session; joined: for each user.
        event: int64 [events], the index among the events of the last split given; -1: of an earlier split.
        joined: whether the sessions of a user are read as one.
        overlapping: the number of sessions that are users of their own because they overlap with others of their user.
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
    _index: np.ndarray = field(repr=False)  # int64 [events], the index among the events of all splits

    @classmethod
    def of(cls, sessions, earlier: Iterable = (), joined: bool = False) -> UserSequences:
        """Collects the sessions of every user of a split, after the user's sessions in earlier splits.

        Args:
            sessions: a split, `Sessions`.
            earlier: the splits before it; only sessions of users in `sessions` are taken from them.
            joined: whether to read all sessions of a user as one, in which each event follows the one before.

        Raises:
            InputError: the log names no users.
        """
        splits = (*earlier, sessions)
        users = _numbered(splits)
        lengths = np.concatenate([np.diff(split.offsets) for split in splits])
        first = np.concatenate([[0], np.cumsum(lengths)])[:-1]
        split = np.repeat(np.arange(len(splits)), [len(split) for split in splits])
        kept = np.flatnonzero((users >= 0) & (lengths > 0))
        if all(split.timed and "times" in split.arrays.columns for split in splits):
            start, end = (np.concatenate(array) for array in zip(*map(_spans, splits), strict=True))
            kept = kept[np.lexsort((kept, start[kept], users[kept]))]
            alone = _overlapping(users[kept], start[kept], end[kept])
        else:  # without times, sessions keep the order of the log
            kept = kept[np.argsort(users[kept], kind="stable")]
            alone = np.zeros(len(kept), bool)
        # overlapping sessions go to the end, each as a user of its own
        user = np.where(alone, users.max(initial=0) + 1 + np.arange(len(kept)), users[kept])
        order = np.argsort(user, kind="stable")
        kept, user = kept[order], user[order]
        known = np.zeros(int(user.max(initial=-1)) + 1, bool)
        known[user[split[kept] == len(splits) - 1]] = True
        overlapping = int((alone[order] & known[user]).sum())
        kept, user = kept[known[user]], user[known[user]]

        lengths = lengths[kept]
        index = ranges(first[kept], lengths)
        position = ranges(np.zeros_like(lengths), lengths)
        session = np.repeat(np.arange(len(kept)), lengths)
        begins = np.flatnonzero(np.diff(user, prepend=-1))  # the first session of each user
        visit = np.repeat(np.arange(len(kept)) - np.repeat(begins, np.diff(begins, append=len(kept))), lengths)
        bounds = np.concatenate([[0], np.cumsum(lengths)])
        offsets = bounds[np.append(begins, len(kept))]
        if joined:
            position = ranges(np.zeros(len(begins), np.int64), np.diff(offsets))
            visit, session = np.zeros_like(visit), np.repeat(np.arange(len(begins)), np.diff(offsets))
        before = sum(split.events for split in splits[:-1])
        values = np.concatenate([split.values for split in splits])[index]
        event = np.where(index >= before, index - before, -1)
        return cls(values, offsets, position, visit, session, event, joined, overlapping, splits, index)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def column(self, name: str) -> np.ndarray:
        """Returns a column of the log with a value per event, [events]."""
        return np.concatenate([split.column(name) for split in self._splits])[self._index]

    def encoded(self, context) -> dict[str, np.ndarray]:
        """Returns the columns of a `Context`, [events] each, see `Sessions.encoded`; of None there are none."""
        if context is None:
            return {}
        parts = [split.encoded(context) for split in self._splits]
        return {key: np.concatenate([part[key] for part in parts])[self._index] for key in context.keys}

    def newest(self, steps: int) -> Pieces:
        """Returns the last `steps` events of every user; users without a target among them are left out."""
        lengths = np.diff(self.offsets)
        cut = np.minimum(lengths, steps)
        pieces = Pieces(self.offsets[1:] - cut, cut)
        targets = np.concatenate([[0], np.cumsum(self._targets() > 0)])
        has_target = targets[pieces.starts + pieces.lengths] > targets[pieces.starts]
        return Pieces(pieces.starts[has_target], pieces.lengths[has_target])

    def rows_of(self, pieces: Pieces, packing: Packing, first: int, last: int, steps: int, rows: int, scored=None):
        """Lays out rows `first` to `last` of a packing; `scored`: bool [events], the targets that count, None: all."""
        chosen, row, column = placed(pieces, packing, first, last)
        return self._filled(chosen, row, column, rows, steps, afresh=True, scored=scored)

    def every_event(self, scored: np.ndarray, cells: int = 8192, narrow: int = 32) -> Iterator[Layout]:
        """Yields every user up to the last scored event, uncut, as `layout.every_event` lays out sessions.

        Args:
            scored: bool [events], the events that are targets.
        """
        last = np.maximum.accumulate(np.where(scored, np.arange(len(scored)), -1))
        starts = self.offsets[:-1]
        lengths = np.maximum(last[self.offsets[1:] - 1] - starts, 0) if len(scored) else np.zeros(0, np.int64)
        pieces = Pieces(starts[lengths > 0], lengths[lengths > 0])
        for alike, packing, begin, end, width in by_width(pieces, cells, narrow):
            yield self.rows_of(alike, packing, begin, end, width, end - begin, scored)

    def scored(self) -> np.ndarray:
        """bool [events]: the events of the last split that are not the first of their session."""
        split = self._splits[-1]
        return np.where(self.event >= 0, split.scored[self.event], False) if split.events else np.zeros(0, bool)

    def windows(self, pieces: Pieces, lane, begin, rows: int, width: int, first: int = 0) -> Iterator[Layout]:
        """Yields pieces in lanes, see `lanes.assign`, window by window of `width` steps, from window `first` on."""
        for parts, row, column, _, _ in lanes.windows_of(pieces, lane, begin, width, first):
            yield self._filled(parts, row, column, rows, width, afresh=False)

    def _targets(self) -> np.ndarray:
        """int32 [events], the item of the next event of the session (joined: of the user), 0 where there is none."""
        following = np.append(self.values[1:], 0)
        goes_on = np.append(np.diff(self.session) == 0, False) if len(self.values) else np.zeros(0, bool)
        return np.where(goes_on, following, 0)[: len(self.values)]

    def _filled(self, pieces: Pieces, row, column, rows: int, steps: int, afresh: bool, scored=None) -> Layout:
        """Lays out pieces at the given cells. `afresh`: positions and visits begin at 0 where a piece is cut."""
        starts, lengths = pieces
        event, first = ranges(starts, lengths), np.repeat(starts, lengths)
        position, visit, session = self.position[event], self.visit[event], self.session[event]
        if afresh:
            position = np.where(session == self.session[first], event - first, position)
            visit = visit - self.visit[first]
        following = np.minimum(event + 1, len(self.values) - 1)
        is_target = (following > event) & (self.session[following] == session)
        if scored is not None:  # a session that is joined to the one before begins with an unscored event
            is_target = is_target & scored[following]
        return at_cells(
            self.values,
            event,
            np.where(is_target, following, -1),
            ranges(row * steps + column, lengths),
            (rows, steps),
            position=position,
            segment=session + 1,
            visit=None if self.joined else visit,
        )


def _numbered(splits: tuple) -> np.ndarray:
    """Numbers the users, int64 [sessions of all splits]; -1: a user of an earlier split who is not in the last one."""
    named = [split for split in splits if "user" in split.arrays.columns]
    if len(named) < len(splits) or all(user is None for split in splits for user in split.column("user")):
        raise InputError(
            "the log names no users, so there are no earlier sessions: prepare it with user=COLUMN, or use a model "
            "that reads one session alone, such as gru4rec, narm, vsknn or slist"
        )
    names = pa.array(np.concatenate([split.column("user") for split in splits]), pa.string()).dictionary_encode()
    number = names.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    in_last, anonymous = np.arange(len(number)) >= len(number) - len(splits[-1]), number < 0
    kept = np.zeros(len(names.dictionary), bool)
    kept[number[in_last & ~anonymous]] = True
    number[~anonymous & ~kept[number]] = -1
    number[anonymous & in_last] = len(kept) + np.arange(int((anonymous & in_last).sum()))
    return number


def _spans(split) -> tuple[np.ndarray, np.ndarray]:
    """Returns the times of the first and of the last event of each session, int64 [sessions] each."""
    times = np.asarray(split.column("times"))
    empty = np.diff(split.offsets) == 0
    ends = np.minimum(split.offsets, max(len(times) - 1, 0))
    if not len(times):
        return np.zeros(len(split), np.int64), np.zeros(len(split), np.int64)
    start, end = times[ends[:-1]], times[np.maximum(split.offsets[1:] - 1, 0)]
    return np.where(empty, 0, start), np.where(empty, 0, end)


def _overlapping(user: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """bool [sessions], sorted by user and start: those that begin before an earlier one of their user has ended."""
    if not len(user):
        return np.zeros(0, bool)
    # one running maximum for all users: each user's times, as ranks, are moved above those of the user before
    _, rank = np.unique(np.concatenate([start, end]), return_inverse=True)
    begin, finish = (rank.reshape(2, -1) + user * (2 * len(user))).astype(np.int64)
    return begin < np.maximum.accumulate(np.concatenate([[-1], finish[:-1]]))
