"""User-item interactions: sessions as sparse rows, one per user, without their order in time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from tfrecsession.batches.data import Sessions
from tfrecsession.errors import InputError
from tfrecsession.events.id_texts import texts
from tfrecsession.sessions.vocabulary import FIRST, Items

DUPLICATES = ("sum", "last", "mean", "max")


@dataclass(frozen=True)
class Interactions:
    """The items of every user: `values[offsets[u]:offsets[u + 1]]`, rising, each once.

    Attributes:
        items: the vocabulary.
        users: object array of str [users], in the order in which they first appear; never "".
        named: bool [users]: whether the log names the user; otherwise the user is a single anonymous session.
        offsets: int64 [users + 1]. A user with unknown items only has an empty row.
        values: int32 [pairs], item ids above 1.
        weights: float32 [pairs].
        of_session: int64 [sessions], the row of the user of every session.
    """

    items: Items
    users: np.ndarray
    named: np.ndarray
    offsets: np.ndarray
    values: np.ndarray
    weights: np.ndarray
    of_session: np.ndarray

    @classmethod
    def of(
        cls,
        sessions: Sessions,
        *,
        value: str | None = None,
        duplicates: str = "sum",
        people: str = "user",
        scale: tuple[float, float] | None = None,
        event_weights: np.ndarray | None = None,
    ) -> Interactions:
        """Collects the events of every user; unknown items are skipped.

        Args:
            sessions: a split of a data set.
            value: a column of numbers, one per event (a rating, a number of plays): the weight of the event. None: 1.
            duplicates: how several events of one user on one item are combined: "sum" of their weights (without
                `value`: their number), the "last" in time, "mean" or "max".
            people: the column that names the users, one value per session. A session without a name, and every session
                of a log without users, is a user of its own, called "session:" and its name.
            scale: the (lowest, highest) `value` allowed, for known and unknown items; None: any.
            event_weights: float [events], by which the weights are multiplied; None: 1.

        Raises:
            InputError: a column that is missing, not numeric, not finite or outside of the scale, or an unknown value
                of an argument.
        """
        if duplicates not in DUPLICATES:
            raise InputError(f"duplicates={duplicates!r}: must be one of {', '.join(DUPLICATES)}")
        users, named, of_session = _users(sessions, people)
        items = np.asarray(sessions.values)
        weights = np.ones(len(items)) if value is None else _numbers(sessions, value)
        if scale is not None:

            def where(event):
                session = np.searchsorted(sessions.offsets, event, side="right") - 1
                (item,) = sessions.items.decode(items[event : event + 1])
                index = event - sessions.offsets[session] + 1
                return f"is event {index} of session {session + 1}, of {users[of_session[session]]!r}, on {item!r}"

            check_scale(weights, scale, where, value)
        if event_weights is not None:
            weights = weights * event_weights
        known = items >= FIRST
        user = np.repeat(of_session, np.diff(sessions.offsets))[known]
        key = user * sessions.items.size + items[known]
        weights = weights[known]
        if duplicates == "last" and "times" in sessions.arrays.columns:
            order = np.lexsort((np.asarray(sessions.column("times"))[known].astype(np.int64), key))
        else:
            order = np.argsort(key, kind="stable")
        key, weights = key[order], weights[order]
        first = np.flatnonzero(np.diff(key, prepend=-1))
        combined = _combined(weights, first, duplicates) if len(first) else weights
        user, items = np.divmod(key[first], sessions.items.size)
        offsets = np.concatenate([[0], np.cumsum(np.bincount(user, minlength=len(users)))])
        values, weights = items.astype(np.int32), combined.astype(np.float32)
        return cls(sessions.items, users, named, offsets.astype(np.int64), values, weights, of_session)

    def __len__(self) -> int:
        return len(self.users)

    def __repr__(self) -> str:
        return f"<{len(self):,} users, {len(self.values):,} pairs, {len(self.items):,} items>"

    def occurring(self, sessions: Sessions, chosen: np.ndarray) -> np.ndarray:
        """Returns which pairs occur in the sessions where `chosen`, bool [sessions], is true: bool [pairs].

        sessions: those that the interactions are of.
        """
        size, lengths = self.items.size, np.diff(sessions.offsets)
        user = np.repeat(self.of_session, lengths)
        found = (user * size + sessions.values)[np.repeat(chosen, lengths)]
        return np.isin(np.repeat(np.arange(len(self)), np.diff(self.offsets)) * size + self.values, found)

    def check_scale(self, scale: tuple[float, float], value: str) -> None:
        """Refuses weights outside of a scale, as `of` does; `value` is their name in the message."""

        def where(pair):
            user = self.users[np.searchsorted(self.offsets, pair, side="right") - 1]
            return f"is of {user!r}, on {self.items.decode(self.values[pair : pair + 1])[0]!r}"

        check_scale(self.weights, scale, where, value)

    def csr(self) -> sparse.csr_matrix:
        """Returns the weights, float32 [users, size]; columns 0 and 1 are empty."""
        return sparse.csr_matrix((self.weights, self.values, self.offsets), shape=(len(self), self.items.size))

    def encode(self, users) -> np.ndarray:
        """Returns the row of each user, int64, -1 for unknown ones; ids in any form that `Items.encode` takes."""
        return np.fromiter((self._rows.get(user, -1) for user in texts(users, "users")), np.int64)

    @cached_property
    def _rows(self) -> dict[str, int]:
        # a user of the log takes precedence over an anonymous session with the same name
        order = np.argsort(self.named, kind="stable")
        return dict(zip(self.users[order].tolist(), order.tolist(), strict=True))


def _users(sessions: Sessions, column: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the names of the users, whether the log names them, and the row of the user of every session."""
    columns = sessions.arrays.columns
    if column in columns:
        names = np.asarray(sessions.column(column), object)
        if len(names) != len(sessions):
            raise InputError(f"people={column!r}: must have one value per session, but has one per event")
        # prepared data has None where there is no name; "" and a missing float come from sessions made by hand
        has_name = np.array([name is not None and name != "" and name == name for name in names], bool)
    elif column == "user":
        names, has_name = np.full(len(sessions), None), np.zeros(len(sessions), bool)
    else:
        raise InputError(f"people={column!r}: the sessions have no such column; they have {', '.join(columns)}")
    session_names = sessions.column("session") if "session" in columns else np.arange(len(sessions))
    rows, of_session = {}, np.empty(len(sessions), np.int64)
    for session, (name, known) in enumerate(zip(names.tolist(), has_name.tolist(), strict=True)):
        of_session[session] = rows.setdefault(str(name) if known else session, len(rows))
    named = np.array([isinstance(key, str) for key in rows], bool)
    users = np.empty(len(rows), object)
    users[:] = [key if isinstance(key, str) else f"session:{session_names[key]}" for key in rows]
    return users, named, of_session


