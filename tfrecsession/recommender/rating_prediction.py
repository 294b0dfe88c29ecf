"""What a model that learned ratings can be asked: what somebody would give something."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfrecsession.errors import InputError


class PredictsRatings:
    """Mixed in before `KnownUsers`, whose vectors then end with the person's bias; the model has `output_items`, `mean`
    (the mean rating), `scale` and `rating` (the column of ratings, None where it learned none)."""

    def predict_ratings(self, users, items, scale: tuple[float, float] | None = None) -> np.ndarray:
        """mu + b_u + b_i + p_u . q_i, float32 [n], of people and items beside each other.

        Who or what training did not see adds nothing: an unknown person's rating is mu + b_i, an unknown item's
        mu + b_u, and mu where both are.

        Args:
            users, items: names as they stand in the log, n of each.
            scale: (lowest, highest) rating, to which predictions are clipped; None: the model's `scale`, if it has one.

        Raises:
            InputError: the model learned no ratings, is not trained, or there are not as many users as items.
        """
        if self.rating is None:
            raise InputError(f"this {type(self).__name__} learned no ratings: say rating='COLUMN' when you make it")
        if not len(self.users):
            raise InputError(f"this {type(self).__name__} knows nobody yet: say fit(data.train), of a log with users")
        rows, ids = self._rows(users), self.items.encode(items)
        if len(rows) != len(ids):
            raise InputError(f"users, items: {len(rows):,} of one and {len(ids):,} of the other; they stand in pairs")
        # whoever has no pair in training has a row all the same, but nothing was learned in it
        known = (rows >= 0) & (np.diff(self._people.seen_offsets.numpy())[rows] > 0)
        there = (np.bincount(self._people.seen.numpy(), minlength=self.size) > 0)[ids]
        person = tf.gather(self.user_vectors, np.maximum(rows, 0)).numpy() * known[:, None]
        vectors, biases = np.split(self.output_items.vectors(ids).numpy(), [-1], axis=1)  # (n, dim), (n, 1)
        product = np.einsum("nd,nd->n", person[:, :-1], vectors)
        rated = float(self.mean.value) + person[:, -1] + there * (biases[:, 0] + product)
        scale = self.scale if scale is None else scale
        return rated if scale is None else np.clip(rated, *scale)
