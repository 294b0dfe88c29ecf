"""The trend head: a prior of the scores that follows from each item's recent events."""

from __future__ import annotations

import contextlib
from contextvars import ContextVar

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.layers.items.gather import gather_rows
from tfrecsession.sessions.item_trends import MIDDLE, NOTHING, SPAN, TrendLog, Updates

_served: ContextVar = ContextVar("served", default=None)


@contextlib.contextmanager
def served_trend(terms):
    """Traces the graphs of this block for an export that holds the terms of the items.

    Args:
        terms: () -> float32 [size], read from the export; None: the graphs hold the counts of the model.
    """
    token = _served.set(terms)
    try:
        yield
    finally:
        _served.reset(token)


@keras.saving.register_keras_serializable(package="tfrecsession")
class TrendHead(keras.layers.Layer):
    """A term of the scores that knows which items are clicked these days.

        s(i, t) = sum over half-lives h of w_h log(1 + c_h(i, t)) + w_new [i has no event before t]

    c_h(i, t) counts the events of item i before t, each with weight 2^(-age / half-life). Counts change at updates
    alone, see `tfrecsession.sessions.item_trends`: a session sees those of the last update before its start, so that
    neither its own events nor later ones count. Updates are numbered: 0 is the end of the log that was counted, lower
    numbers come before it. The last weight keeps items that appear after the last update apart from those whose events
    are long ago: a trained model knows none of the first kind. w starts at 0. Everything is computed in float32.

    Args:
        size: rows of the item tables.
        half_lives: days.
        every: days between two updates.
    """

    def __init__(self, size: int, half_lives, every: float = 1.0, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.size, self.half_lives, self.every = size, tuple(map(float, half_lives)), float(every)
        if not self.half_lives or min(self.half_lives) <= 0 or not self.every > 0:
            raise InputError(f"half_lives={half_lives!r}, every={every!r}: must be days above 0")
        self.width = None  # of the states that are scored
        counts = len(self.half_lives)
        fixed = {"initializer": "zeros", "trainable": False, "autocast": False}
        # w, the last one that of new items
        self.kernel = self.add_weight(name="kernel", shape=(counts + 1,), initializer="zeros", dtype="float32")
        self.counts = self.add_weight(name="counts", shape=(size, counts), dtype="float32", **fixed)  # at update 0
        self.now = self.add_weight(name="now", shape=(), dtype="int64", **fixed)  # microseconds since 1970
        # The log, for the counts at other updates than 0; not saved with a model.
        self._keys = tf.Variable([NOTHING], trainable=False, shape=[None], dtype=tf.int64)
        self._sums = tf.Variable(tf.zeros([1, counts]), trainable=False, shape=[None, counts])
        self.built = True

    # The log ---------------------------------------------------------------------------------------------------------

    @property
    def updates(self) -> Updates:
        """The times of the updates."""
        return Updates(int(self.now.numpy()), self.every)

    def count(self, log: TrendLog, now: int) -> None:
        """Stores the counts of a log that ends at `now`, microseconds since 1970: update 0."""
        self.now.assign(now)
        self.counts.assign(log.at_now(self.size, self.updates, self.half_lives))
        self.keep(log)

    def keep(self, log: TrendLog | None) -> None:
        """Stores the counts at updates other than 0: those before it, or what comes after it; None: none."""
        none = np.zeros((1, len(self.half_lives)), np.float32)
        self._keys.assign(np.r_[NOTHING, log.keys] if log else [NOTHING])
        self._sums.assign(np.concatenate([none, log.sums]) if log else none)

    # The term --------------------------------------------------------------------------------------------------------

    def term(self, ids=None):
        """Returns the term at update 0 of ids, int [...] -> float32 [...]; None: of all, [size]."""
        served = _served.get()
        if served is not None:
            terms = served()  # (size,)
            return terms if ids is None else tf.gather(terms, ids)
        counts = tf.convert_to_tensor(self.counts.value) if ids is None else gather_rows(self.counts.value, ids)
        return self._weighed(counts)

    def term_at(self, ids, updates):
        """Returns the term at updates: int [...] each, broadcast against each other -> float32 [...]."""
        ids, updates = tf.cast(ids, tf.int64), tf.cast(updates, tf.int64)
        key = ids * SPAN + updates + MIDDLE  # (...)
        last = tf.searchsorted(tf.convert_to_tensor(self._keys), tf.reshape(key, [-1]), side="left") - 1
        last = tf.reshape(tf.maximum(last, 0), tf.shape(key))  # (...), the last entry before the update
        found = tf.gather(self._keys, last)
        update = found % SPAN - MIDDLE
        # from update 0 on, `counts` has what came before it
        is_counted = (found // SPAN == ids) & ((updates < 0) | (update >= 0))
        counts = tf.gather(self._sums, last) * self._decay(updates - update - 1)  # (..., half-lives)
        counts = tf.where(is_counted[..., None], counts, 0.0)
        before = tf.gather(self.counts.value, ids) * self._decay(updates)
        return self._weighed(counts + tf.where(updates[..., None] >= 0, before, 0.0))

    def _decay(self, updates):
        """Returns the share of the counts that is left after this many updates: int64 [...] -> [..., half-lives]."""
        days = tf.cast(tf.maximum(updates, 0), tf.float32) * self.every
        return tf.exp(days[..., None] * (-np.log(2) / np.array(self.half_lives)).astype(np.float32))

    def _weighed(self, counts):
        return weighed(counts, tf.convert_to_tensor(self.kernel))

    # Scores ----------------------------------------------------------------------------------------------------------

    def over(self, score):
        """Adds the term to the scores of all items.

        Args:
            score: states [n, dim] -> [n, size].

        Returns:
            A function of states and their updates, int32 [n] or None for update 0, -> [n, size].
        """
        now = self.term()  # (size,)

        def added(states, updates=None):
            scores = score(states)
            if updates is None:
                return scores + tf.cast(now, scores.dtype)
            few, row = tf.unique(updates)
            terms = self.term_at(tf.range(self.size), few[:, None])  # (updates, size)
            return scores + tf.cast(tf.gather(terms, row), scores.dtype)

        return added

    def get_config(self):
        return super().get_config() | {"size": self.size, "half_lives": list(self.half_lives), "every": self.every}


def weighed(counts, kernel):
    """Returns the term of a `TrendHead`: counts [..., half-lives] and its weights [half-lives + 1] -> float32 [...]."""
    is_new = tf.cast(tf.reduce_all(counts == 0, axis=-1), tf.float32)
    return tf.linalg.matvec(tf.math.log1p(counts), kernel[:-1]) + kernel[-1] * is_new


class TrendItems:
    """The scores of a batch as losses read them: those of an `ItemScores`, and the term of a `TrendHead`.

    The queries hold a column for each update of the batch, whose counterpart in the vectors is the term.

    Args:
        items: an `ItemScores`.
        head: a `TrendHead`.
        updates: int32 [n], the update of each vector that is scored; None: update 0.
    """

    def __init__(self, items, head, updates=None):
        self.items, self.head, self.updates = items, head, updates
        self.size, self.compute_dtype = items.size, items.compute_dtype
        self.few, self.row = (tf.zeros([1], tf.int32), None) if updates is None else tf.unique(updates)

    def losses(self, hidden, targets, loss, negatives=None, score_dtype=None):
        """Compares each vector's target with negatives, see `ItemScores.losses`."""
        return loss.losses(hidden, targets, self, negatives, score_dtype)

    def query(self, hidden):
        query = self.items.query(hidden)
        row = tf.zeros(tf.shape(query)[:1], tf.int32) if self.row is None else self.row
        return tf.concat([query, tf.one_hot(row, tf.size(self.few), dtype=query.dtype)], axis=1)

    def all_vectors(self):
        vectors, biases = self.items.all_vectors()
        terms = self.head.term_at(tf.range(self.size)[:, None], self.few)  # (size, updates)
        return tf.concat([vectors, tf.cast(terms, vectors.dtype)], axis=1), biases

    def score_each(self, hidden, ids):
        scores = self.items.score_each(hidden, ids)
        return scores + tf.cast(self.head.term_at(ids, 0 if self.updates is None else self.updates), scores.dtype)

    def score(self, hidden, ids, shift=None, dtype=None):
        scores = self.items.score(hidden, ids, shift, dtype)  # (n, m)
        terms = tf.cast(self.head.term_at(ids, self.few[:, None]), scores.dtype)  # (updates, m)
        if self.row is None:
            return scores + terms
        # a product, whose gradient is one too, costs less than a gather
        return scores + tf.matmul(tf.one_hot(self.row, tf.size(self.few), dtype=scores.dtype), terms)
