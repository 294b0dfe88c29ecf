"""A session one event at a time: the state goes out with the answer and comes back with the next event."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from keras import ops

from tfrecsession.batches.batch import of_continuations
from tfrecsession.errors import InputError
from tfrecsession.events.id_texts import texts
from tfrecsession.recommender.recommend import Recommendations


def checked_state(state, rows, width: int, name: str = "state"):
    """The state as it is, or TensorFlow's error naming `name`: for signatures, where a state comes from outside.

    Args:
        state: float32 [rows, width].
        rows: int32 scalar, how many there are to be.
        width: the width there is to be; a signature's own is not checked when it is called.
        name: what the one who asks calls it.
    """
    state = tf.ensure_shape(state, (None, width), name=name)
    said = f"{name}: say a row of it for each of the other input's rows"
    tf.debugging.assert_equal(tf.shape(state)[0], rows, message=said)
    again = "start again from zeros, or from what an earlier answer returned"
    return tf.debugging.check_numerics(state, f"{name} must be finite: {again}")


class Streaming:
    """What a model whose `encode` is a recurrence can do besides: advance by one event, and carry its state over lanes.

    A model derives from this and then from `SequenceModel`, and says `state_width`, `encode_from` and `encode_state`.
    What `advance` takes and returns is `[all states of the model | events so far]`, float32 `[rows, state_width + 1]`:
    zeros before the first event, the same state as after a replay of the whole session. Only events with a known item
    count. The state does not remember the items.
    """

    state_width = 0  # of all states of the model together; 0: it cannot go on from a state
    lanes = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._advance = tf.function(self.advance_ids, reduce_retracing=True, autograph=False)

    # What a model says -----------------------------------------------------------------------------------------------

    def encode_from(self, batch: dict, state, training: bool = False):
        """`encode` of rows that something came before.

        Args:
            batch: packed rows.
            state: float32 [rows, state_width], what came before the first step; zeros: nothing. Only a first step with
                position > 0 (or, in a model that reads across sessions, visit > 0) looks at it.
            training: whether dropout acts.

        Returns:
            `[rows, steps, dim]`, and float32 [rows, state_width], the state after the last step.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how it encodes a batch from a state")

    def encode_state(self, state):
        """float32 [rows, state_width] -> `[rows, dim]`: what `encode_from` says of the step that left this state."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its state tells")

    # Follows from it -------------------------------------------------------------------------------------------------

    @property
    def abilities(self) -> tuple[str, ...]:
        return (*super().abilities, *(("advance",) if self.state_width else ()))

    def keep_states(self, layers) -> None:
        """One vector of the states of these layers, in this order; with `lanes` also the weights that carry it."""
        self._widths = [layer.state_width for layer in layers]
        self.state_width = sum(self._widths)
        self.carried = [
            self.add_weight(
                name=f"carried_{number}", shape=(self.lanes, layer.state_width), initializer="zeros", trainable=False
            )
            for number, layer in enumerate(layers if self.lanes else [])
        ]

    def states(self, state) -> list:
        """[rows, state_width] -> the state of each layer, [rows, its width]."""
        return tf.split(state, self._widths, axis=-1)

    def encode(self, batch, training=False):
        rows = batch["position"].shape[0]
        if training and self.lanes not in (None, rows):
            raise InputError(f"lanes={self.lanes}, but the batches have {rows} rows: say batches(rows=lanes)")
        carried = self.carried if training else ()
        if carried:
            state = ops.concatenate([ops.convert_to_tensor(one) for one in carried], axis=-1)
        else:
            state = ops.zeros((ops.shape(batch["position"])[0], self.state_width), "float32")
        encoded, after = self.encode_from(batch, state, training=training)
        if carried:
            for one, left in zip(carried, self.states(after), strict=True):
                one.assign(left)
        return encoded

    def advance_ids(self, ids, state, k: int, exclude_seen: bool = False):
        """`advance` in tensors: int32 [rows], float32 [rows, state_width + 1] -> int32 and float32 [rows, k], state."""
        state = checked_state(state, tf.shape(ids)[0], self.state_width + 1)
        before, events = state[:, :-1], state[:, -1:]
        known = ids[:, None] > 1
        batch = of_continuations(tf.where(known, ids[:, None], 0), visits=self.reads.users == "visits")
        after = tf.where(known, self.encode_from(batch, before)[1], before)
        events += tf.cast(known, tf.float32)
        clicked = tf.stack([tf.range(tf.shape(ids)[0]), ids], axis=1) if exclude_seen else None
        best, scores = self.find(self.encode_state(after), events[:, 0] > 0, k, clicked)
        return best, scores, tf.concat([after, events], axis=1)

    def initial_state(self, rows: int = 1) -> np.ndarray:
        """float32 zeros [rows, state_width + 1]: sessions without an event yet."""
        if not self.state_width:
            raise InputError(
                f"this {type(self).__name__} reads a session from both ends, so it cannot go on from a state: "
                "ask recommend with the whole history, or train with bidirectional=False"
            )
        return np.zeros((rows, self.state_width + 1), np.float32)

    def advance(self, items, state, k: int = 20, *, exclude_seen: bool = False) -> tuple[Recommendations, np.ndarray]:
        """One event further in each of many sessions, at the same cost however long they are.

            state = model.initial_state(2)
            best, state = model.advance(["item-17", "item-4"], state)
            best, state = model.advance(["item-3", ""], state)  # nothing new in the second session

        The answer is that of `recommend` for the whole session. An unknown item and "" leave the state as it is, and
        are answered from it; before any known item the answer is the most popular items.

        Args:
            items: an item id for each session, in any form that `recommend` takes.
            state: float32 [rows, state_width + 1], from `initial_state` or the last `advance`.
            k: how many items, at most the catalogue's.
            exclude_seen: leave out the item just given. A state does not know the items before: who wants none of them
                asks for a larger k and drops them.

        Returns:
            The k best next items of each session, and the new state.

        Raises:
            InputError: `state` has another shape or a value that is not finite, or the model has no state at all.
        """
        self.check_k(k)
        width = self.initial_state().shape[1]
        items, state = texts(items, "items"), np.asarray(state, np.float32)
        if state.shape != (len(items), width):
            raise InputError(
                f"state: its shape is {list(state.shape)}, for {len(items)} items it must be {[len(items), width]}; "
                f"start from initial_state({len(items)})"
            )
        if not np.isfinite(state).all():
            raise InputError("state: it holds NaN or infinite values; start again from initial_state")
        ids = np.asarray(self.items.encode(items), np.int32)
        best, scores, after = self._advance(tf.constant(ids), tf.constant(state), k=k, exclude_seen=exclude_seen)
        return Recommendations(self.items.decode(best.numpy()), scores.numpy()), after.numpy()