def _numbers(sessions: Sessions, column: str) -> np.ndarray:
    """Reads a column with a finite number per event, float64 [events]."""
    try:
        values = np.asarray(sessions.column(column))
    except InputError as error:
        raise InputError(f"value={column!r}: {error}") from None
    if len(values) != sessions.events:
        raise InputError(f"value={column!r}: must have one value per event, but has one per session")
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError):
        raise InputError(f"value={column!r}: must be a column of numbers, but holds {values.dtype}") from None
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if len(wrong):
        session = np.searchsorted(sessions.offsets, wrong[0], side="right") - 1
        raise InputError(
            f"value={column!r}: {len(wrong):,} of {len(numbers):,} events have no finite number; the first is event "
            f"{wrong[0] - sessions.offsets[session] + 1} of session {session + 1}; remove them from the log"
        )
    return numbers


def _combined(weights: np.ndarray, first: np.ndarray, duplicates: str) -> np.ndarray:
    """Combines each run of weights that begins at `first` into one number."""
    ends = np.append(first[1:], len(weights))
    if duplicates == "last":
        return weights[ends - 1]
    if duplicates == "max":
        return np.maximum.reduceat(weights, first)
    total = np.add.reduceat(weights, first)
    return total / (ends - first) if duplicates == "mean" else total


def is_scale(scale) -> bool:
    """Checks whether `scale` is a pair of the lowest and the highest rating."""
    if not isinstance(scale, tuple | list) or len(scale) != 2:
        return False
    numbers = all(isinstance(end, int | float | np.number) and not isinstance(end, bool) for end in scale)
    return numbers and scale[0] < scale[1]


def check_scale(values: np.ndarray, scale: tuple[float, float], where: Callable[[int], str], column: str) -> None:
    """Refuses an invalid scale, and values outside of it; `where` describes the value at an index for the message."""
    if not is_scale(scale):
        raise InputError(f"scale={scale!r}: must be the lowest and the highest rating, e.g. (1, 5)")
    low, high = scale
    wrong = np.flatnonzero(~((values >= low) & (values <= high)))
    if len(wrong):
        raise InputError(
            f"{column!r}: {len(wrong):,} of {len(values):,} ratings are outside of the scale {low:g} to {high:g}, the "
            f"first, {values[wrong[0]]:g}, {where(wrong[0])}; remove them, or give another scale"
        )
