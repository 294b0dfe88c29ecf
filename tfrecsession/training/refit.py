"""Train and validation together, on which a model is fitted again once its metrics are known. Needs no TensorFlow."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np

from tfrecsession.batches.data import Data, Sessions
from tfrecsession.errors import InputError
from tfrecsession.sessions.context import ContextLog
from tfrecsession.sessions.store import ItemEvents, SessionArrays
from tfrecsession.sessions.vocabulary import FIRST, PADDING, UNKNOWN, Items


def check_refit(data: Data, data_memory=None) -> None:
    """Raises InputError if the data has no validation split, or is to be read from its files."""
    if not len(data.validation):
        raise InputError(
            "refit=True: the data has no validation split, so that training on train is all there is: leave it out, or "
            "prepare the log with validation_span="
        )
    if data_memory is not None:
        raise InputError("refit=True: needs all training data at once; leave data_memory out")


def with_validation(data: Data, grows: bool = True, learns: bool = True) -> tuple[Data, dict]:
    """Returns the data with the validation split in its train split, and a description of this split.

    The vocabulary is that of both: items that validation alone has follow those of train, and counts are events in
    both. Models learn context from both. Test is coded with this vocabulary. It is the data set that `prepare` makes of
    the log without a validation split, but for the order of the items.

    A data set that was prepared before `prepare` kept these items has the vocabulary of train alone. Validation is
    encoded with it; where `prepare` has kept events on unknown items there, they are left out, and then the sessions
    that became shorter than the shortest of the data set.

    Args:
        data: a data set with a validation split.
        grows: False: with the vocabulary of train, for models that cannot take further items.
        learns: False: with the codes of context that train has, for models beside others that keep theirs.

    Returns:
        The data, and for run.json: `splits`, the counts `sessions` and `events`, `unknown` (events left out),
        `vocabulary` ("train and validation" or "train"), `new_items` (those that validation alone has), and with the
        vocabulary of train the reason, `why`.

    Raises:
        InputError: no session of validation is left.
    """
    joint = data.joint if data.joint is not None and data.joint.of is data.validation else None
    why = "a member continues that cannot take further items" if joint and joint.further and not grows else None
    if joint is None:
        why = "the data set does not have the items of validation, prepare the log again"
    validation, test = (joint.validation, joint.test) if not why else (data.validation, data.test)
    known, unknown = _known(validation, data.info.get("options", {}).get("min_session_length") or 1)
    if not len(known):
        raise InputError("refit=True: no session of validation has items that training knows: leave it out")
    items = copy.copy(data.items if why else joint.items)
    joined = _joined(data.train, known, items)
    items.counts = np.bincount(joined.values, minlength=items.size)[FIRST:]
    if isinstance(log := items.context_log, ContextLog):
        items.context_log = ContextLog(joined, log.schema, log.time_zone, None if learns else log)
    described = {"splits": ["train", "validation"], "sessions": len(joined), "events": joined.events}
    described |= {"unknown": unknown, "vocabulary": "train" if why else "train and validation"}
    described |= {"new_items": len(items) - len(data.items), **({"why": why} if why else {})}
    nothing = validation.only(np.zeros(len(validation), bool))
    return replace(data, items=items, train=joined, validation=nothing, test=test, joint=None), described


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


def _joined(train: Sessions, later: Sessions, items: Items) -> Sessions:
    """Returns a train split of the sessions of both, in the order of their start, with their vocabulary."""
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
    arrays = SessionArrays(items, values, offsets, columns)
    return Sessions(ItemEvents(arrays) if itemless else arrays, "train", train.timed)
