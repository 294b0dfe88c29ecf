"""Scores of chosen items after histories."""

from __future__ import annotations

import tensorflow as tf


class Explaining:
    """Scores of chosen items after histories. Mixed into `Recommender` beside `Recommending`."""

    def scores_after(self, ids, items=None, given=None):
        """Returns the scores after each history, as `answer` compares them.

        Args:
            ids, given: as in `answer`.
            items: int32 [histories, m], the items to score; None: the whole catalogue.

        Returns:
            float32 [histories, m], or [histories, size], whose columns 0 and 1 are ignored.
        """
        encoded, _, length = self._encode_histories(ids, given)
        if items is None:
            return self.or_popular(self.score_all(encoded), length > 0)
        if not self.scores_by_products:
            return tf.gather(self.or_popular(self.score_all(encoded), length > 0), items, batch_dims=1)
        vectors = tf.reshape(self.score_vectors(tf.reshape(items, [-1])), [*tf.unstack(tf.shape(items)), -1])
        scores = tf.einsum("nd,nmd->nm", self.queries(encoded), vectors)
        return self._candidates_or_popular(items, scores, length > 0)
