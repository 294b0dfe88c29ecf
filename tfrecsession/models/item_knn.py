"""Item-kNN: what is often taken in the same session as this item."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.models.counting_model import CountingModel

BLOCK = 1024  # items whose neighbours are counted at once: memory does not grow with the catalogue squared


@keras.saving.register_keras_serializable(package="tfrecsession.models")
class ItemKNN(CountingModel):
    """Co-occurrence neighbours, the baseline of the GRU4Rec papers (arXiv 1511.06939, section 4).

        sim(i, j) = cooc_ij / ((support_i + shrinkage)^alpha (support_j + shrinkage)^(1 - alpha)),  sim(i, i) = 0
        score(j)  = mean over the items i of the history of sim(i, j)

    `cooc_ij` counts pairs of events of one session, supports count events; alpha=0.5 and shrinkage=0 is the cosine.

    Args:
        items: the vocabulary.
        neighbours: most similar items kept per item.
        shrinkage: weakens similarities that rest on few events.
        alpha: how the penalty of popularity is shared between the two items.
        history: "last" looks at the session's last item, "mean" at its newest `window` items.
        window: events of the history that "mean" looks at.

    Example:

        model = trs.models.ItemKNN(data.items, neighbours=100)
        model.fit(data.train)
    """

    def __init__(self, items, neighbours=100, shrinkage=20.0, alpha=0.5, history="last", window=20, **kwargs):
        if history not in ("last", "mean"):
            raise InputError(f"history={history!r}: say 'last' or 'mean'")
        super().__init__(items, **kwargs)
        self.neighbours = neighbours
        self.shrinkage = shrinkage
        self.alpha = alpha
        self.history_kind = history
        self.window = window
        shape = (self.size, min(neighbours, self.size))
        self.neighbour_ids = self.add_weight(
            name="neighbour_ids", shape=shape, dtype="int32", initializer="zeros", trainable=False
        )
        self.similarities = self.add_weight(
            name="similarities", shape=shape, dtype="float32", initializer="zeros", trainable=False, autocast=False
        )

    def count(self, sessions):
        from scipy import sparse  # only needed to count

        values, size = sessions.values, self.size
        session = np.repeat(np.arange(len(sessions)), np.diff(sessions.offsets))
        known = values > 1
        ones = np.ones(known.sum(), np.float32)
        by_session = sparse.csr_matrix((ones, (session[known], values[known])), shape=(len(sessions), size))
        by_item = by_session.T.tocsr()
        support = np.asarray(by_session.sum(axis=0)).ravel() + self.shrinkage
        with np.errstate(divide="ignore"):
            row_norm, column_norm = support**-self.alpha, support ** (self.alpha - 1)

        ids = np.zeros(self.neighbour_ids.shape, np.int32)
        similarities = np.zeros(ids.shape, np.float32)
        for first in range(0, size, BLOCK):
            block = (by_item[first : first + BLOCK] @ by_session).tocsr()
            for row in range(block.shape[0]):
                item = first + row
                here = slice(block.indptr[row], block.indptr[row + 1])
                others = block.indices[here]
                similar = block.data[here] * row_norm[item] * column_norm[others]
                others, similar = others[others != item], similar[others != item]
                # equal similarities: the lower id, the more popular item, comes first, on any machine
                best = np.lexsort((others, -similar))[: ids.shape[1]]
                ids[item, : len(best)], similarities[item, : len(best)] = others[best], similar[best]
        self.neighbour_ids.assign(ids)
        self.similarities.assign(similarities)

    def encode(self, batch, training=False):
        """The newest items of the session so far: int32 [rows, steps, 1 or window], 0 where there is none."""
        items, position = batch["items"], batch["position"]
        if self.history_kind == "last":
            return items[..., None]
        back = [
            tf.where(position >= ago, tf.roll(items, ago, axis=1), 0)
            for ago in range(min(self.window, self.longest(items)))
        ]
        return tf.stack(back, axis=-1)

    def longest(self, items) -> int:
        return items.shape[1] or self.window

    def score_all(self, encoded):
        events = tf.shape(encoded)[0]
        ids = tf.gather(self.neighbour_ids.value, encoded)  # (events, history, neighbours)
        similar = tf.gather(self.similarities.value, encoded)
        length = tf.reduce_sum(tf.cast(encoded > 0, tf.float32), axis=1)[:, None, None]
        similar = similar / tf.maximum(length, 1.0)
        cells = tf.cast(tf.range(events)[:, None, None] * self.size, tf.int64) + tf.cast(ids, tf.int64)
        # not unsorted_segment_sum, which counts the rows of every cell beside: four times slower in large blocks
        flat = tf.scatter_nd(
            tf.reshape(cells, [-1, 1]), tf.reshape(similar, [-1]), [tf.cast(events, tf.int64) * self.size]
        )
        return tf.reshape(flat, (events, self.size))

    def similar_items(self, items, k=20):
        """The k nearest neighbours of each item, as counted."""
        return self.recommend([[item] for item in items], k=k, exclude_seen=True)

    def get_config(self):
        return {
            **super().get_config(),
            "neighbours": self.neighbours,
            "shrinkage": self.shrinkage,
            "alpha": self.alpha,
            "history": self.history_kind,
            "window": self.window,
        }
