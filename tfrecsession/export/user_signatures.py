"""The signatures of a model that keeps something of a person between sessions: `with_sessions` and `with_user` (each
also `..._filtered`), `advance_user`, and for streaming `start_session` and `finish_session`."""

from __future__ import annotations

import tensorflow as tf

from tfrecsession.export.filters import EXCLUDE, ONLY, read_filters
from tfrecsession.export.vocabulary_tables import VocabularyTables


def user_signatures(model, tables: VocabularyTables, k: int, exclude_seen: bool) -> dict:
    """Returns name -> tf.function, see `tfrecsession.export.write_saved_model`.

    The width of a user state is checked in the graph, not by the signature: the error of a server for a wrong shape
    names neither the input nor its width.

    Args:
        model: a Recommender with user states.
        tables: the vocabulary.
        k, exclude_seen: as in `write_saved_model`.
    """
    items = tf.TensorSpec((None, None), tf.string, name="items")
    sessions = tf.TensorSpec((None, None), tf.int32, name="sessions")
    user_state = tf.TensorSpec((None, None), tf.float32, name="user_state")
    streamed = tf.TensorSpec((None, None), tf.float32, name="state")
    width = model.initial_state().shape[1]

    def checked(rows, user_state):
        hint = ", a row for each of items: what advance_user answered, or zeros for a new user"
        return checked_width(user_state, rows, model.user_width, "user_state", hint)

    @tf.function(input_signature=[items, sessions], autograph=False)
    def with_sessions(items, sessions):
        """What comes next for people with earlier sessions: a new one starts where the number in `sessions` changes,
        the last is the one going on. `items` and `sessions` have the same shape."""
        return tables.answer(*model.answer_sessions(*tables.history_of_sessions(items, sessions), k, exclude_seen))

    @tf.function(input_signature=[items, sessions, EXCLUDE, ONLY], autograph=False)
    def with_sessions_filtered(items, sessions, exclude, only):
        """As `with_sessions`, with the lists of `recommend_filtered`."""
        filters = read_filters(items, exclude, only, tables.ids)
        ids, sessions = tables.history_of_sessions(items, sessions)
        return tables.answer(*model.answer_sessions(ids, sessions, k, exclude_seen, **filters))

    @tf.function(input_signature=[items, user_state], autograph=False)
    def with_user(items, user_state):
        """What comes next in the current session of people who came with a `user_state`; zeros: somebody new."""
        user_state = checked(tf.shape(items)[0], user_state)
        return tables.answer(*model.answer_user(tables.history(items), user_state, k, exclude_seen))

    @tf.function(input_signature=[items, user_state, EXCLUDE, ONLY], autograph=False)
    def with_user_filtered(items, user_state, exclude, only):
        """As `with_user`, with the lists of `recommend_filtered`."""
        filters = read_filters(items, exclude, only, tables.ids)
        user_state = checked(tf.shape(items)[0], user_state)
        return tables.answer(*model.answer_user(tables.history(items), user_state, k, exclude_seen, **filters))

    @tf.function(input_signature=[items, user_state], autograph=False)
    def advance_user(items, user_state):
        """A finished session and the `user_state` before it -> the one after it, to be kept beside the person."""
        user_state = checked(tf.shape(items)[0], user_state)
        return {"user_state": model.advance_user(tables.history(items), user_state)}

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
