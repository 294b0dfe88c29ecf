"""The histories of an audit: those that are scored, others to stand beside them, and what followed them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfrecsession.batches import Sessions
from tfrecsession.errors import InputError
from tfrecsession.evaluation.audited_scorers import History
from tfrecsession.sessions.store import SessionArrays

LONGEST = 50  # events of a session
FOLLOWING = 5  # events of a session that are read behind a history


@dataclass
class Sample:
    """Sessions of a split, half of them scored; no two histories come from one session.

    Attributes:
        sessions: the sampled sessions, without unknown items; the `scored` come first.
        target: int64 [sessions], the index of the event to be predicted, after at least one event.
        scored: how many are scored; the others are neighbours.
        rng: the generator of all further choices.
    """

    sessions: Sessions
    target: np.ndarray
    scored: int
    rng: np.random.Generator

    @classmethod
    def of(cls, split: Sessions, histories: int, seed: int, timed: bool) -> Sample:
        """Samples `histories` sessions and as many neighbours; fewer where the split has fewer.

        Raises:
            InputError: fewer than four sessions have a known item after another one.
        """
        rng, values = np.random.default_rng(seed), np.asarray(split.values)
        session = np.repeat(np.arange(len(split)), np.diff(split.offsets))
        known = np.flatnonzero(values > 1)
        nth = np.arange(len(known)) - np.searchsorted(session[known], session[known])
        known = known[nth < LONGEST]
        eligible = np.flatnonzero(np.bincount(session[known], minlength=len(split)) > 1)
        if len(eligible) < 4:
            raise InputError(
                f"data: the {split.role} split has {len(eligible)} sessions of two known items, an audit needs four: "
                "prepare the data with a longer span for it"
            )
        chosen = rng.permutation(eligible)[: 2 * histories]
        chosen = chosen[: len(chosen) // 2 * 2]
        kept = [known[slice(*np.searchsorted(session[known], [one, one + 1]))] for one in chosen]
        event = np.concatenate(kept)
        columns = {}
        for name in split.arrays.columns:
            column = np.asarray(split.column(name))
            columns[name] = column[event] if len(column) == len(values) != len(split) else column[chosen]
        offsets = np.concatenate([[0], np.cumsum(list(map(len, kept)))])
        arrays = SessionArrays(split.items, values[event], offsets, columns)
        target = offsets[:-1] + rng.integers(1, np.diff(offsets))
        return cls(Sessions(arrays, split.role, timed), target, len(chosen) // 2, rng)

    @property
    def targets(self) -> np.ndarray:
        """int32 [scored], the items to be predicted."""
        return self.sessions.values[self.target[: self.scored]]

    @property
    def histories(self) -> list[History]:
        """The scored histories."""
        return [self._history(index) for index in range(self.scored)]

    def neighbours(self, of: list[History]) -> list[History]:
        """Returns histories of other sessions, as long as those of `of` wherever they have as many events."""
        found = []
        for index, history in enumerate(of):
            other = self._history(self.scored + index % (len(self.target) - self.scored))
            length = len(history.ids)
            short = length - len(other.ids)
            if short > 0:  # its own items again
                again = np.arange(length) % len(other.ids)
                found.append(History(other.event[again], other.ids[again], other.target))
            else:
                found.append(History(other.event[-length:], other.ids[-length:], other.target))
        return found

    def whole(self, following: int = FOLLOWING) -> list[History]:
        """Returns the scored histories with their targets, and with up to `following` events in all behind them."""
        return [self._history(index, following) for index in range(self.scored)]

    def replaced(self, whole: list[History], last: int | None = None) -> list[History]:
        """Returns histories with their target, and all events behind it, replaced by other items.

        last: the number of replaced events, from the target on; None: all.
        """
        found = []
        for history, alone in zip(whole, self.histories, strict=True):
            ids, first = history.ids.copy(), len(alone.ids)
            behind = slice(first, None if last is None else first + last)
            ids[behind] = self.others(ids[behind])
            found.append(History(history.event, ids, history.target))
        return found

    def others(self, ids: np.ndarray) -> np.ndarray:
        """Returns another random item of the catalogue for each id."""
        size = len(self.sessions.items)
        return ((ids - 2 + self.rng.integers(1, max(size, 2), len(ids))) % size + 2).astype(np.int32)

    def _history(self, index: int, following: int = 0) -> History:
        first, last = self.sessions.offsets[index], self.sessions.offsets[index + 1]
        event = np.arange(first, min(self.target[index] + following, last))
        return History(event, self.sessions.values[event], int(self.target[index]))
