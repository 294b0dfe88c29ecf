"""Train and validation together, on which a model is fitted again once its metrics are known. Needs no TensorFlow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tfrecsession.batches.data import Data, Sessions
from tfrecsession.errors import InputError
from tfrecsession.sessions.store import ItemEvents, SessionArrays
from tfrecsession.sessions.vocabulary import PADDING, UNKNOWN


def check_refit(data: Data, data_memory=None) -> None:
    """Raises InputError if the data has no validation split, or is to be read from its files."""
    if not len(data.validation):
        raise InputError(
            "refit=True: the data has no validation split, so that training on train is all there is: leave it out, or "
            "prepare the log with validation_span="
        )
    if data_memory is not None:
        raise InputError("refit=True: needs all training data at once; leave data_memory out")


def with_validation(data: Data) -> tuple[Data, dict]:
    """Returns the data with the validation split in its train split, and the counts of this split.

    The vocabulary stays that of train. Validation is encoded with it; where `prepare` has kept events on unknown items
    there, they are left out, and then the sessions that became shorter than the shortest of the data set.

    Raises:
        InputError: no session of validation is left.
    """
    known, unknown = _known(data.validation, data.info.get("options", {}).get("min_session_length") or 1)
    if not len(known):
        raise InputError("refit=True: no session of validation has items that training knows: leave it out")
    joined = _joined(data.train, known)
    counts = {"splits": ["train", "validation"], "sessions": len(joined), "events": joined.events}
    nothing = data.validation.only(np.zeros(len(data.validation), bool))
    return replace(data, train=joined, validation=nothing), {**counts, "unknown": unknown}


def _known(sessions: Sessions, shortest: int) -> tuple[Sessions, int]:
    """Returns the sessions without their events on unknown items, and the number of these events."""
    every, sessions = sessions, sessions.whole or sessions
    known = np.asarray(sessions.values) != UNKNOWN
    if known.all():
        return every, 0
    of_session = np.repeat(np.arange(len(sessions)), np.diff(sessions.offsets))
    lengths = np.bincount(of_session[known], minlength=len(sessions))
    columns = {}
    for name in sessions.arrays.columns:
        column = np.asarray(sessions.column(name))
        # where there are as many events as sessions, a session has one event, and it is left out as a whole
        columns[name] = column[known] if len(column) == len(known) else column
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    kept = np.bincount(of_session[known & (sessions.values != PADDING)], minlength=len(sessions)) >= shortest
    if len(known) == len(sessions):
        offsets, kept = np.arange(known.sum() + 1), np.full(known.sum(), shortest <= 1)
    arrays = SessionArrays(sessions.items, sessions.values[known], offsets, columns)
    arrays = arrays if every.whole is None else ItemEvents(arrays)
    return Sessions(arrays, every.role, every.timed, every.earlier).only(kept), int((~known).sum())


def _joined(train: Sessions, later: Sessions) -> Sessions:
    """Returns a train split of the sessions of both, in the order of their start."""
    itemless = train.whole is not None and later.whole is not None
    if itemless:
        train, later = train.whole, later.whole
    lengths = np.concatenate([np.diff(train.offsets), np.diff(later.offsets)])
    begins = np.cumsum(lengths) - lengths
    columns = {
        name: np.concatenate([np.asarray(train.column(name)), np.asarray(later.column(name))])
        for name in train.arrays.columns
    }
    order = np.arange(len(lengths))
    if train.timed and "times" in columns:  # a split by the end of the sessions does not split by their start
        order = np.argsort(columns["times"][begins], kind="stable")
    ends = np.cumsum(lengths[order])
    event = np.arange(lengths.sum()) + np.repeat(begins[order] - (ends - lengths[order]), lengths[order])
    values = np.concatenate([train.values, later.values])[event]
    columns = {name: column[event if len(column) == len(event) else order] for name, column in columns.items()}
    offsets = np.concatenate([[0], ends])
    arrays = SessionArrays(train.items, values, offsets, columns)
    return Sessions(ItemEvents(arrays) if itemless else arrays, "train", train.timed)
