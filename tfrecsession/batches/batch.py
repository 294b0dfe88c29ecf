"""The batch: the one input format of every sequence model. No other module makes one.

A batch is a flat dict of arrays or tensors, each `[rows, steps]`:

    items         int32, the item of an event; 0 is padding, 1 an unknown item. With a segment above 0, 0 is an event
                  without an item, such as a search
    position      int32, 0 at the first event of a session
    segment       int32, numbers the sessions of a row; 0 is padding
    visit         int32, the number of the session among those of its user, from 0; position 0 and visit 0 start a user
    context/NAME  a column of the log, of the input event: int32 codes or float32, see `sessions.context.Context`
    request/NAME  a column of the event to be predicted, as far as it is known when the recommendation is requested;
                  `request/user` is the user
    weight        float32, how much the target counts; 0 where there is none
    update        int32, the update of item counts that the session sees, see `sessions.item_trends`; 0: the last one

Sessions stand end to end in a row. The targets of a batch are int32 of the same shape, 0 where there is none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tfrecsession.errors import InputError

USERS = (None, "visits", "joined", "ids")
TARGETS = ("every_step", "last_step")
UPDATE = "update"
NO_ITEM = -1  # the id of an event without an item in the histories of requests; 0 there is padding


@dataclass(frozen=True)
class Reads:
    """Declares what a model reads of a log beside the items of the session so far.

    Args:
        context: columns of the input event, as `context/NAME` in the batch.
        request: columns of the event to be predicted, as `request/NAME`.
        users: earlier sessions of the user: None, not read; "visits", as sessions, which `visit` numbers; "joined", as
            if they were one session; "ids", not read, but who the user is, as `request/user`.
        targets: "every_step"; "last_step" for a model that reads a session from both ends: only the last step of a
            prefix may have a target.

    Raises:
        InputError: an unknown value of `users` or `targets`.
    """

    context: tuple[str, ...] = ()
    request: tuple[str, ...] = ()
    users: str | None = None
    targets: str = "every_step"

    def __post_init__(self):
        if self.users not in USERS:
            raise InputError(f"users={self.users!r}: must be one of {', '.join(map(repr, USERS))}")
        if self.targets not in TARGETS:
            raise InputError(f"targets={self.targets!r}: must be one of {', '.join(map(repr, TARGETS))}")

    @property
    def one_target(self) -> bool:
        """The argument of `Sessions.batches`."""
        return self.targets == "last_step"

    @property
    def by_user(self) -> bool | str:
        """The argument of `Sessions.batches`: False, True or "joined"."""
        return {"visits": True, "joined": "joined"}.get(self.users, False)


def batch_of(items, position, segment, visit=None, columns: dict | None = None) -> dict:
    """Returns the batch of these cells, NumPy arrays or tensors of one shape.

    Args:
        items, position, segment, visit: see the module; `visit=None` for sessions that stand alone.
        columns: "context/NAME", "request/NAME" or "weight" -> values.
    """
    batch = {"items": items, "position": position, "segment": segment}
    if visit is not None:
        batch["visit"] = visit
    return {**batch, **(columns or {})}


def dtypes(visits: bool = False, context=None, weighted: bool = False) -> dict[str, type]:
    """Returns the keys of a batch, in their order, and their NumPy types.

    Args:
        visits: whether it has the key `visit`.
        context: the `Context` of its columns; None: it has none.
        weighted: whether it has the key `weight`.
    """
    keys = dict.fromkeys(batch_of(None, None, None, True if visits else None), np.int32)
    keys |= {key: column.dtype for key, column in (context.keys if context else {}).items()}
    return keys | ({"weight": np.float32} if weighted else {})


def spec(shape: tuple, visits: bool = False, context=None, weighted: bool = False):
    """Returns the TensorSpecs of a batch and of its int32 targets, of `shape` each; the rest as in `dtypes`."""
    import tensorflow as tf  # reading a data set does not need it

    batch = {key: tf.TensorSpec(shape, tf.as_dtype(dtype)) for key, dtype in dtypes(visits, context, weighted).items()}
    return batch, tf.TensorSpec(shape, tf.int32)


def of_histories(ids, reads: Reads, columns: dict | None = None) -> dict:
    """Returns the batch of one session a row, for the recommendation after its last event.

    Args:
        ids: int32 [rows, steps], known items, NO_ITEM for events without an item, 0 behind the last one.
        reads: what the model reads; earlier sessions of the user are unknown.
        columns: "context/NAME" or "request/NAME" -> [rows, steps].
    """
    import tensorflow as tf

    mask = tf.cast(ids != 0, tf.int32)
    position = tf.cumsum(mask, axis=1, exclusive=True) * mask
    return batch_of(
        tf.maximum(ids, 0), position, mask, tf.zeros_like(ids) if reads.users == "visits" else None, columns
    )


def last_step(batch: dict, length) -> dict:
    """Returns the last step of each row of a batch of one session a row, [rows, 1]; `length`: int32 [rows]."""
    import tensorflow as tf

    last = tf.maximum(length - 1, 0)[:, None]
    return {key: tf.gather(values, last, batch_dims=1) for key, values in batch.items()}


def of_continuations(ids, visits: bool, columns: dict | None = None) -> dict:
    """Returns the batch of sessions that have begun before: no position is 0, so that a state carries over.

    Args:
        ids: int32 [rows, steps], known items, NO_ITEM for events without an item, 0 behind the last one.
        visits: whether the sessions are those of known users.
        columns: as in `of_histories`.
    """
    import tensorflow as tf

    mask = tf.cast(ids != 0, tf.int32)
    return batch_of(tf.maximum(ids, 0), tf.cumsum(mask, axis=1) * mask, mask, mask if visits else None, columns)


def of_users(ids, session, columns: dict | None = None) -> dict:
    """Returns the batch of users, a row each: their sessions end to end.

    Args:
        ids: int32 [users, steps], known items or NO_ITEM, 0 or 1 behind the last one.
        session: int32 [users, steps], the session of each event, rising; -1 behind the last one.
        columns: as in `of_histories`.
    """
    import tensorflow as tf

    mask = tf.cast((ids > 1) | (ids == NO_ITEM), tf.int32)
    first = tf.pad(session[:, 1:] != session[:, :-1], [[0, 0], [1, 0]], constant_values=True)
    segment = tf.cumsum(tf.cast(first, tf.int32), axis=1) * mask
    began = tf.argsort(tf.cast(~first, tf.int32), axis=1, stable=True)  # the first steps, session by session
    began = tf.gather(began, tf.maximum(segment - 1, 0), batch_dims=1)
    position = (tf.range(tf.shape(ids)[1]) - began) * mask
    return batch_of(tf.maximum(ids, 0) * mask, position, segment, tf.maximum(segment - 1, 0), columns)
