"""The end of train held out for validation, where a data set has no validation split. Needs no TensorFlow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tfrecsession.batches.data import Data, Sessions
from tfrecsession.batches.joint_vocabulary import JointVocabulary
from tfrecsession.errors import InputError

SHARE = 0.1  # of the sessions of train


def with_held_out(data: Data, share: float = SHARE) -> tuple[Data, int]:
    """Returns the data with the newest sessions of train as its validation split, and their number.

    Data with a validation split is returned as it is, with 0. The vocabulary stays that of train.

    Raises:
        InputError: train is too small, or its sessions have a single event each.
    """
    if data.validation.scored_events:
        return data, 0
    train = data.train
    if not train.scored_events:
        raise InputError(
            f"{data.path or 'the data'}: every session of train has a single event, so no next item can be learned: "
            "prepare the log with another session=, or with user= and gap=, so that sessions have several events"
        )
    several = np.flatnonzero(np.diff(train.offsets) > 1)
    first = min(len(train) - max(round(share * len(train)), 1), int(several[-1]))
    if first < 1 or not (np.diff(train.offsets)[:first] > 1).any():
        raise InputError(
            f"{data.path or 'the data'}: has no validation split, and train is too small to hold one out "
            f"({len(train):,} sessions): prepare a longer log"
        )
    is_first = np.arange(len(train)) < first
    kept, newest = train.only(is_first), train.only(~is_first)
    held_out = Sessions(newest.arrays, "validation", train.timed, (kept,))
    joint = JointVocabulary(held_out, data.test, read=lambda: (data.items, held_out, data.test))  # train counts it
    return replace(data, train=kept, validation=held_out, joint=joint), len(held_out)
