"""Vectors against their targets and one draw of negatives: what every model with sampled training does."""

from typing import NamedTuple

import tensorflow as tf

from tfrecsession.losses.ranking_loss import Hits


def sampled_losses(loss, hidden, targets, drawn, items, negatives, score_dtype=None, hidden_cells=None):
    """The loss of every vector, its target compared with negatives that all of them share.

    Args:
        loss: a `RankingLoss`; its `logq` says how much of the logQ correction is taken from the scores.
        hidden: [n, dim].
        targets: int32 [n], 0 where there is none: what comes out there means nothing.
        drawn: int32 [count], `negatives.draw(targets)`.
        items: the `ItemEmbedding` that scores, or `Evaluated`.
        negatives: the sampler, one of `tfrecsession.negatives`.
        score_dtype: of the scores of the negatives, see `ItemEmbedding.score`.
        hidden_cells: int32 [cells, 2], (place among the vectors, place in the draw) that do not count besides; None.

    Returns:
        float32 [n].
    """
    positive, shift = tf.cast(items.score_each(hidden, targets), tf.float32), None
    if loss.logq:
        of_targets, of_drawn = negatives.log_q(targets, drawn)
        positive -= loss.logq * of_targets
        shift = -loss.logq * of_drawn
    negative = tf.cast(items.score(hidden, drawn, shift, score_dtype), tf.float32)
    hits = negatives.hits(targets, drawn)
    keep = negatives.keep(targets, drawn) if hits is None else Hits(hits)
    if hidden_cells is not None:
        keep = _hide_besides(keep, hidden_cells, tf.shape(negative))
    return tf.cast(loss.compare(positive, negative, keep), tf.float32)


def _hide_besides(keep, cells, shape):
    if keep is None:
        return Hits(cells)
    if isinstance(keep, Hits):
        return Hits(tf.concat([keep.cells, cells], axis=0))
    return tf.tensor_scatter_nd_update(tf.broadcast_to(keep, shape), cells, tf.fill([tf.shape(cells)[0]], False))


class Evaluated(NamedTuple):
    """What `sampled_losses` asks of an `ItemEmbedding`, for items whose vectors a network has made already."""

    of_targets: tf.Tensor  # float32 [n, dim]
    of_drawn: tf.Tensor  # float32 [count, dim]

    def score_each(self, hidden, ids):
        return tf.reduce_sum(hidden * self.of_targets, axis=1)

    def score(self, hidden, ids, shift=None, dtype=None):
        dtype = dtype or hidden.dtype
        scores = tf.matmul(tf.cast(hidden, dtype), tf.cast(self.of_drawn, dtype), transpose_b=True)
        return scores if shift is None else scores + tf.cast(shift, dtype)
