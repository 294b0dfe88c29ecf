"""The base of the ranking losses: a positive score against negative ones, with a mask."""

from typing import NamedTuple

import keras
import tensorflow as tf
from keras import ops

from tfrecsession.errors import InputError

# Stands in for the score of a masked column: far below any real score, and its square is still finite in float32.
MASKED = -1e15


class Hits(NamedTuple):
    """A list of masked cells: as a dense mask, but without a pass over all scores.

    Attributes:
        cells: int [hits, 2]: position, column.
    """

    cells: tf.Tensor


class RankingLoss(keras.losses.Loss):
    """A loss over `[positive | negatives]` scores.

    As a Keras loss, `loss(y_true, y_pred)`: `y_pred` float [..., 1 + n] holds the scores, the positive in column 0;
    `y_true` [..., 1 + n] is a mask, nonzero where a column counts (it is not a one-hot label: a zero masks the
    column). A negative is masked where it is the target itself, sampled by accident. A masked positive means that there
    is no event: the position contributes 0.

    Models call `compare`, which takes positive and negatives separately and so avoids a concatenation.

    Args:
        logq: strength of the logQ correction: the model first subtracts logq * log Q(item) from every score, Q being
            the probability that the item is sampled as a negative. 0 is none, 1 makes the sampled softmax an unbiased
            estimate of the full one.
        top: how many of the negatives with the highest scores count for a position (TRON, arXiv 2307.14906); None: all.
        reduction, name: as in `keras.losses.Loss`.

    Everything is computed in float32, whatever the dtype of the scores. A new loss is one file: a subclass with
    `compare`, and `get_config` for its own arguments.
    """

    def __init__(self, logq=0.0, top=None, reduction="sum_over_batch_size", name=None):
        super().__init__(name=name, reduction=reduction, dtype="float32")
        if top is not None and (not isinstance(top, int) or isinstance(top, bool) or top < 1):
            raise InputError(f"top={top!r}: must be a whole number of negatives, at least 1, or None")
        self.top = top
        self.logq = logq

    def compare(self, positive, negatives, keep=None):
        """Returns the loss of every position.

        Args:
            positive: scores [...].
            negatives: scores [..., n].
            keep: bool, broadcastable to `negatives`: true where a column counts; or `Hits`, the cells that do not
                count, for negatives [n, m]. None: all count.

        Returns:
            float32 [...]; 0 where no negative counts.
        """
        raise NotImplementedError

    def losses(self, hidden, targets, items, negatives=None, score_dtype=None):
        """Computes the loss of every vector against its target and one draw of negatives, see `sampled_losses`.

        Args:
            hidden: [n, dim].
            targets: int32 [n], 0 is padding; the returned loss is undefined there and must be masked.
            items: the `ItemScores` of the model.
            negatives: the sampler, one of `tfrecsession.negatives`; None: all items, where the loss can.
            score_dtype: of the scores of the negatives, see `ItemScores.score`.

        Returns:
            float32 [n].
        """
        if negatives is None:
            raise InputError(f"negatives=None: {type(self).__name__} compares with a sample, see trs.negatives")
        return sampled_losses(self, hidden, targets, negatives.draw(targets), items, negatives, score_dtype)

    def call(self, y_true, y_pred):
        counts = ops.not_equal(y_true, 0)
        losses = self.compare(y_pred[..., 0], *highest(y_pred[..., 1:], counts[..., 1:], self.top))
        return ops.where(counts[..., 0], losses, 0.0)

    def get_config(self):
        return super().get_config() | {"logq": self.logq, "top": self.top}


def activate(positive, negatives, keep, elu):
    """Returns float32 scores after elu with this alpha (0: unchanged), with `MASKED` where `keep` is False.

    Masks after the activation, so that a masked column stays far below any other.
    """
    positive, negatives = ops.cast(positive, "float32"), ops.cast(negatives, "float32")
    if elu:
        positive, negatives = ops.elu(positive, elu), ops.elu(negatives, elu)
    return positive, hide(negatives, keep)


