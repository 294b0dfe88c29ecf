"""What a model with a vector for every person can be asked beside what any model can."""

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
from tfrecsession.recommender.recommend import BLOCK_BYTES, Recommendations
from tfrecsession.recommender.top_items import pairs

HELD = {"user_vectors": np.float32, "seen_offsets": np.int64, "seen": np.int32}


class KnownUsers:
    """Holds the people that a log names: their vectors, of the width that `score_all` takes, and what they had.

    Mixed in before `Recommender`. The data decides how many there are, which Keras wants to know before; so these are
    plain variables.

    Attributes:
        users: object array of str.
        user_vectors: a variable, float32 [users, dim].
    """

    longest_history = 10_000  # what a person has is a set, long and cheap to read

    def hold_users(self, interactions: Interactions, vectors: np.ndarray) -> None:
        """Keep the people with a name of their own; `vectors`: float32 [people, dim], a row per row of these."""
        rows = np.flatnonzero(interactions.named)
        counts = np.diff(interactions.offsets)[rows]
        seen = interactions.values[np.repeat(interactions.named, np.diff(interactions.offsets))]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        self._take_users(
            interactions.users[rows], {"user_vectors": vectors[rows], "seen_offsets": offsets, "seen": seen}
        )

    def no_users(self, dim: int) -> None:
        """To be called by the constructor."""
        self._take_users(
            np.empty(0, object), {"user_vectors": np.zeros((0, dim)), "seen_offsets": np.zeros(1), "seen": np.zeros(0)}
        )

    def _take_users(self, users: np.ndarray, arrays: dict) -> None:
        arrays = {name: np.asarray(arrays[name]).astype(dtype) for name, dtype in HELD.items()}
        row_of = {name: row for row, name in enumerate(users.tolist())}
        if not hasattr(self, "_people"):  # a plain namespace: Keras would wrap the dict and track the variables

            def any_length(array):
                return tf.Variable(array, trainable=False, shape=tf.TensorShape([None, *array.shape[1:]]))

            self._people = SimpleNamespace(**{name: any_length(array) for name, array in arrays.items()})
        for name, array in arrays.items():  # assigned: graphs that were traced hold on to the variables
            getattr(self._people, name).assign(array)
        self._people.users, self._people.row_of = users, row_of

    @property
    def abilities(self) -> tuple[str, ...]:
        return (*super().abilities, *(("users",) if len(self.users) else ()))

    @property
    def users(self) -> np.ndarray:
        return self._people.users

    @property
    def user_vectors(self) -> tf.Variable:
        return self._people.user_vectors

    def answer_users(self, rows, k: int, exclude_seen: bool = False, exclude=None, only=None):
        """People -> ids and scores of the k best items; popular ones for whom nothing is known.

        Args:
            rows: int64 [n], places in `users`, -1: unknown.
            k, exclude, only: as in `answer`.
            exclude_seen: leave out what the person had in training.
        """
        known = rows >= 0
        rows = tf.where(known, rows, 0)
        ends = tf.cast(tf.pad(self._people.seen_offsets, [[0, 1]]), tf.int32)  # a row to look at where there is nobody
        first = tf.gather(ends, rows)
        counts = tf.where(known, tf.gather(ends, rows + 1) - first, 0)
        vectors = tf.pad(self.user_vectors, [[0, 1], [0, 0]])
        out = [] if exclude is None else [pairs(exclude)]
        if exclude_seen:
            at, who = spread(first, counts)
            out.append(tf.stack([who, tf.gather(self._people.seen, at)], axis=1))
        out = tf.concat(out, axis=0) if out else None
        return self.find(tf.gather(vectors, rows), counts > 0, k, out, only=only)

    def recommend_users(self, users, k: int = 20, *, exclude_seen: bool = False) -> Recommendations:
        """The k best items of each person, by the vector that training gave; whoever it did not know gets the popular
        items.

        Args:
            users: names as they stand in the log, in any form in which `recommend` takes ids.
            k: how many items, at most the catalogue's.
            exclude_seen: leave out what the person had in training.

        Raises:
            InputError: `users` is a bare string, or k is not in 1..catalogue.
        """
        self.check_k(k)
        rows = self._rows(users)
        some = max(1, BLOCK_BYTES // (4 * self.size))
        found = [
            [part.numpy() for part in self.answer_users(tf.constant(rows[first : first + some]), k, exclude_seen)]
            for first in range(0, len(rows), some)
        ]
        ids = np.concatenate([np.zeros((0, k), np.int32), *(part[0] for part in found)])
        scores = np.concatenate([np.zeros((0, k), np.float32), *(part[1] for part in found)])
        return Recommendations(self.items.decode(ids), scores)

    def similar_users(self, users, k: int = 20) -> Recommendations:
        """The k people nearest to each of `users` by the cosine of their vectors; `items` holds their names.

        Raises:
            InputError: a person whom training did not know, or k is not below the number of people.
        """
        if not isinstance(k, int | np.integer) or not 1 <= k < len(self.users):
            raise InputError(f"k={k!r}: say a whole number from 1 to {len(self.users) - 1:,}, the people beside one")
        users = texts(users, "users")
        rows = self._rows(users)
        for name, row in zip(users, rows, strict=True):
            if row < 0:
                raise InputError(f"user {name!r} is not among the {len(self.users):,} people that training knew")
        vectors = tf.math.l2_normalize(self.compared_users(), axis=1)
        scores = tf.matmul(tf.gather(vectors, rows), vectors, transpose_b=True)
        oneself = tf.range(len(self.users), dtype=tf.int64)[None] == rows[:, None]
        best = tf.math.top_k(tf.where(oneself, -2.0, scores), k)  # a cosine is never below -1
        return Recommendations(self.users[best.indices.numpy()], best.values.numpy())

    def compared_users(self):
        """The vectors whose cosine says how alike people are: float32 [users, any]."""
        return self.user_vectors

    def _rows(self, users) -> np.ndarray:
        return np.fromiter((self._people.row_of.get(name, -1) for name in texts(users, "users")), np.int64)

    # Keras' contracts ------------------------------------------------------------------------------------------------

    def save_own_variables(self, store):
        super().save_own_variables(store)
        for name in HELD:
            store[name] = getattr(self._people, name).numpy()

    def load_own_variables(self, store):
        self._take_users(self.users, {name: np.asarray(store[name]) for name in HELD})
        keras_own = {key: store[key] for key in list(store.keys()) if key.isdecimal()}
        super().load_own_variables(keras_own)

    def save_assets(self, folder):
        super().save_assets(folder)
        pq.write_table(pa.table({"user": pa.array(self.users, pa.string())}), Path(folder) / "users.parquet")

    def load_assets(self, folder):
        super().load_assets(folder)
        users = np.array(pq.read_table(Path(folder) / "users.parquet")["user"].to_pylist(), dtype=object)
        self._take_users(users, {name: getattr(self._people, name).numpy() for name in HELD})
