"""The trend prior of sequence models: which item counts a session sees, in training, evaluation and answers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfrecsession.batches.batch import UPDATE
from tfrecsession.errors import InputError
from tfrecsession.layers.items.trend_head import TrendHead, TrendItems
from tfrecsession.recommender.arguments import is_positive, refuse
from tfrecsession.sessions.item_trends import TrendLog, advanced, check_times, chunks_of, end_of


class Trending:
    """Models whose scores may have the term of a `TrendHead`. Mixed in before `Recommender`.

    Counts are those of the log that `fit` was called with. In training a session sees the counts of the last update
    before its start; the batches then have the column `update`, which stands behind the encoding. Without this column
    all see update 0, the start of the last session of that log: in validation, evaluation, recommendations and exports.
    """

    _counted = _timed = None  # the arrays that were counted, and the columns of batches whose sessions see updates

    def set_trend(self, half_lives, every) -> None:
        """Creates the head of the arguments `trend` and `trend_every`."""
        days = list(half_lives) if isinstance(half_lives, list | tuple) else None
        if half_lives is not None and (days is None or not all(map(is_positive, days))):
            refuse("trend", half_lives, "a list of half-lives in days above 0, e.g. [0.25, 1, 7], or [] for no trend")
        if not is_positive(every):
            refuse("trend_every", every, "the number of days between two updates of the counts, above 0, e.g. 1")
        self.trend, self.trend_every = tuple(days or ()), every
        if self.trend:
            self.trend_head = TrendHead(self.size, self.trend, every, name="trend_head")

    # The log ---------------------------------------------------------------------------------------------------------

    @property
    def training_context(self):
        """The context of the batches that the model is fitted to: `context`, and the update that each session sees."""
        if self.trend_head is None:
            return self.context
        if self._timed is None or self._timed.context is not self.context:
            self._timed = Timed(self.context, self.trend_head)
        return self._timed

    def count_trend(self, sessions) -> None:
        """Counts the events of the log that the model is fitted to; of a part of a split, those of the whole split.

        Raises:
            InputError: the log has no times.
        """
        if self.trend_head is None or sessions is None:
            return
        whole = sessions.parent or sessions
        if whole.arrays is self._counted:
            return
        check_times(whole, f"trend={list(self.trend)}")
        now, head = end_of(whole.arrays), self.trend_head
        head.now.assign(now)
        before = ((values[times < now], times[times < now]) for values, times in chunks_of(whole.arrays))
        head.count(TrendLog.of(before, head.updates, self.trend), now)
        self._counted, self._timed = whole.arrays, None

    def update_trend(self, sessions) -> int:
        """Adds the events of a newer log to the counts of a trained model, and returns the number of events added.

        Recommendations and exports then follow them. Events before the end of the counted log are left out.

        Args:
            sessions: `Sessions` with the model's vocabulary, such as `data.validation`.

        Raises:
            InputError: the model was created without `trend`, or the log has no times or another vocabulary.
        """
        head = self._head("update_trend")
        self.check_vocabulary(sessions.items)
        check_times(sessions, "update_trend")
        now, times = int(head.now.numpy()), np.asarray(sessions.column("times"), np.int64)
        counts, now, added = advanced(head.counts.numpy(), now, sessions.values, times, self.trend)
        head.counts.assign(counts)
        head.now.assign(now)
        head.keep(None)
        self._counted = self._timed = None
        return added

    @contextlib.contextmanager
    def live(self, sessions, earlier: Iterable = ()) -> Iterator[np.ndarray]:
        """Lets counts go on after the log that the model was fitted to, as in a shop that updates them.

        Within the block, a session sees the events of other sessions up to the last update before its start: those of
        the training log, of `earlier` and of `sessions`.

        Args:
            sessions: the split that is evaluated.
            earlier: the splits before it; their events up to the end of the training log are counted already.

        Yields:
            int32 [events], the column `update` of the batches.

        Raises:
            InputError: the model was created without `trend`, or a split has no times.
        """
        head = self._head("live=True")
        splits = [split for split in (*earlier, sessions) if split.events]
        for split in splits:
            check_times(split, "live=True")
        now, before = int(head.now.numpy()), (head._keys.numpy(), head._sums.numpy())

        def after_now():
            for split in splits:
                for values, times in chunks_of(split.arrays):
                    yield values[times >= now], times[times >= now]

        head.keep(TrendLog.of(after_now(), head.updates, self.trend))
        try:
            updates = head.updates.of_sessions(sessions.column("times"), sessions.offsets)
            yield np.maximum(updates, 0)  # a session that starts before the end of the training log sees its end
        finally:
            for variable, value in zip((head._keys, head._sums), before, strict=True):
                variable.assign(value)

    def _head(self, of: str) -> TrendHead:
        if self.trend_head is None:
            raise InputError(f"{of}: needs a model with a trend prior, e.g. trend=[0.25, 1, 7]")
        return self.trend_head

    # Encodings -------------------------------------------------------------------------------------------------------

    def with_update(self, encoded, batch):
        """Joins the update that each step sees to its encoding, where the batch has it: [rows, steps, dim, or + 1]."""
        if self.trend_head is None or UPDATE not in batch:
            return encoded
        update = tf.cast(batch[UPDATE], tf.float32)[..., None]  # (rows, steps, 1); float32 holds any update
        return tf.concat([tf.cast(encoded, tf.float32), update], axis=-1)

    def check_update(self, batch) -> None:
        """Raises InputError if a batch of training does not say which counts its sessions see."""
        if self.trend_head is not None and UPDATE not in batch:
            raise InputError(
                f"batch: must have {UPDATE!r}, as those of data.train.batches(context=model.training_context) after "
                "model.count_trend(data.train); fit(data.train) does both"
            )

    def split_update(self, encoded):
        """Returns encodings without the update, [n, dim], and the updates, int32 [n], or None where they have none."""
        if self.trend_head is None:
            return encoded, None
        further = encoded.shape[-1] - self.trend_head.width
        # what a `RepeatHead` joins to the state has an odd width
        if further % 2 == int(self.repeat_head is not None):
            return encoded, None
        return encoded[..., :-1], tf.cast(encoded[..., -1], tf.int32)

    def compared_items(self, updates):
        """Returns the scores of items as losses read them, at updates [n]."""
        return self.output_items if self.trend_head is None else TrendItems(self.output_items, self.trend_head, updates)

    # Vectors ---------------------------------------------------------------------------------------------------------

    def fixed_vectors(self, ids):
        if self.trend_head is None:
            return super().fixed_vectors(ids)
        vectors = super().score_vectors(ids)
        has_biases = vectors.shape[1] > self.trend_head.width
        return vectors if has_biases else tf.pad(vectors, [[0, 0], [0, 1]])  # a column for the term

    def score_vectors(self, ids):
        if self.trend_head is None:
            return super().score_vectors(ids)
        vectors = self.fixed_vectors(ids)
        return tf.concat([vectors[:, :-1], vectors[:, -1:] + self.trend_head.term(ids)[:, None]], axis=1)

    def item_shift(self):
        return super().item_shift() if self.trend_head is None else self.trend_head.term()


class UpdateColumn(NamedTuple):
    """The column `update` of a batch."""

    dtype: type = np.int32
    missing: int = 0


class Timed:
    """Columns of batches as a `Context` has them: those of a context, and the update that each session sees.

    Args:
        context: a `Context`, or None.
        head: a `TrendHead` that has counted the log.
    """

    def __init__(self, context, head: TrendHead):
        self.context, self.updates = context, head.updates
        self.itemless = context is not None and context.itemless

    @property
    def keys(self) -> dict:
        """Key of a batch -> its column."""
        return {**(self.context.keys if self.context else {}), UPDATE: UpdateColumn()}

    def encode(self, read, names, offsets: np.ndarray, timed: bool = True) -> dict:
        """Encodes the events of a log, see `Context.encode`."""
        encoded = self.context.encode(read, names, offsets, timed) if self.context else {}
        return encoded | {UPDATE: self.updates.of_sessions(read("times"), offsets)}
