"""The signatures of a model that keeps something of a person between sessions: `with_sessions` and `with_user` (each
also `..._filtered`), `advance_user`, and for streaming `start_session` and `finish_session`."""

from __future__ import annotations

import tensorflow as tf

from tfrecsession.export.filters import EXCLUDE, ONLY, read_filters
from tfrecsession.export.histories import newest


def user_signatures(model, to_id, to_item, k: int, exclude_seen: bool, longest: int) -> dict:
    """Name -> tf.function, see `tfrecsession.export.write_saved_model`; none for a model without a user state.

    The width of a user state is checked in the graph, not by the signature: what a server says of a wrong shape would
    name neither the input nor the width that it should have.

    Args:
        model: a Recommender.
        to_id, to_item: the vocabulary's lookup tables.
        k, exclude_seen, longest: as in `write_saved_model`.
    """
    if not getattr(model, "user_width", 0):
        return {}
    items = tf.TensorSpec((None, None), tf.string, name="items")
    sessions = tf.TensorSpec((None, None), tf.int32, name="sessions")
    user_state = tf.TensorSpec((None, None), tf.float32, name="user_state")
    streamed = tf.TensorSpec((None, None), tf.float32, name="state")
    width = model.initial_state().shape[1]

    def to_ids(items):
        ids = tf.where(items == "", tf.constant(-2, tf.int64), to_id.lookup(items)) + 2
        return tf.cast(ids, tf.int32)

    def history(items):
        ids = to_ids(items)
        return newest(longest, ids > 1, ids)[0]

    def history_of_sessions(items, sessions):
        says = "sessions must have the shape of items: the number of the session of each event"
        with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(items), tf.shape(sessions), says)]):
            ids = to_ids(items)
        # unknown items are kept: where the current session has no others, it has just started
        return newest(longest, ids > 0, ids, sessions)

    def to_answer(best, scores):
        return {"items": to_item.lookup(tf.cast(best, tf.int64) - 2), "scores": scores}

    def checked(rows, user_state):
        hint = ", a row for each of items: what advance_user answered, or zeros for somebody new"
        return checked_width(user_state, rows, model.user_width, "user_state", hint)

    @tf.function(input_signature=[items, sessions], autograph=False)
    def with_sessions(items, sessions):
        """What comes next for people with earlier sessions: a new one starts where the number in `sessions` changes,
        the last is the one going on. `items` and `sessions` have the same shape."""
        return to_answer(*model.answer_sessions(*history_of_sessions(items, sessions), k, exclude_seen))

    @tf.function(input_signature=[items, sessions, EXCLUDE, ONLY], autograph=False)
    def with_sessions_filtered(items, sessions, exclude, only):
        """As `with_sessions`, with the lists of `recommend_filtered`."""
        filters = read_filters(items, exclude, only, to_ids)
        ids, sessions = history_of_sessions(items, sessions)
        return to_answer(*model.answer_sessions(ids, sessions, k, exclude_seen, **filters))

    @tf.function(input_signature=[items, user_state], autograph=False)
    def with_user(items, user_state):
        """What comes next in the current session of people who came with a `user_state`; zeros: somebody new."""
        user_state = checked(tf.shape(items)[0], user_state)
        return to_answer(*model.answer_user(history(items), user_state, k, exclude_seen))

    @tf.function(input_signature=[items, user_state, EXCLUDE, ONLY], autograph=False)
    def with_user_filtered(items, user_state, exclude, only):
        """As `with_user`, with the lists of `recommend_filtered`."""
        filters = read_filters(items, exclude, only, to_ids)
        user_state = checked(tf.shape(items)[0], user_state)
        return to_answer(*model.answer_user(history(items), user_state, k, exclude_seen, **filters))

    @tf.function(input_signature=[items, user_state], autograph=False)
    def advance_user(items, user_state):
        """A finished session and the `user_state` before it -> the one after it, to be kept beside the person."""
        user_state = checked(tf.shape(items)[0], user_state)
        return {"user_state": model.advance_user(history(items), user_state)}

    @tf.function(input_signature=[user_state], autograph=False)
    def start_session(user_state):
        """The `state` that `advance` goes on from at the first event of a person's session."""
        return {"state": model.start_session(checked(tf.shape(user_state)[0], user_state))}

    @tf.function(input_signature=[streamed], autograph=False)
    def finish_session(state):
        """The `state` that `advance` answered last -> the `user_state` after the session."""
        state = checked_width(state, tf.shape(state)[0], width, "state", ": what advance answered")
        return {"user_state": model.finish_session(state)}

    answers = (with_sessions, with_sessions_filtered, with_user, with_user_filtered)
    named = (*answers, advance_user, start_session, finish_session)
    return {signature.python_function.__name__: signature for signature in named}


def checked_width(state, rows, width: int, name: str, hint: str):
    """The state as it is, or an error that names it and says what it should be."""
    finite = tf.reduce_all(tf.math.is_finite(state))
    with tf.control_dependencies(
        [
            tf.debugging.assert_equal(tf.shape(state), [rows, width], f"{name} must be [n, {width}]{hint}"),
            tf.debugging.Assert(finite, [f"{name} holds NaN or infinity", state]),
        ]
    ):
        return tf.ensure_shape(tf.identity(state), (None, width))
