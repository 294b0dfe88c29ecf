"""Answers across sessions: what a model with a user state says to somebody who has been here before."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfrecsession.batches.batch import of_continuations, of_users
from tfrecsession.events.id_texts import text_lists
from tfrecsession.layers.ragged import wanted_first
from tfrecsession.recommender.recommend import Recommendations
from tfrecsession.recommender.top_items import left_out


class UserStates:
    """For a Recommender that has `encode_from`, `end_session`, `state_from_user`, `state_width` and `user_width`.

    Padding and unknown items may stand anywhere and change nothing; a session without a known item has not happened,
    and where it is the current one, the answer is the most popular items.

    A user state is what is kept of a person between two sessions, float32 [user_width]. All zeros: somebody new. It is
    advanced by a whole session at once (`advance_user`), or by the state that was streamed event by event from
    `start_session` with `advance` (`finish_session`), at the same cost however long sessions are.
    """

    user_width: int

    @property
    def abilities(self) -> tuple[str, ...]:
        return (*super().abilities, "user_states")

    def answer_sessions(self, ids, sessions, k: int, exclude_seen: bool = False, allowed=None, exclude=None, only=None):
        """Histories with session boundaries -> ids and scores of the k best items; the last session is going on.

        Args:
            ids: int32 [histories, events], oldest first.
            sessions: int32 [histories, events]; where the number changes, a new session starts.
            k, exclude_seen, allowed, exclude, only: as in `answer`; what is seen is the items of all sessions given.

        Returns:
            int32 [histories, k], 0 where nothing is left, and float32 [histories, k].
        """
        ids, sessions = wanted_first(ids > 0, ids, sessions)
        changes = tf.cast(sessions[:, 1:] != sessions[:, :-1], tf.int32)
        number = tf.cumsum(tf.pad(changes, [[0, 0], [1, 0]])[:, : tf.shape(ids)[1]], axis=1)  # 0, 1, ... of a row
        current = tf.reduce_max(tf.where(ids > 0, number, -1), axis=1)
        number = tf.where(ids > 1, number, -1)
        ids, number = wanted_first(ids > 1, ids, number)
        ids = tf.pad(ids, [[0, 0], [0, 1]])  # at least one step
        number = tf.pad(number, [[0, 0], [0, 1]], constant_values=-1)

        batch = of_users(ids, number)
        hidden, _ = self.encode_from(batch, tf.zeros([tf.shape(ids)[0], self.state_width]))
        length = tf.math.count_nonzero(ids > 1, axis=1, dtype=tf.int32)
        known = tf.reduce_max(number, axis=1) == current
        return self._best(hidden, ids, length, known, k, exclude_seen, allowed, exclude, only)

    def answer_user(self, ids, user_state, k: int, exclude_seen: bool = False, allowed=None, exclude=None, only=None):
        """The current session of somebody who came with a user state -> ids and scores of the k best items.

        Args:
            ids: int32 [sessions, events], oldest first.
            user_state: float32 [sessions, user_width].
            k, exclude_seen, allowed, exclude, only: as in `answer`.
        """
        hidden, _, ids, length = self._play(ids, user_state)
        return self._best(hidden, ids, length, True, k, exclude_seen, allowed, exclude, only)

    def advance_user(self, ids, user_state):
        """Finished sessions and the user states before them -> the user states after them, float32 [n, user_width]."""
        _, state, _, length = self._play(ids, user_state)
        ended = self.end_session(state)[:, : self.user_width]
        return tf.where(length[:, None] > 0, ended, user_state)

    def start_session(self, user_state):
        """float32 [n, user_width] -> [n, state_width + 1], what `advance` goes on from at a session's first event."""
        state = self.state_from_user(user_state)
        return tf.pad(state, [[0, 0], [0, 1]])

    def finish_session(self, state):
        """What `advance` returned at a session's last event -> the user state after it, float32 [n, user_width]."""
        ended = self.end_session(state[:, :-1])[:, : self.user_width]
        return tf.where(state[:, -1:] > 0, ended, state[:, : self.user_width])

    def _play(self, ids, user_state):
        (ids,) = wanted_first(ids > 1, ids)
        ids = tf.pad(ids, [[0, 0], [0, 1]])  # at least one step
        batch = of_continuations(tf.where(ids > 1, ids, 0), visits=True)
        hidden, state = self.encode_from(batch, self.state_from_user(user_state))
        return hidden, state, ids, tf.math.count_nonzero(ids > 1, axis=1, dtype=tf.int32)

    def _best(self, hidden, ids, length, known, k, exclude_seen, allowed, exclude, only):
        """The answer after `length` steps of each row; popular items where it is not `known` what goes on."""
        last = tf.gather(hidden, tf.maximum(length - 1, 0), batch_dims=1)
        return self.find(last, known & (length > 0), k, left_out(ids, exclude_seen, exclude), allowed, only)

    def recommend_with_sessions(
        self, people, k: int = 20, *, exclude_seen: bool = False, candidates=None
    ) -> Recommendations:
        """The k best next items of each person, of whom earlier sessions are known.

        Args:
            people: for each person a list of sessions, oldest first, the last one going on; a session is a list of item
                ids, oldest first. Who has no session, or an empty one going on, gets the most popular items.
            k, candidates: as in `recommend`.
            exclude_seen: leave out the items of all these sessions.

        Raises:
            InputError: as in `recommend`.
        """
        self.check_k(k)
        ids, sessions = [], []
        for person in text_lists(people, "people", depth=3):
            # a session that has just started holds no event: an unknown one is passed over just the same
            encoded = [self.items.encode(session) if len(session) else np.ones(1, np.int32) for session in person]
            ids.append(np.concatenate([*encoded, np.zeros(0, np.int32)]))
            sessions.append(np.repeat(np.arange(len(encoded)), list(map(len, encoded))))
        return self.recommend_ids(self.answer_sessions, [ids, sessions], k, exclude_seen, candidates)
