"""The items of a user's earlier sessions, as a short list that stands beside the user's record."""

from __future__ import annotations

import tensorflow as tf


class EarlierItems:
    """The newest `past` known items of a user's earlier sessions, at every session of packed rows.

    The state of a row is `[items of earlier sessions | items of the session so far]`, both newest first, float32 ids,
    0 where there are no more. Its first `past` columns are what is kept of a user between two sessions.

    Args:
        size: number of item ids.
        past: how many items at most.
    """

    def __init__(self, size: int, past: int):
        self.size, self.past = size, past
        self.state_width, self.user_width = 2 * past, past

    def windows(self, batch: dict, state):
        """Returns the items that precede each session of a batch.

        Args:
            batch: packed rows with `visit`, see `tfrecsession.batches.batch`.
            state: float32 [rows, 2 past], before the first step.

        Returns:
            int32 [sessions, past], newest first, 0 where there are no more, a row for each session of each row of the
            batch; int32 [rows * steps], the session of each step; float32 [rows, 2 past], the state after the last
            step. Padding changes nothing.
        """
        items, position, visit = (tf.cast(batch[key], tf.int32) for key in ("items", "position", "visit"))
        is_event = tf.convert_to_tensor(batch["segment"]) > 0  # (rows, steps)
        ids = tf.where(is_event & (items > 1), items, 0)
        starts = is_event & (position == 0)  # (rows, steps)
        read, current = self._lists(state)  # (rows, past) each
        line = tf.concat([tf.reverse(read, [1]), tf.reverse(current, [1]), ids], axis=1)  # oldest first
        known = tf.cast(line > 0, tf.int32)  # (rows, 2 past + steps)
        packed = tf.gather(line, tf.argsort(1 - known, axis=1, stable=True), batch_dims=1)
        before = tf.pad(tf.cumsum(known, axis=1), [[0, 0], [1, 0]])  # (rows, 2 past + steps + 1): known before an index

        step = tf.range(tf.shape(items)[1])[None]  # (1, steps)
        begin = tf.where(position <= step, 2 * self.past + step - position, self.past)  # the session's first index
        new = starts & (visit == 0)
        users = tf.cumsum(tf.cast(new, tf.int32), axis=1)  # (rows, steps): users that began in the row so far
        began = tf.argsort(tf.cast(~new, tf.int32), axis=1, stable=True)  # their first steps, in order
        first = tf.gather(began, tf.maximum(users - 1, 0), batch_dims=1)  # (rows, steps)
        owner = tf.where(users > 0, 2 * self.past + first, 0)  # (rows, steps): the first index of the user

        def newest(row, low, high):
            """Returns the newest items with index low <= index < high of each row: int32 [n] each -> [n, past]."""
            low, high = (tf.gather_nd(before, tf.stack([row, index], axis=1)) for index in (low, high))
            place = high[:, None] - 1 - tf.range(self.past)  # (n, past)
            found = tf.gather(tf.reshape(packed, [-1]), row[:, None] * tf.shape(packed)[1] + tf.maximum(place, 0))
            return tf.where(place >= low[:, None], found, 0)

        opens = starts | (step == 0)  # (rows, steps)
        cells = tf.cast(tf.where(opens), tf.int32)  # (sessions, 2)
        found = newest(cells[:, 0], tf.gather_nd(owner, cells), tf.gather_nd(begin, cells))
        session = tf.cumsum(tf.reshape(tf.cast(opens, tf.int32), [-1])) - 1  # (rows * steps,)

        last = tf.reduce_max(tf.where(is_event, step, -1), axis=1)  # (rows,)
        some, at_last = last >= 0, tf.maximum(last, 0)[:, None]
        begin = tf.where(some, tf.gather(begin, at_last, batch_dims=1)[:, 0], self.past)  # (rows,)
        owner = tf.where(some, tf.gather(owner, at_last, batch_dims=1)[:, 0], 0)
        rows, end = tf.range(tf.shape(items)[0]), tf.fill(tf.shape(begin), tf.shape(line)[1])
        after = tf.concat([newest(rows, owner, begin), newest(rows, begin, end)], axis=1)  # (rows, 2 past)
        return found, session, tf.cast(after, tf.float32)

    def of_state(self, state):
        """Returns the items of earlier sessions: float32 [rows, 2 past] -> int32 [rows, past]."""
        return self._lists(state)[0]

    def end_session(self, state):
        """Returns the state before the next session: float32 [rows, 2 past] -> the same."""
        earlier, current = self._lists(state)  # (rows, past) each
        both = tf.concat([current, earlier], axis=1)  # (rows, 2 past), newest first
        both = tf.gather(both, tf.argsort(tf.cast(both == 0, tf.int32), axis=1, stable=True), batch_dims=1)
        return tf.pad(tf.cast(both[:, : self.past], tf.float32), [[0, 0], [0, self.past]])

    def checked(self, user_state):
        """Returns a user state unchanged; in the graph, a value that is not an item's id is an error."""
        is_id = (user_state == tf.round(user_state)) & (user_state >= 0) & (user_state < self.size)
        message = "user_state: must be the output of advance_user or finish_session of this model"
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(is_id), [message])]):
            return tf.identity(user_state)

    def _lists(self, state):
        """Splits a state into int32 [rows, past] twice: earlier items and those of the session so far."""
        ids = tf.cast(tf.clip_by_value(tf.round(state), 0, self.size - 1), tf.int32)
        return ids[:, : self.past], ids[:, self.past : 2 * self.past]
