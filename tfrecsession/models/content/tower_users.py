"""The users of two towers: their features, and the vectors of all of them when training ends."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.batches.interactions import Interactions
from tfrecsession.errors import InputError
from tfrecsession.models.content.history_means import user_means
from tfrecsession.recommender.known_users import KnownUsers
from tfrecsession.recommender.reads_user_content import ReadsUserContent

UNKNOWN = 1  # the code of a user without features


class TowerUsers(ReadsUserContent, KnownUsers):
    """Users known by a vector each, by their features, or both. Mixed into `TwoTower`, which has the towers."""

    def take_features(self, interactions: Interactions) -> None:
        """Finds the features of the users of training.

        Raises:
            InputError: the data set has other users than the one that the model was created from.
        """
        if self.user_features is None:
            return
        users = interactions.items.users
        if users is None or users.size != self.user_features.size:
            raise InputError(
                f"x: must be sessions of a data set with the {self.user_features.size - 2:,} users of user_content="
            )
        self._users = users
        codes = np.where(interactions.named, users.encode(interactions.users), UNKNOWN).astype(np.int32)
        self._feature_codes = tf.Variable(codes, trainable=False)

    def dropped(self, users):
        """Returns for which pairs of a batch a part is hidden, bool [rows]."""
        return keras.random.uniform((tf.size(users),), seed=self.seed_generator) < self.user_dropout

    def shown_past(self, past, users):
        """Hides some histories, int [rows, window], where features are read: else these would learn nothing beside."""
        return past if self.user_features is None else tf.where(self.dropped(users)[:, None], 0, past)

    def with_features(self, vectors, users, is_shown=None):
        """Adds the features of users of training to their vectors: [n, dim], int [n], bool [n] -> [n, dim]."""
        if self.user_features is None:
            return vectors
        codes = tf.gather(self._feature_codes, users)  # [n]
        codes = codes if is_shown is None else tf.where(is_shown, codes, UNKNOWN)
        return vectors + self.user_content_layer(codes)

    def nobody_with(self, codes=(UNKNOWN,)):
        """Returns the vectors of users without an id of their own: int [n], the codes of their features -> [n, dim]."""
        return self.nobody if self.user_features is None else self.nobody + self.user_content_layer(tf.constant(codes))

    def settle_users(self, interactions: Interactions, table: np.ndarray, block: int) -> None:
        """Runs the user tower for all named users, and for those who have features alone, and stores their vectors."""
        vectors = np.zeros((len(interactions), self.dim), np.float32)
        for users, means in user_means(interactions, table, block):
            p = self.with_features(self.user_table(users), users)  # [block, dim]
            vectors[users] = self.user_tower(tf.constant(means, tf.float32), p)  # [block, dim]
        if self.user_features is None:
            self.hold_users(interactions, vectors)
            return
        known = set(interactions.users[interactions.named].tolist())
        names = np.array([user for user in self._users.ids.tolist() if user not in known], object)
        codes, new = self._users.encode(names), np.zeros((len(names), self.dim), np.float32)
        for first in range(0, len(names), block):
            p = self.nobody_with(codes[first : first + block])  # [block, dim]
            new[first : first + block] = self.user_tower(tf.zeros_like(p), p)
        self.hold_users(interactions, vectors, names, new)

    def has_answer(self, known, counts):
        return known if self.user_features is not None else super().has_answer(known, counts)
