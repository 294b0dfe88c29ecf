"""Vectors against their targets and one draw of negatives: what every model with sampled training does."""

import tensorflow as tf

from tfrecsession.losses.ranking_loss import Hits


def sampled_losses(loss, hidden, targets, drawn, items, negatives, score_dtype=None):
    """The loss of every vector, its target compared with negatives that all of them share.

    Args:
        loss: a `RankingLoss`; its `logq` says how much of the logQ correction is taken from the scores.
        hidden: [n, dim].
        targets: int32 [n], 0 where there is none: what comes out there means nothing.
        drawn: int32 [count], `negatives.draw(targets)`.
        items: the `ItemEmbedding` that scores.
        negatives: the sampler, one of `tfrecsession.negatives`.
        score_dtype: of the scores of the negatives, see `ItemEmbedding.score`.

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
    return tf.cast(loss.compare(positive, negative, keep), tf.float32)
