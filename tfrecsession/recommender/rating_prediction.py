"""Rating prediction for models trained on explicit ratings."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfrecsession.errors import InputError


class PredictsRatings:
    """Predicts the rating that a user would give an item.

    Mixed in before `KnownUsers`, whose vectors must end with the user's bias. The class has `output_items`, `mean`
    (the mean rating), `scale` and `rating` (the column of ratings; None: it was trained without).
    """

    def predict_ratings(self, users, items, scale: tuple[float, float] | None = None) -> np.ndarray:
        """Returns mu + b_u + b_i + p_u . q_i of each pair of a user and an item, float32 [n].

        Users and items that training has not seen add nothing: an unknown user's rating is mu + b_i, an unknown item's
        mu + b_u, and mu where both are unknown.

        Args:
            users, items: ids as they stand in the log, n of each.
            scale: (lowest, highest) rating, to which predictions are clipped; None: the model's `scale`, if it has one.

        Raises:
            InputError: the model learned no ratings, is not trained, or there are not as many users as items.
        """
        name = type(self).__name__
        if self.rating is None:
            raise InputError(f"rating=None: must be the column of ratings; this {name} learned no ratings")
        if not len(self.users):
            raise InputError(f"this {name} knows no users yet: call fit(data.train) with a log that has users")
        rows, ids = self._rows(users), self.items.encode(items)
        if len(rows) != len(ids):
            raise InputError(
                f"users, items: must be pairs, but there are {len(rows):,} of one and {len(ids):,} of the other"
            )
        # a user without a pair in training has a row too, but nothing was learned in it
        is_known = (rows >= 0) & (np.diff(self._known_users.seen_offsets.numpy())[rows] > 0)
        is_rated = (np.bincount(self._known_users.seen.numpy(), minlength=self.size) > 0)[ids]
        user = tf.gather(self.user_vectors, np.maximum(rows, 0)).numpy() * is_known[:, None]  # (n, dim + 1)
        vectors, biases = np.split(self.output_items.vectors(ids).numpy(), [-1], axis=1)  # (n, dim), (n, 1)
        product = np.einsum("nd,nd->n", user[:, :-1], vectors)
        ratings = float(self.mean.value) + user[:, -1] + is_rated * (biases[:, 0] + product)
        scale = self.scale if scale is None else scale
        return ratings if scale is None else np.clip(ratings, *scale)
