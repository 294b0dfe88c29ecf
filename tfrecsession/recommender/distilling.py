"""Distillation: sequence models that learn the best items of a teacher beside the next event."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.layers.blocks import block_by_block, rows_within
from tfrecsession.losses import CrossEntropy
from tfrecsession.recommender.arguments import check_number, refuse
from tfrecsession.recommender.recommender import Recommender

LISTED = 50  # items of a teacher's list


@dataclass(frozen=True)
class Teaching:
    """A teacher and the share of its part in the loss. Keras does not search a dataclass for layers of the student."""

    teacher: Recommender | None = None
    weight: float = 0.0


class Distilling:
    """Models that may learn from a teacher. Mixed in before `Recommender`.

    Where a step has a target, the teacher lists its best items B for the same history, with probabilities q that sum to
    1 over the list. The student's loss is then

        (1 - weight) loss + weight mean of -sum over i in B of q_i log softmax_B(scores)_i

    The second part needs the scores of the list alone, so negatives stay sampled (Tang and Wang, arXiv 1809.07428, and
    Hinton et al., arXiv 1503.02531). The teacher answers while the student trains: it scores the catalogue once for
    every event of every epoch, reads no more of a session than a row holds, and is not a part of the student.
    """

    can_be_taught = True
    _teaching = Teaching()

    @contextlib.contextmanager
    def taught_by(self, teacher, weight: float) -> Iterator[None]:
        """Learns from a teacher within the block; None: from the log alone."""
        if teacher is None:
            yield
            return
        check_number("teacher_weight", weight, 0, 1)
        self._teaching, self.train_function = Teaching(self._checked_teacher(teacher), float(weight)), None
        try:
            yield
        finally:
            self._teaching, self.train_function = Teaching(), None

    def _checked_teacher(self, teacher):
        """Returns a teacher that can answer the batches of this student; InputError says why another one cannot."""
        if not isinstance(teacher, Recommender):
            refuse("teacher", teacher, "a fitted model of trs.models, such as a Blend")
        label = f"teacher: this {type(teacher).__name__}"
        if not self.can_be_taught or self.trend_head is not None:
            with_trend = " with trend" if self.can_be_taught else ""
            raise InputError(f"teacher: must be left out, {type(self).__name__}{with_trend} learns from the log alone")
        if not teacher.items.holds(self.items) or not self.items.holds(teacher.items):
            raise InputError(
                f"{label} is of other data: its vocabulary is {teacher.items.fingerprint}, that of the student "
                f"{self.items.fingerprint}; fit both on one data set"
            )
        if teacher.reads.users is not None or teacher.reads.one_target or teacher.context is not None:
            raise InputError(f"{label} reads more than the items of a session up to an event: choose another one")
        return teacher

    def distilled(self, loss, batch, encoded, targets, weight=None):
        """Returns the loss of a step with the teacher's part: [] -> []; without a teacher the loss itself.

        Args:
            loss: [], that of the targets.
            batch: packed rows. encoded: [rows, steps, any], what the student has encoded.
            targets: int32 [rows, steps], 0 where there is none.
            weight: float [rows, steps], how often an event counts; None: every event counts once.
        """
        teacher, share = self._teaching.teacher, self._teaching.weight
        if teacher is None:
            return loss
        cells = tf.cast(tf.where(targets > 1), tf.int32)  # (n, 2)
        items, probabilities = lists_of(teacher, batch, cells)  # (n, LISTED) each
        scores = self.scores_of_lists(tf.gather_nd(encoded, cells), tf.gather_nd(targets, cells), items)
        each = listwise(scores, probabilities)  # (n,)
        counts = tf.ones_like(each) if weight is None else tf.gather_nd(tf.cast(weight, tf.float32), cells)
        part = tf.math.divide_no_nan(tf.reduce_sum(each * counts), tf.reduce_sum(counts))
        return (1 - share) * loss + share * part

    def scores_of_lists(self, encoded, targets, items):
        """Returns the student's scores of some items: [n, any], int32 [n], int32 [n, m] -> float32 [n, m].

        With a `RepeatHead` the sum of the softmax is estimated by a draw of negatives.
        """
        head = self.repeat_head
        hidden = tf.cast(encoded if head is None else head.split(encoded)[0], self.compute_dtype)  # (n, dim)
        scores = tf.cast(self.output_items.score_each(hidden[:, None], items), tf.float32)  # (n, m)
        if head is None:
            return scores
        compared = (self.output_items, self.negatives, self.score_dtype)
        log_share = CrossEntropy(logq=1.0).log_probabilities(
            hidden, targets, *compared, excluded=head.excluded(encoded)
        )
        total = tf.cast(self.output_items.score_each(hidden, targets), tf.float32) - log_share  # (n,)
        return head.mixed_among(items, scores, tf.stop_gradient(total), encoded)


def lists_of(teacher, batch, cells):
    """Returns a teacher's best items after some events, and their probabilities within the list.

    Scores of models that are trained by gradient are logits; of others they are shares.

    Args:
        teacher: a Recommender.
        batch: packed rows.
        cells: int32 [n, 2], row and step of the events.

    Returns:
        int32 and float32 [n, LISTED, or fewer in a smaller catalogue]; probabilities are all 0 where nothing scores.
    """
    encode, score = teacher.encoder(batch), teacher.scorer()
    count = min(LISTED, teacher.size - 2)

    def of_block(cells):
        scores = tf.cast(tf.ensure_shape(score(encode(cells)), (None, teacher.size))[:, 2:], tf.float32)
        values, index = tf.math.top_k(scores, count)
        if teacher.learning is not None:
            return index + 2, tf.nn.softmax(values)
        values = tf.nn.relu(values)
        return index + 2, tf.math.divide_no_nan(values, tf.reduce_sum(values, axis=1, keepdims=True))

    signature = tf.TensorSpec((None, count), tf.int32), tf.TensorSpec((None, count), tf.float32)
    most = rows_within(2 * teacher.size + teacher.cells_of_an_event(batch))
    found = block_by_block(of_block, [cells], most, signature)
    return tuple(map(tf.stop_gradient, found))


def listwise(scores, probabilities):
    """Returns -sum_i q_i log softmax(scores)_i over the list: float32 [n, m] each -> float32 [n]."""
    return -tf.reduce_sum(probabilities * tf.nn.log_softmax(scores), axis=1)
