"""Recommendations event by event: the state is returned with them and given back with the next event."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from keras import ops

from tfrecsession.batches.batch import NO_ITEM, of_continuations
from tfrecsession.errors import InputError
from tfrecsession.events.id_texts import texts
from tfrecsession.recommender.fitted import warn_unfitted
from tfrecsession.recommender.in_context import columns_of_event, joined_time, speaking, split_time, time_width
from tfrecsession.recommender.recommend import Recommendations


def checked_state(state, rows, width: int, name: str = "state"):
    """Returns the state after checks whose errors, TensorFlow's, contain `name`: for states given to signatures.

    Args:
        state: float32 [rows, width].
        rows: int32 scalar, the expected number of rows.
        width: the expected width; TensorFlow does not check that of a signature when it is called.
        name: the caller's name of the input.
    """
    state = tf.ensure_shape(state, (None, width), name=name)
    message = f"{name}: must have one row for each row of the other input"
    tf.debugging.assert_equal(tf.shape(state)[0], rows, message=message)
    hint = "start again from zeros, or from the state that an earlier call returned"
    return tf.debugging.check_numerics(state, f"{name} must be finite: {hint}")


class Streaming:
    """Models whose `encode` is a recurrence: they advance by one event, and carry their state over lanes.

    Mixed in before `SequenceModel`. The class defines `encode_from` and `encode_state`, and calls `keep_states(layers)`
    in its constructor. The state of `advance` is `[all states of the model | events so far]`, float32 `[rows,
    state_width + 1]`: zeros before the first event, then the same as after a replay of the whole session. Only events
    with a known item count, and those without an item whose context is given. The state does not contain the items. A
    model that reads gaps also keeps the time of the last event, in three parts that float32 holds exactly. With
    `repeats`, keys and items of the newest `repeat_window` events stand before the number of events.
    """

    state_width = 0  # of all states of the model together; 0: it cannot continue from a state
    lanes = None  # rows of the batches that carry the state; None: every batch starts afresh

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._advance = tf.function(self.advance_ids, reduce_retracing=True, autograph=False)

    # Defined by a model ----------------------------------------------------------------------------------------------

    def encode_from(self, batch: dict, state, training: bool = False):
        """Encodes rows that continue from a state.

        Args:
            batch: packed rows.
            state: float32 [rows, state_width], before the first step; zeros: nothing came before. It is read only by a
                first step with position > 0 (or, in a model that reads across sessions, visit > 0).
            training: whether dropout acts.

        Returns:
            `[rows, steps, dim]`, before `with_request`, and float32 [rows, state_width], the state after the last step.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define encode_from")

    def encode_state(self, state):
        """Returns the encoding of the step that left this state, before `with_request`: float32 [rows, state_width] ->
        `[rows, dim]`."""
        raise NotImplementedError(f"{type(self).__name__} does not define encode_state")

    # Shared by these models ------------------------------------------------------------------------------------------

    @property
    def abilities(self) -> tuple[str, ...]:
        return (*super().abilities, *(("advance",) if self.state_width else ()))

    def keep_states(self, layers) -> None:
        """Joins the states of these layers, in this order, to one vector; with `lanes`, adds weights that carry it."""
        self._widths = [layer.state_width for layer in layers]
        self.state_width = sum(self._widths)
        self.carried = [
            self.add_weight(
                name=f"carried_{index}", shape=(self.lanes, layer.state_width), initializer="zeros", trainable=False
            )
            for index, layer in enumerate(layers if self.lanes else [])
        ]

    def states(self, state) -> list:
        """Splits the state of the model, [rows, state_width], into that of each layer, [rows, its width]."""
        return tf.split(state, self._widths, axis=-1)

    def encode(self, batch, training=False):
        rows = batch["position"].shape[0]
        if training and self.lanes not in (None, rows):
            raise InputError(f"lanes={self.lanes}: must be the rows of the batches, {rows}; use batches(rows=lanes)")
        carried = self.carried if training else ()
        if carried:
            # (lanes, state_width)
            state = ops.concatenate([ops.convert_to_tensor(weight) for weight in carried], axis=-1)
        else:
            state = ops.zeros((ops.shape(batch["position"])[0], self.state_width), "float32")
        encoded, after = self.encode_from(batch, state, training=training)
        encoded = self.with_request(encoded, batch, training=training)
        if carried:
            for weight, layer_state in zip(carried, self.states(after), strict=True):
                weight.assign(layer_state)
        return encoded

    @property
    def session_width(self) -> int:
        """The width of the state of `advance`: all states of the model, what may be repeated, count and last time."""
        return self.events_at + 1 + time_width(self.context)

    @property
    def events_at(self) -> int:
        """The column of the state of `advance` that holds the number of events."""
        return self.state_width + (0 if self.repeat_head is None else self.repeat_head.state_width)

    def advance_ids(self, ids, state, k: int, exclude_seen: bool = False, given: dict | None = None):
        """Advances tensors by one event.

        Args:
            ids: int32 [rows]; NO_ITEM is an event without an item, which counts if its context is given.
            state: float32 [rows, session_width].
            k, exclude_seen: as in `advance`.
            given: the context that is given, encoded: "context/NAME" and "request/NAME" -> [rows] each.

        Returns:
            int32 and float32 [rows, k], and the new state.
        """
        state = checked_state(state, tf.shape(ids)[0], self.session_width)
        widths = [self.state_width, self.events_at - self.state_width, 1, time_width(self.context)]
        before, kept, events, time = tf.split(state, widths, axis=1)
        known = (ids > 1) | speaking(self.context, given or {}, ids == NO_ITEM)  # (rows,)
        known = known[:, None]  # (rows, 1)
        seen = tf.cast(events[:, 0], tf.int32)  # (rows,)
        last = joined_time(time) if time.shape[1] else tf.zeros_like(seen, tf.int64)  # (rows,)
        columns, last = columns_of_event(self.context, given or {}, seen, last, known[:, 0])
        batch = of_continuations(tf.where(known, ids[:, None], 0), self.reads.users == "visits", columns)
        after = tf.where(known, self.encode_from(batch, before)[1], before)
        events += tf.cast(known, tf.float32)
        items = tf.maximum(ids, 0)  # (rows,)
        clicked = tf.stack([tf.range(tf.shape(ids)[0]), items], axis=1) if exclude_seen else None  # (rows, 2)
        last_state = self.encode_state(after)  # (rows, dim)
        hidden = self.in_request(last_state[:, None], batch)[:, 0]  # (rows, dim)
        if self.repeat_head is not None:
            hidden, kept = self.repeat_head.advance(hidden, last_state, items, kept, known)
        best, scores = self.find(hidden, events[:, 0] > 0, k, clicked)
        time = [split_time(last)] if time.shape[1] else []
        return best, scores, tf.concat([after, kept, events, *time], axis=1)  # (rows, session_width)

    def initial_state(self, rows: int = 1) -> np.ndarray:
        """Returns the state of sessions without an event yet: float32 zeros [rows, session_width]."""
        if not self.state_width:
            raise InputError(
                f"this {type(self).__name__} reads a session from both ends, so it cannot continue from a state: "
                "call recommend with the whole history, or train with bidirectional=False"
            )
        return np.zeros((rows, self.session_width), np.float32)

    def advance(
        self,
        items,
        state,
        k: int = 20,
        *,
        exclude_seen: bool = False,
        context: Mapping | None = None,
        request: Mapping | None = None,
    ) -> tuple[Recommendations, np.ndarray]:
        """Advances each session by one event, at a cost that does not depend on the session's length.

            state = model.initial_state(2)
            best, state = model.advance(["item-17", "item-4"], state)
            best, state = model.advance(["item-3", ""], state)  # nothing new in the second session

        The recommendations equal those of `recommend` for the whole session. An unknown item and "" leave the state as
        it is, and the recommendations follow from it: the most popular items before any known item.

        Args:
            items: an item id for each session, in any form that `recommend` takes, there also None.
            state: float32 [rows, session_width], from `initial_state` or the last `advance`.
            k: how many items, at most the catalogue's.
            exclude_seen: leave out the item just given. The state does not contain the items before it: to drop them
                too, request a larger k and filter.
            context, request: for a model that reads context: column -> a value for each session, of the event just
                given and of the request, see `recommend`.

        Returns:
            The k best next items of each session, and the new state.

        Raises:
            InputError: `state` has another shape or a value that is not finite, the model has no state at all, or
                context that cannot be read.
        """
        self.check_k(k)
        warn_unfitted(self)
        width = self.initial_state().shape[1]
        with_none = self.context is not None and self.context.itemless
        items, state = texts(items, "items", missing=with_none), np.asarray(state, np.float32)
        if state.shape != (len(items), width):
            raise InputError(
                f"state: its shape is {list(state.shape)}, for {len(items)} items it must be {[len(items), width]}; "
                f"start from initial_state({len(items)})"
            )
        if not np.isfinite(state).all():
            raise InputError("state: it holds NaN or infinite values; start again from initial_state")
        ids = self._encode_or_none(items)
        listed = {name: [[value] for value in values] for name, values in (context or {}).items()}
        given = self.given_context(listed, request, [1] * len(ids))
        given = {key: tf.constant(np.reshape(values, [len(ids)])) for key, values in given.items()}
        best, scores, after = self._advance(
            tf.constant(ids), tf.constant(state), k=k, exclude_seen=exclude_seen, given=given
        )
        return Recommendations(self.items.decode(best.numpy()), scores.numpy()), after.numpy()
