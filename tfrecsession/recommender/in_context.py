"""The context of requests in tensors: what is given, and what is derived from it."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.layers.ragged import together
from tfrecsession.sessions.context import Context, checked_names
from tfrecsession.sessions.derived_context import SIZES, of_tensors

TIME_PARTS = 3  # of a time in a state: float32 holds 24 bits of it, a time has 51
PART = 1 << 17


def context_of(context, request, items) -> Context | None:
    """Returns the `Context` of a model.

    Args:
        context, request: names of columns; `context` may also be a `Context`, or its configuration.
        items: the vocabulary; names are learned from its `context_log`.

    Raises:
        InputError: a name that cannot be learned, or `request` beside a `Context`.
    """
    if isinstance(context, Mapping):
        return Context.from_config(dict(context))
    if isinstance(context, Context):
        if len(tuple(request or ())):
            raise InputError(f"request={request!r}: must be part of the Context, data.context([...], request=[...])")
        return context if context.columns else None
    context, request = (
        checked_names(name, () if names is None else names)
        for name, names in (("context", context), ("request", request))
    )
    if not context and not request:
        return None
    if items.context_log is None:
        raise InputError(
            f"context={[*context, *request]!r}: must be learned from a log: use the items of trs.load(...), or "
            "context=data.context([...])"
        )
    return items.context_log.learn(context, request)


def speaking(context: Context | None, given: dict, is_step):
    """Returns which events without an item count as steps: those of which the request gives any context.

    Args:
        context: of the model; None, or one that has not learned from such events: none counts.
        given: as in `columns_of_histories`.
        is_step: bool [rows, steps] or [rows], the events without an item.
    """
    if context is None or not context.itemless:
        return tf.zeros_like(is_step)
    speaks = tf.zeros_like(is_step)
    for key, values in given.items():
        if key.startswith("context/"):
            speaks |= ~tf.math.is_nan(values) if values.dtype.is_floating else values != 0
    return is_step & speaks


def missing_column(context: Context, key: str, shape):
    """Returns a column of missing values, [*shape]."""
    column = context.keys[key]
    return tf.fill(shape, tf.constant(column.missing, tf.as_dtype(column.dtype)))


def columns_of_histories(context: Context | None, given: dict, position, length, events=None) -> dict:
    """Returns the columns of the batch of histories, one session a row.

    Args:
        context: of the model; None: there are no columns.
        given: key -> values that the request gives, encoded: of "context/..." [rows, steps], aligned with the events of
            the batch, and of "request/..." [rows]; "context/time" and "request/time" are int64 microseconds, 0 where
            missing. Keys that are not given are missing.
        position: int32 [rows, steps], the number of events before each in its session.
        length: int32 [rows], events of the history.
        events: int32 [rows], those of its last session; None: all.

    Returns:
        Key -> [rows, steps]; those of "request/..." are the same at all steps.
    """
    if context is None:
        return {}
    events = length if events is None else events
    steps = tf.shape(position)[1]
    time = given.get("context/time", tf.zeros(tf.shape(position), tf.int64))  # (rows, steps)
    before = tf.where(position > 0, tf.pad(time, [[0, 0], [1, 0]])[:, :-1], 0)  # (rows, steps)
    last = tf.gather(time, tf.maximum(length - 1, 0), batch_dims=1)  # (rows,)
    last = tf.where(length > 0, last, 0)
    return _columns(context, given, time, before, position, last, events, steps)


def columns_of_event(context: Context | None, given: dict, events, before, known) -> tuple[dict, object]:
    """Returns the columns of the batch of one further event a row.

    Args:
        context, given: as in `columns_of_histories`; "context/..." is [rows] too.
        events: int32 [rows], the number of events before it in its session.
        before: int64 [rows], the time of the event before it; 0: missing.
        known: bool [rows], whether the event counts.

    Returns:
        Key -> [rows, 1], and int64 [rows], the time of the last event that counts.
    """
    if context is None:
        return {}, before
    time = given.get("context/time", tf.zeros(tf.shape(events), tf.int64))
    last = tf.where(known, time, before)
    along = {key: values[:, None] if key.startswith("context/") else values for key, values in given.items()}
    own = [values[:, None] for values in (time, before, events)]
    return _columns(context, along, *own, last, events + tf.cast(known, tf.int32), 1), last


def _columns(context, given, time, before, position, last, events, steps) -> dict:
    """Returns the columns of a batch. Values that are not given are derived where they can be, or missing.

    A request is one event more at the end of its history, so that its columns are derived with those of the events.

    Args:
        context, given: as in `columns_of_histories`.
        time, before: int64 [rows, steps], of each event and of the event before it in its session; 0: missing.
        position: int32 [rows, steps], the number of events before it in its session.
        last, events: int64 and int32 [rows], the time of the event before the request, and the number of events.
        steps: of the batch.
    """
    now = given.get("request/time", tf.zeros(tf.shape(events), tf.int64))  # (rows,)
    pairs = ((time, now), (before, last), (position, events))
    timeline = [tf.concat([array, of_request[:, None]], axis=1) for array, of_request in pairs]  # (rows, steps + 1)
    timed = "context/time" in given or "request/time" in given  # without a time they are missing
    kinds = {column.kind for column in context.columns.values()} & ({*SIZES} if timed else {"position"})
    derived = [of_tensors(kind, *timeline, context.zone) for kind in sorted(kinds)]
    shapes = {"context": tf.shape(position), "request": tf.shape(events)}
    columns = {}
    for side, parts in (("context", lambda array: array[:, :-1]), ("request", lambda array: array[:, -1])):
        of_kind = dict(zip(sorted(kinds), together(parts, derived), strict=True))
        columns[side] = _completed(context, side, given, of_kind, shapes[side])
    along = together(lambda cells: tf.tile(cells[:, None], [1, steps, 1]), columns["request"].values())
    return columns["context"] | dict(zip(columns["request"], along, strict=True))


def _completed(context, side, given, derived, shape) -> dict:
    """Returns the columns of a side, [*shape] each: those given, or else those derived from times, or else missing."""
    columns = {}
    both = []  # keys of columns that a request gives where it has a value, and that are derived elsewhere
    for column in context.side(side):
        key = f"{side}/{column.name}"
        if column.kind not in derived:
            columns[key] = given[key] if key in given else missing_column(context, key, shape)
        elif key in given:
            both.append((key, derived[column.kind]))
            columns[key] = given[key]
        else:
            columns[key] = derived[column.kind]
    if both:
        own = tf.stack([given[key] for key, _ in both])
        completed = tf.where(own == 0, tf.stack([values for _, values in both]), own)
        columns |= zip((key for key, _ in both), tf.unstack(completed, len(both)), strict=True)
    return columns


def time_width(context: Context | None) -> int:
    """Returns the width of the time of the last event in a state: 0 unless a gap is read."""
    return TIME_PARTS if context is not None and any(column.kind == "gap" for column in context.columns.values()) else 0


def split_time(time):
    """Returns a time as parts that float32 holds exactly: int64 [rows] -> float32 [rows, TIME_PARTS]."""
    parts = [tf.bitwise.bitwise_and(tf.bitwise.right_shift(time, 17 * part), PART - 1) for part in range(TIME_PARTS)]
    return tf.cast(tf.stack(parts, axis=1), tf.float32)


def joined_time(parts):
    """Returns the time that `split_time` split: float32 [rows, TIME_PARTS] -> int64 [rows]."""
    parts = tf.cast(tf.clip_by_value(parts, 0, PART - 1), tf.int64)
    return tf.reduce_sum(parts * tf.constant([PART**part for part in range(TIME_PARTS)], tf.int64), axis=1)
