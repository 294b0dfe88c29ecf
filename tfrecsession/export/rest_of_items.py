"""An estimate of the softmax's sum over the items that an index does not score."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfrecsession.layers.items.repeat_head import HIDDEN

MOST = 4096  # items that stand for all


class RestOfItems:
    """Estimates the log of the sum of exp(score) over all items but those that were scored.

    A fixed uniform sample of the catalogue is scored at every request. Those of its items that were not scored stand
    for all that were not: the estimate of the sum is unbiased, and exact where the sample is the whole catalogue.

    Args:
        model: a Recommender that is searched by dot products.
        most: size of the sample.
    """

    def __init__(self, model, most: int = MOST):
        self.model, self.count = model, model.size - 2
        ids = np.arange(2, model.size)
        if self.count > most:
            ids = np.sort(np.random.default_rng(0).choice(ids, most, replace=False))
        self.ids = tf.Variable(ids, trainable=False, dtype=tf.int32)

    def __call__(self, queries, scored):
        """Returns the estimate: float32 [n, width], int32 [n, m], ids below 2 are no items -> float32 [n]."""
        sample = tf.convert_to_tensor(self.ids)
        scores = tf.matmul(queries, self.model.score_vectors(sample), transpose_b=True)  # (n, sample)
        place = tf.searchsorted(sample, tf.reshape(scored, [-1]))
        place = tf.reshape(tf.minimum(place, tf.size(sample) - 1), tf.shape(scored))  # (n, m)
        is_sampled = tf.gather(sample, place) == scored  # (n, m)
        cells = tf.stack([tf.where(is_sampled)[:, 0], tf.cast(tf.boolean_mask(place, is_sampled), tf.int64)], axis=1)
        scores = tf.tensor_scatter_nd_update(scores, cells, tf.fill([tf.shape(cells)[0]], HIDDEN))

        def number_of(mask):
            return tf.cast(tf.math.count_nonzero(mask, axis=1), tf.float32)

        rest = float(self.count) - number_of(scored > 1)  # (n,)
        standing = tf.cast(tf.size(sample), tf.float32) - number_of(is_sampled)  # (n,)
        each = tf.math.log(tf.maximum(tf.math.divide_no_nan(rest, standing), 1e-30))
        return tf.where((rest > 0) & (standing > 0), tf.reduce_logsumexp(scores, axis=1) + each, HIDDEN)
