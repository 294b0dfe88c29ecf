"""Recommendations across sessions, for models with a user state."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tfrecsession.batches.batch import NO_ITEM, of_continuations, of_users
from tfrecsession.errors import InputError
from tfrecsession.events.id_texts import text_lists
from tfrecsession.layers.ragged import wanted_first
from tfrecsession.recommender.in_context import columns_of_histories, speaking
from tfrecsession.recommender.recommend import Recommendations
from tfrecsession.recommender.top_items import left_out


class UserStates:
    """Recommendations for users whose earlier sessions are known.

    Mixed in before `Recommender`; the class defines `encode_from`, `end_session`, `state_from_user`, `state_width` and
    `user_width`.

    Padding and unknown items are ignored wherever they stand. A session without a known item is skipped; if it is the
    current one, the most popular items are returned.

    A user state summarizes a user between two sessions, float32 [user_width]; all zeros is a new user. It is advanced
    by a whole session (`advance_user`), or event by event: from `start_session` with `advance` to `finish_session`, at
    a cost that does not depend on the session's length.
    """

    user_width: int

    @property
    def abilities(self) -> tuple[str, ...]:
        return (*super().abilities, "user_states")

    def answer_sessions(
        self, ids, sessions, k: int, exclude_seen: bool = False, allowed=None, exclude=None, only=None, given=None
    ):
        """Returns ids and scores of the k best items for histories of several sessions; the last session is current.

        Args:
            ids: int32 [histories, events], oldest first.
            sessions: int32 [histories, events]; a new session starts where the number changes.
            k, exclude_seen, allowed, exclude, only, given: as in `answer`; the items of all sessions count as seen.

        Returns:
            int32 [histories, k], 0 where nothing is left, and float32 [histories, k].
        """
        ids, given = self._events_with_context(ids, given)
        along = [key for key in given if key.startswith("context/")]
        ids, sessions, *arrays = wanted_first(ids != 0, ids, sessions, *(given[key] for key in along))
        changes = tf.cast(sessions[:, 1:] != sessions[:, :-1], tf.int32)
        session = tf.cumsum(tf.pad(changes, [[0, 0], [1, 0]])[:, : tf.shape(ids)[1]], axis=1)  # 0, 1, ... of a row
        current = tf.reduce_max(tf.where(ids != 0, session, -1), axis=1)  # (histories,)
        counted = (ids > 1) | (ids == NO_ITEM)
        session, ids = tf.where(counted, session, -1), tf.where(counted, ids, 0)
        ids, session, *arrays = wanted_first(counted, ids, session, *arrays)
        given |= {key: tf.pad(array, [[0, 0], [0, 1]]) for key, array in zip(along, arrays, strict=True)}
        ids = tf.pad(ids, [[0, 0], [0, 1]])  # (histories, events + 1): at least one step
        session = tf.pad(session, [[0, 0], [0, 1]], constant_values=-1)  # (histories, events + 1)

        batch = of_users(ids, session)
        length = tf.math.count_nonzero(ids, axis=1, dtype=tf.int32)  # (histories,)
        newest = tf.reduce_max(session, axis=1, keepdims=True)  # (histories, 1)
        events = tf.math.count_nonzero((session == newest) & (ids != 0), axis=1, dtype=tf.int32)  # (histories,)
        batch |= columns_of_histories(self.context, given, batch["position"], length, events)
        hidden, _ = self.encode_from(batch, tf.zeros([tf.shape(ids)[0], self.state_width]))
        hidden = self.with_request(hidden, batch)
        known = tf.reduce_max(session, axis=1) == current  # (histories,)
        return self._find_last(hidden, ids, length, known, k, exclude_seen, allowed, exclude, only)

    def answer_user(
        self, ids, user_state, k: int, exclude_seen: bool = False, allowed=None, exclude=None, only=None, given=None
    ):
        """Returns ids and scores of the k best items for current sessions of users with a user state.

        Args:
            ids: int32 [sessions, events], oldest first.
            user_state: float32 [sessions, user_width].
            k, exclude_seen, allowed, exclude, only, given: as in `answer`.
        """
        hidden, _, ids, length = self._encode_session(ids, user_state, given)
        return self._find_last(hidden, ids, length, True, k, exclude_seen, allowed, exclude, only)

    def advance_user(self, ids, user_state, given=None):
        """Returns the user states after finished sessions, float32 [n, user_width], given those before them.

        `given`: as in `answer`.
        """
        _, state, _, length = self._encode_session(ids, user_state, given)
        ended = self.end_session(state)[:, : self.user_width]
        return tf.where(length[:, None] > 0, ended, user_state)

    def start_session(self, user_state):
        """Returns the state for a session's first `advance`: float32 [n, user_width] -> [n, session_width]."""
        state = self.state_from_user(user_state)
        return tf.pad(state, [[0, 0], [0, self.session_width - self.state_width]])  # (n, session_width): no events yet

    def finish_session(self, state):
        """Returns the user state after a session, float32 [n, user_width], given the state of its last `advance`."""
        ended = self.end_session(state[:, : self.state_width])[:, : self.user_width]
        events = state[:, self.events_at : self.events_at + 1]
        return tf.where(events > 0, ended, state[:, : self.user_width])

    def _events_with_context(self, ids, given):
        """Returns the ids, 0 for events without an item and without context, and a copy of the given context."""
        given = dict(given or {})
        silent = (ids == NO_ITEM) & ~speaking(self.context, given, ids == NO_ITEM)
        return tf.where(silent, 0, ids), given

    def _encode_session(self, ids, user_state, given=None):
        ids, given = self.known_events(ids, given)  # (sessions, events + 1): at least one step
        batch = of_continuations(ids, visits=True)
        length = tf.reduce_sum(batch["segment"], axis=1)
        batch |= columns_of_histories(self.context, given, tf.maximum(batch["position"] - 1, 0), length)
        hidden, state = self.encode_from(batch, self.state_from_user(user_state))
        hidden = self.with_request(hidden, batch)
        return hidden, state, ids, length

    def _find_last(self, hidden, ids, length, known, k, exclude_seen, allowed, exclude, only):
        """Runs `find` after `length` steps of each row; rows that are not `known` get popular items."""
        last = tf.gather(hidden, tf.maximum(length - 1, 0), batch_dims=1)  # (rows, dim)
        return self.find(last, known & (length > 0), k, left_out(ids, exclude_seen, exclude), allowed, only)

    def recommend_with_sessions(
        self,
        people,
        k: int = 20,
        *,
        exclude_seen: bool = False,
        candidates=None,
        exclude=None,
        only=None,
        context: Mapping | None = None,
        request: Mapping | None = None,
    ) -> Recommendations:
        """Returns the k best next items of each user, given all sessions of the user.

        Args:
            people: for each user a list of sessions, oldest first, the last one current; a session is a list of item
                ids, oldest first. Users without a session, or with an empty current one, get the most popular items.
            k, candidates, exclude, only: as in `recommend`.
            exclude_seen: leave out the items of all these sessions.
            context: as in `recommend`, nested as `people`: column -> for each user a list of sessions, with a value for
                each event.
            request: as in `recommend`: column -> a value for each user.

        Raises:
            InputError: as in `recommend`.
        """
        self.check_k(k)
        ids, sessions = [], []
        itemless = self.context is not None and self.context.itemless
        lists = text_lists(people, "people", depth=3, missing=itemless)
        given = self.given_context(self._end_to_end(lists, context), request, [_events(user) for user in lists])
        for user in lists:
            # an empty session becomes one unknown item, which is ignored but marks the session as the current one
            encoded = [self._encode_or_none(session) if len(session) else np.ones(1, np.int32) for session in user]
            ids.append(np.concatenate([*encoded, np.zeros(0, np.int32)]))
            sessions.append(np.repeat(np.arange(len(encoded)), list(map(len, encoded))))
        return self.recommend_ids(
            self.answer_sessions, [ids, sessions], k, exclude_seen, candidates, exclude, only, given
        )

    def _end_to_end(self, lists: list, context: Mapping | None) -> Mapping | None:
        """Returns the context of users, with the values of each user's sessions end to end."""
        if not isinstance(context, Mapping):
            return context
        joined = {}
        for name, users in context.items():
            _same_length(users, lists, f"context[{name!r}]", "a list of sessions for each user")
            joined[name] = []
            for row, (values, user) in enumerate(zip(users, lists, strict=True)):
                shown = f"context[{name!r}][{row}]"
                _same_length(values, user, shown, "a list of values for each session")
                for number, (of_session, session) in enumerate(zip(values, user, strict=True)):
                    _same_length(of_session, session, f"{shown}[{number}]", "a value for each event of the session")
                parts = [list(of_session) or [None] for of_session in values]
                joined[name].append([value for part in parts for value in part])
        return joined


def _events(user: list) -> int:
    """Returns the number of events of a user, an empty session counting as one."""
    return sum(max(len(session), 1) for session in user)


def _same_length(values, expected: list, argument: str, each: str) -> None:
    if isinstance(values, str) or not hasattr(values, "__len__") or len(values) != len(expected):
        raise InputError(f"{argument}: must have {each}, {len(expected)}, nested as people")
