"""Recommendations by user id, for models with one vector per user."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from tfrecsession.batches import Interactions
from tfrecsession.errors import InputError
from tfrecsession.events.id_texts import texts
from tfrecsession.layers.ragged import spread
from tfrecsession.recommender.fitted import warn_unfitted
from tfrecsession.recommender.recommend import BLOCK_BYTES, Recommendations, padded_rows
from tfrecsession.recommender.top_items import pairs

STORED = {"user_vectors": np.float32, "seen_offsets": np.int64, "seen": np.int32}  # keys of saved files


class KnownUsers:
    """Holds the users of a log that have an id: their vectors and the items they interacted with.

    Mixed in before `Recommender`. The class calls `no_users(dim)` in its constructor and `hold_users` at the end of
    `fit`; its `score_all` takes user vectors of width dim. The number of users follows from the data, so the vectors
    are plain variables, not Keras weights.

    Attributes:
        users: object array of str.
        user_vectors: a variable, float32 [users, dim].
    """

    longest_history = 10_000  # a user's items are a set: long, and cheap to read

    def hold_users(self, interactions: Interactions, vectors: np.ndarray, others=(), other_vectors=None) -> None:
        """Keeps the users that have an id, and `others`, who have no events.

        Args:
            interactions, vectors: the users of training; float32 [users, dim], one per row.
            others, other_vectors: ids and float32 [others, dim]; none by default.
        """
        rows = np.flatnonzero(interactions.named)
        counts = np.diff(interactions.offsets)[rows]
        seen = interactions.values[np.repeat(interactions.named, np.diff(interactions.offsets))]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        users, vectors = interactions.users[rows], vectors[rows]
        if len(others):
            users, vectors = np.concatenate([users, others]), np.concatenate([vectors, other_vectors])
            offsets = np.pad(offsets, (0, len(others)), "edge")
        self._set_users(users, {"user_vectors": vectors, "seen_offsets": offsets, "seen": seen})

    def no_users(self, dim: int) -> None:
        """Creates the variables, for zero users; the constructor must call it."""
        self._set_users(
            np.empty(0, object), {"user_vectors": np.zeros((0, dim)), "seen_offsets": np.zeros(1), "seen": np.zeros(0)}
        )

    def _set_users(self, users: np.ndarray, arrays: dict) -> None:
        arrays = {name: np.asarray(arrays[name]).astype(dtype) for name, dtype in STORED.items()}
        row_of = {name: row for row, name in enumerate(users.tolist())}
        if not hasattr(self, "_known_users"):  # a namespace: Keras would wrap a dict and track its variables

            def any_length(array):
                return tf.Variable(array, trainable=False, shape=tf.TensorShape([None, *array.shape[1:]]))

            self._known_users = SimpleNamespace(**{name: any_length(array) for name, array in arrays.items()})
        for name, array in arrays.items():  # assigned, not replaced: traced graphs hold on to the variables
            getattr(self._known_users, name).assign(array)
        self._known_users.users, self._known_users.row_of = users, row_of

    @property
    def abilities(self) -> tuple[str, ...]:
        return (*super().abilities, *(("users",) if len(self.users) else ()))

    @property
    def users(self) -> np.ndarray:
        return self._known_users.users

    @property
    def user_vectors(self) -> tf.Variable:
        return self._known_users.user_vectors

    def answer_users(self, rows, k: int, exclude_seen: bool = False, exclude=None, only=None):
        """Returns ids and scores of the k best items of each user; unknown users get popular items.

        Args:
            rows: int64 [n], rows of `users`, -1: unknown.
            k, exclude, only: as in `answer`.
            exclude_seen: leave out the user's items of training.
        """
        known = rows >= 0
        rows = tf.where(known, rows, 0)
        ends = tf.cast(tf.pad(self._known_users.seen_offsets, [[0, 1]]), tf.int32)  # a row to read with zero users
        first = tf.gather(ends, rows)
        counts = tf.where(known, tf.gather(ends, rows + 1) - first, 0)
        vectors = tf.pad(self.user_vectors, [[0, 1], [0, 0]])  # (users + 1, dim)
        out = [] if exclude is None else [pairs(exclude)]
        if exclude_seen:
            events, owner = spread(first, counts)  # (pairs,) each
            out.append(tf.stack([owner, tf.gather(self._known_users.seen, events)], axis=1))
        out = tf.concat(out, axis=0) if out else None  # (pairs, 2)
        return self.find(tf.gather(vectors, rows), self.has_answer(known, counts), k, out, only=only)

    def has_answer(self, known, counts):
        """Returns which users are answered by their vector, and not with popular items: those with events.

        Args:
            known: bool [n].
            counts: int32 [n], their events in training.
        """
        return counts > 0

    def recommend_users(
        self, users, k: int = 20, *, exclude_seen: bool = False, exclude=None, only=None
    ) -> Recommendations:
        """Returns the k best items of each user, by the user's trained vector; unknown users get the popular items.

        Args:
            users: ids as they stand in the log, in any form in which `recommend` takes ids.
            k: how many items, at most the catalogue's.
            exclude_seen: leave out the user's items of training.
            exclude, only: as in `recommend`, a list for each user.

        Raises:
            InputError: `users` is a bare string, k is not in 1..catalogue, or `exclude` or `only` is not a list for
                each user.
        """
        self.check_k(k)
        warn_unfitted(self)
        rows = self._rows(users)
        filters = {
            name: padded_rows(self.filter_of(name, lists, len(rows), "users"))
            for name, lists in (("exclude", exclude), ("only", only))
            if lists is not None
        }
        block_rows = max(1, BLOCK_BYTES // (4 * self.size))
        found = []
        for first in range(0, len(rows), block_rows):
            block = slice(first, first + block_rows)
            lists = {name: tf.constant(array[block]) for name, array in filters.items()}
            answered = self.answer_users(tf.constant(rows[block]), k, exclude_seen, **lists)
            found.append([part.numpy() for part in answered])
        ids = np.concatenate([np.zeros((0, k), np.int32), *(part[0] for part in found)])
        scores = np.concatenate([np.zeros((0, k), np.float32), *(part[1] for part in found)])
        return Recommendations(self.items.decode(ids), scores)

    def similar_users(self, users, k: int = 20) -> Recommendations:
        """Returns the k users nearest to each of `users` by the cosine of their vectors; `items` holds their ids.

        Raises:
            InputError: a user is unknown, or k is not below the number of users.
        """
        if not isinstance(k, int | np.integer) or not 1 <= k < len(self.users):
            raise InputError(
                f"k={k!r}: must be a whole number from 1 to {len(self.users) - 1:,}, the number of other users"
            )
        users = texts(users, "users")
        rows = self._rows(users)
        for name, row in zip(users, rows, strict=True):
            if row < 0:
                raise InputError(f"user {name!r} is not among the {len(self.users):,} users of training")
        vectors = tf.math.l2_normalize(self.compared_users(), axis=1)
        scores = tf.matmul(tf.gather(vectors, rows), vectors, transpose_b=True)  # (n, users)
        is_self = tf.range(len(self.users), dtype=tf.int64)[None] == rows[:, None]  # (n, users)
        best = tf.math.top_k(tf.where(is_self, -2.0, scores), k)  # a cosine is never below -1
        return Recommendations(self.users[best.indices.numpy()], best.values.numpy())

    def compared_users(self):
        """Returns the vectors whose cosine is the similarity of users: float32 [users, any]."""
        return self.user_vectors

    def _rows(self, users) -> np.ndarray:
        return np.fromiter((self._known_users.row_of.get(name, -1) for name in texts(users, "users")), np.int64)

    # Keras' contracts ------------------------------------------------------------------------------------------------

    def save_own_variables(self, store):
        super().save_own_variables(store)
        for name in STORED:
            store[name] = getattr(self._known_users, name).numpy()

    def load_own_variables(self, store):
        self._set_users(self.users, {name: np.asarray(store[name]) for name in STORED})
        keras_own = {key: store[key] for key in list(store.keys()) if key.isdecimal()}
        super().load_own_variables(keras_own)

    def save_assets(self, folder):
        super().save_assets(folder)
        pq.write_table(pa.table({"user": pa.array(self.users, pa.string())}), Path(folder) / "users.parquet")

    def load_assets(self, folder):
        super().load_assets(folder)
        users = np.array(pq.read_table(Path(folder) / "users.parquet")["user"].to_pylist(), dtype=object)
        self._set_users(users, {name: getattr(self._known_users, name).numpy() for name in STORED})