def highest(negatives, keep, top):
    """Returns the `top` highest of the negatives that count, [..., top], and which of these do; None: all, as given."""
    if top is None or (negatives.shape[-1] is not None and top >= negatives.shape[-1]):
        return negatives, keep
    hidden = hide(negatives, keep)
    best = tf.math.top_k(hidden, tf.minimum(top, tf.shape(hidden)[-1]), sorted=False).values
    return best, None if keep is None else best > MASKED / 2


def mean_of_kept(terms, keep):
    """Returns the mean over the columns that count: [..., n] -> [...], 0 where none does."""
    if keep is None:
        return ops.mean(terms, axis=-1)
    kept = ops.sum(hide(ops.ones_like(terms), keep, 0.0), axis=-1)
    return ops.sum(hide(terms, keep, 0.0), axis=-1) / ops.maximum(kept, 1.0)


def hide(values, keep, instead=MASKED):
    """Returns float32 values [..., n], with `instead` in the columns that do not count."""
    values = ops.cast(values, "float32")
    if isinstance(keep, Hits):
        return tf.tensor_scatter_nd_update(values, keep.cells, tf.fill([tf.shape(keep.cells)[0]], instead))
    return values if keep is None else ops.where(keep, values, instead)


def sampled_losses(loss, hidden, targets, drawn, items, negatives, score_dtype=None, hidden_cells=None):
    """Computes the loss of every vector, its target compared with negatives that all of them share.

    Args:
        loss: a `RankingLoss`; its `logq` says how much of the logQ correction is taken from the scores.
        hidden: [n, dim].
        targets: int32 [n], 0 is padding; the returned loss is undefined there and must be masked.
        drawn: int32 [count], `negatives.draw(targets)`.
        items: the `ItemScores` that scores, or `Evaluated`.
        negatives: the sampler, one of `tfrecsession.negatives`.
        score_dtype: of the scores of the negatives, see `ItemScores.score`.
        hidden_cells: int32 [cells, 2], (index of the vector, index in the draw) that do not count either; None.

    Returns:
        float32 [n].
    """
    positive, shift = tf.cast(items.score_each(hidden, targets), tf.float32), None
    if loss.logq:
        of_targets, of_drawn = negatives.log_q(targets, drawn)
        positive -= loss.logq * of_targets
        shift = -loss.logq * of_drawn
    scores = scores_of_negatives(loss, hidden, targets, drawn, items, negatives, shift, score_dtype, hidden_cells)
    return tf.cast(loss.compare(positive, *scores), tf.float32)


def scores_of_negatives(
    loss, hidden, targets, drawn, items, negatives, shift=None, score_dtype=None, hidden_cells=None
):
    """Returns the scores of the negatives that count, float32 [n, count], and `keep`, see `RankingLoss.compare`.

    Args:
        shift: float32 [count], added to the score of each negative; None: nothing.
        loss, hidden, targets, drawn, items, negatives, score_dtype, hidden_cells: as in `sampled_losses`.
    """
    negative = tf.cast(items.score(hidden, drawn, shift, score_dtype), tf.float32)
    hits = negatives.hits(targets, drawn)
    keep = negatives.keep(targets, drawn) if hits is None else Hits(hits)
    if hidden_cells is not None:
        keep = _hide_besides(keep, hidden_cells, tf.shape(negative))
    return highest(negative, keep, loss.top)


def _hide_besides(keep, cells, shape):
    if keep is None:
        return Hits(cells)
    if isinstance(keep, Hits):
        return Hits(tf.concat([keep.cells, cells], axis=0))
    return tf.tensor_scatter_nd_update(tf.broadcast_to(keep, shape), cells, tf.fill([tf.shape(cells)[0]], False))


class Evaluated(NamedTuple):
    """Scores as `sampled_losses` needs them, of items whose vectors a network has computed already."""

    of_targets: tf.Tensor  # float32 [n, dim]
    of_drawn: tf.Tensor  # float32 [count, dim]

    def score_each(self, hidden, ids):
        return tf.reduce_sum(hidden * self.of_targets, axis=1)

    def score(self, hidden, ids, shift=None, dtype=None):
        dtype = dtype or hidden.dtype
        scores = tf.matmul(tf.cast(hidden, dtype), tf.cast(self.of_drawn, dtype), transpose_b=True)
        return scores if shift is None else scores + tf.cast(shift, dtype)
