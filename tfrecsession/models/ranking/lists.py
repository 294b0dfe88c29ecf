"""Lists of candidates as a log or a user gives them, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfrecsession.errors import InputError
from tfrecsession.events.id_texts import text_lists

SEPARATOR = "|"


@dataclass
class ShownLists:
    """The lists that a log has shown, one for each event that has some.

    Attributes:
        ids: int32 [all], list after list.
        offsets: int64 [events + 1].
        listed: name -> float32 [all].
    """

    ids: np.ndarray
    offsets: np.ndarray
    listed: dict

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)

    def lists_of(self, event: np.ndarray) -> tuple[np.ndarray, dict]:
        """Returns the ids of the lists of events, int32 [n, m], and their columns, float32 [n, m]."""
        lengths = self.lengths[event]
        column = np.arange(max(self.lengths.max(initial=1), 1))  # as wide for all events
        there = column < lengths[:, None]  # (n, m)
        index = np.where(there, self.offsets[event][:, None] + column, 0)
        place = np.where(there, column + 1, np.nan).astype(np.float32)
        columns = {
            f"listed.{name}": np.where(there, values[index], np.float32(np.nan)) for name, values in self.listed.items()
        }
        return np.where(there, self.ids[index], 0), {"place": place, **columns}


def shown_lists(sessions, shown: str, listed, items) -> ShownLists:
    """Reads the lists of a log.

    Args:
        sessions: the split.
        shown: a column of lists, or of texts joined by "|".
        listed: names of columns of numbers, as many as the list has items.
        items: the vocabulary.

    Raises:
        InputError: no such column, or a list of numbers of another length.
    """
    for argument, name in (("shown", shown), *(("listed", name) for name in listed)):
        if name not in sessions.arrays.columns:
            there = ", ".join(sessions.arrays.columns)
            raise InputError(
                f"{argument}={name!r}: must be a column of the log: {there}; to keep it, prepare the log with "
                f"context={[name]!r}"
            )
    lists = [_parts(value) for value in sessions.column(shown)]
    lengths = np.array([len(part) for part in lists], np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    found = {}
    for name in listed:
        numbers = [_parts(value) for value in sessions.column(name)]
        for event, (part, length) in enumerate(zip(numbers, lengths, strict=True)):
            if length and len(part) not in (0, length):
                raise InputError(
                    f"listed={name!r}: event {event} has {len(part)} values, must have {length}, one for each item of "
                    f"{shown!r}"
                )
        rows = [part or [None] * length for part, length in zip(numbers, lengths, strict=True) if length]
        found[name] = np.array([_number(name, value) for part in rows for value in part], np.float32)
    ids = items.encode([item for part in lists for item in part])
    return ShownLists(ids, offsets, found)


def given_lists(ranker, candidates, listed, rows: int) -> tuple[np.ndarray, dict]:
    """Returns the arguments `candidates` and `listed` of `WideAndDeep.rank` as arrays, see `ShownLists.lists_of`."""
    lists = text_lists(candidates, "candidates")
    if len(lists) != rows or not all(map(len, lists)):
        raise InputError(f"candidates: must be a list of items for each of the {rows} histories, none of them empty")
    if unknown := set(listed or ()) - set(ranker.listed):
        raise InputError(
            f"listed: {min(unknown)!r} must be one that the ranker reads: {', '.join(ranker.listed) or 'none'}"
        )
    lengths = [len(part) for part in lists]
    found = {}
    for name, values in (listed or {}).items():
        if [len(part) for part in values] != lengths:
            raise InputError(f"listed[{name!r}]: must have a number for each candidate")
        found[name] = np.array([_number(name, value) for part in values for value in part], np.float32)
    ids = np.concatenate([ranker.items.encode(part) for part in lists])
    return ShownLists(ids, np.concatenate([[0], np.cumsum(lengths)]), found).lists_of(np.arange(rows))


def _parts(value) -> list:
    if value is None or (isinstance(value, float) and value != value):
        return []
    return [part for part in value.split(SEPARATOR) if part] if isinstance(value, str) else list(value)


def _number(name: str, value) -> float:
    try:
        return np.nan if value is None else float(value)
    except ValueError:
        raise InputError(f"listed={name!r}: must hold numbers, not {value!r}") from None
