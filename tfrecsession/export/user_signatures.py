"""The signatures of a model with user states between sessions: `with_sessions` and `with_user` (each also
`..._filtered`), `advance_user`, and for streaming `start_session` and `finish_session`."""

from __future__ import annotations

import tensorflow as tf

from tfrecsession.export.vocabulary_tables import EXCLUDE, ONLY, VocabularyTables


def user_signatures(model, tables: VocabularyTables, k: int, exclude_seen: bool, inputs=None) -> dict:
    """Returns name -> tf.function, see `tfrecsession.export.write_saved_model`.

    The graph checks the width of a user state, not the signature: a server's error for a wrong shape names neither the
    input nor its width.

    Args:
        model: a Recommender with user states.
        tables: the vocabulary.
        k, exclude_seen: as in `write_saved_model`.
        inputs: the `ContextInputs` of a model that reads context.
    """
    items = tf.TensorSpec((None, None), tf.string, name="items")
    sessions = tf.TensorSpec((None, None), tf.int32, name="sessions")
    user_state = tf.TensorSpec((None, None), tf.float32, name="user_state")
    state = tf.TensorSpec((None, None), tf.float32, name="state")
    width = model.initial_state().shape[1]

    def checked(rows, user_state):
        hint = ", one row for each of items: the output of advance_user, or zeros for a new user"
        return checked_width(user_state, rows, model.user_width, "user_state", hint)

    @tf.function(input_signature=[items, sessions], autograph=False)
    def with_sessions(items, sessions):
        """Recommends the next item for users with earlier sessions. `items` holds all events of a user, oldest first.
        `sessions`, of the same shape, holds the session number of each event: a session starts where it changes, and
        the last one is the current session."""
        return tables.answer(*model.answer_sessions(*tables.history_of_sessions(items, sessions), k, exclude_seen))

    @tf.function(input_signature=[items, sessions, EXCLUDE, ONLY], autograph=False)
    def with_sessions_filtered(items, sessions, exclude, only):
        """Recommends like `with_sessions`, filtered by `exclude` and `only`, see `recommend_filtered`."""
        filters = tables.filters(items, exclude, only)
        ids, sessions = tables.history_of_sessions(items, sessions)
        return tables.answer(*model.answer_sessions(ids, sessions, k, exclude_seen, **filters))

    @tf.function(input_signature=[items, user_state], autograph=False)
    def with_user(items, user_state):
        """Recommends the next item in the current session of users with a `user_state`. `items` holds the current
        session alone. `user_state` is the output of `advance_user` or `finish_session`; zeros for a new user."""
        user_state = checked(tf.shape(items)[0], user_state)
        return tables.answer(*model.answer_user(tables.history(items), user_state, k, exclude_seen))

    @tf.function(input_signature=[items, user_state, EXCLUDE, ONLY], autograph=False)
    def with_user_filtered(items, user_state, exclude, only):
        """Recommends like `with_user`, filtered by `exclude` and `only`, see `recommend_filtered`."""
        filters = tables.filters(items, exclude, only)
        user_state = checked(tf.shape(items)[0], user_state)
        return tables.answer(*model.answer_user(tables.history(items), user_state, k, exclude_seen, **filters))

    @tf.function(input_signature=[items, user_state], autograph=False)
    def advance_user(items, user_state):
        """Returns the `user_state` after a finished session, to be stored with the user. `items` holds that session,
        `user_state` the state before it; zeros for a new user."""
        user_state = checked(tf.shape(items)[0], user_state)
        return {"user_state": model.advance_user(tables.history(items), user_state)}

    @tf.function(input_signature=[user_state], autograph=False)
    def start_session(user_state):
        """Returns the `state` for the first call of `advance` in a user's session."""
        return {"state": model.start_session(checked(tf.shape(user_state)[0], user_state))}

    @tf.function(input_signature=[state], autograph=False)
    def finish_session(state):
        """Returns the `user_state` after a session, to be stored with the user. `state` is the output of the session's
        last `advance`."""
        state = checked_width(state, tf.shape(state)[0], width, "state", ": the output of advance")
        return {"user_state": model.finish_session(state)}

    recommending = (with_sessions, with_sessions_filtered, with_user, with_user_filtered)
    signatures = (*recommending, advance_user, start_session, finish_session)
    if inputs is not None:
        signatures += _in_context(model, tables, k, exclude_seen, inputs, checked, (items, sessions, user_state))
    return {signature.python_function.__name__: signature for signature in signatures}


def _in_context(model, tables, k: int, exclude_seen: bool, inputs, checked, specs) -> tuple:
    """Returns the signatures of `user_signatures` that also take context."""
    items, sessions, user_state = specs

    @tf.function(input_signature=[items, sessions, *inputs.specs()], autograph=False)
    def with_sessions_in_context(items, sessions, *texts):
        """Recommends like `with_sessions`, in context: `context_...` holds a value for each event, aligned with
        `items`, `request_...` one for each user, see `recommend_in_context`."""
        ids, sessions, given = inputs.history_of_sessions(tables, items, sessions, texts)
        return tables.answer(*model.answer_sessions(ids, sessions, k, exclude_seen, given=given))

    @tf.function(input_signature=[items, user_state, *inputs.specs()], autograph=False)
    def with_user_in_context(items, user_state, *texts):
        """Recommends like `with_user`, in context, see `recommend_in_context`."""
        user_state = checked(tf.shape(items)[0], user_state)
        ids, given = inputs.history(tables, items, texts)
        return tables.answer(*model.answer_user(ids, user_state, k, exclude_seen, given=given))

    @tf.function(input_signature=[items, user_state, *inputs.specs()], autograph=False)
    def advance_user_in_context(items, user_state, *texts):
        """Returns the `user_state` after a finished session like `advance_user`, in context. The `request_...` inputs
        change nothing."""
        user_state = checked(tf.shape(items)[0], user_state)
        ids, given = inputs.history(tables, items, texts)
        return {"user_state": model.advance_user(ids, user_state, given)}

    return with_sessions_in_context, with_user_in_context, advance_user_in_context


def checked_width(state, rows, width: int, name: str, hint: str):
    """Returns the state unchanged; in the graph, a wrong shape or a NaN is an error that names the input."""
    finite = tf.reduce_all(tf.math.is_finite(state))
    with tf.control_dependencies(
        [
            tf.debugging.assert_equal(tf.shape(state), [rows, width], f"{name} must be [n, {width}]{hint}"),
            tf.debugging.Assert(finite, [f"{name} holds NaN or infinity", state]),
        ]
    ):
        return tf.ensure_shape(tf.identity(state), (None, width))
