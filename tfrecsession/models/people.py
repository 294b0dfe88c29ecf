"""Answers for the people a model was trained on, beside those for a history: by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf

from tfrecsession.batches.interactions import Interactions
from tfrecsession.errors import InputError
from tfrecsession.models.answers import BLOCK_BYTES, Recommendations

FILE = "people.parquet"


class KnownPeople:
    """The part of a `Recommender` that knows people. It says `user_vectors`, and `score_users` where these are not
    what `score_all` takes; `people`, the training interactions, are kept in the saved file."""

    people: Interactions | None = None

    def user_vectors(self):
        """float32 [users, dim]."""
        raise NotImplementedError

    def score_users(self, rows):
        """Rows of `people`, int [n] -> float32 [n, size]."""
        return self.score_all(tf.gather(self.user_vectors(), rows))

    def recommend_users(self, users, k: int = 20, *, exclude_seen: bool = True) -> Recommendations:
        """The k best items of people known from training; anybody else gets the most popular items.

        Args:
            users: names as they stand in the log.
            k: how many items, at most the catalogue's.
            exclude_seen: leave out what the person had in training.

        Raises:
            InputError: k is not in 1..catalogue, `users` is a bare string, or the model is not trained.
        """
        self.check_k(k)
        rows = self._rows(users)
        items, scores = np.zeros((len(rows), k), np.int32), np.zeros((len(rows), k), np.float32)
        block = max(1, BLOCK_BYTES // (4 * self.size))
        for first in range(0, len(rows), block):
            some = rows[first : first + block]
            known = some >= 0
            values = np.tile(self.score_without_history(), (len(some), 1))
            if known.any():
                values[known] = self.score_users(tf.constant(some[known]))
            values[:, :2] = -np.inf
            if exclude_seen:
                for row, user in zip(values, some, strict=True):
                    row[self._seen(user)] = -np.inf
            best = tf.math.top_k(values, k)
            items[first : first + block] = np.where(np.isfinite(best.values), best.indices, 0)
            scores[first : first + block] = np.where(np.isfinite(best.values), best.values, tf.float32.min)
        return Recommendations(self.items.decode(items), scores)

    def similar_users(self, users, k: int = 20) -> Recommendations:
        """The k people nearest to each of `users` by cosine, themselves left out; `items` of the answer are names.

        Raises:
            InputError: somebody is unknown, or there are not so many people.
        """
        rows = self._rows(users)
        if not isinstance(k, int | np.integer) or not 1 <= k < len(self.people):
            raise InputError(f"k={k!r}: say a whole number from 1 to the other people, {len(self.people) - 1:,}")
        for user, row in zip(users, rows, strict=True):
            if row < 0:
                raise InputError(f"user {user!r} was not in the training data")
        vectors = tf.math.l2_normalize(tf.cast(self.user_vectors(), tf.float32), axis=1)
        scores = tf.matmul(tf.gather(vectors, rows), vectors, transpose_b=True)
        other = tf.range(len(self.people), dtype=tf.int64)[None] != rows[:, None]
        best = tf.math.top_k(tf.where(other, scores, -2.0), k)  # a cosine is never below -1
        return Recommendations(self.people.users[best.indices.numpy()], best.values.numpy())

    def _rows(self, users) -> np.ndarray:
        if self.people is None:
            raise InputError(f"this {type(self).__name__} knows nobody yet: say fit(data.train) first")
        if isinstance(users, str | bytes):
            raise InputError("users is a list of names: say recommend_users(['user-1']) for one person")
        return self.people.encode(users)

    def _seen(self, row: int) -> np.ndarray:
        offsets = self.people.offsets
        return self.people.values[offsets[row] : offsets[row + 1]] if row >= 0 else np.zeros(0, np.int32)

    def save_assets(self, folder):
        super().save_assets(folder)
        if self.people is not None:
            people = self.people
            lists = (
                pa.ListArray.from_arrays(people.offsets.astype(np.int32), pa.array(a))
                for a in (people.values, people.weights)
            )
            names = {"user": pa.array(people.users, pa.string()), "named": pa.array(people.named)}
            pq.write_table(pa.table(names | dict(zip(("items", "weights"), lists, strict=True))), Path(folder) / FILE)

    def load_assets(self, folder):
        super().load_assets(folder)
        if (Path(folder) / FILE).exists():
            table = pq.read_table(Path(folder) / FILE).combine_chunks()
            users, named, values, weights = (
                table[name].combine_chunks() for name in ("user", "named", "items", "weights")
            )
            self.people = Interactions(
                items=self.items,
                users=np.array(users.to_pylist(), object),
                named=named.to_numpy(zero_copy_only=False),
                offsets=values.offsets.to_numpy().astype(np.int64),
                values=values.flatten().to_numpy(),
                weights=weights.flatten().to_numpy(),
            )
