"""Reasons in the content of the recommended items: what a score loses where a column is missing."""

from __future__ import annotations

import tensorflow as tf


class ExplainingContent:
    """The part of `Explaining` that leaves out columns of content. Mixed into `Recommender`.

    Models whose scores are products with vectors from content have it by their `output_items`; others that read the
    content of candidates define `explained_content`, and `part_of_column` or `parts_of_content`.
    """

    @property
    def explained_content(self) -> tuple:
        """The columns of content that an item's score follows from and that can be read; they have `name`, `kind`."""
        return () if self.output_items is None else self.output_items.content_columns

    def parts_of_content(self, encoded, items, columns):
        """Returns what the scores lose where a column of the item is missing.

        Args:
            encoded: encoded histories [n, ...].
            items: int32 [n, m].
            columns: some of `explained_content`, at least one.

        Returns:
            float32 [n, m, columns].
        """
        distinct, index = tf.unique(tf.reshape(items, [-1]))  # each item is encoded once
        parts = tf.stack([self.part_of_column(column, distinct) for column in columns], axis=1)
        parts = tf.gather(parts, tf.reshape(index, tf.shape(items)))  # (n, m, columns, width)
        lost = tf.einsum("nd,nmcd->nmc", self.queries(encoded)[:, : parts.shape[-1]], parts)
        return lost if self.repeat_head is None else self._lost_of_mixture(encoded, items, lost)

    def part_of_column(self, column, ids):
        """Returns what the vectors of items lose where a column is missing: int32 [n] -> float32 [n, width]."""
        return self.output_items.part_of_column(column, ids)

    def _lost_of_mixture(self, encoded, items, lost):
        """Returns what log P of a repeat head loses, where the scores of its softmax lose `lost` [n, m, columns]."""
        head, flat = self.repeat_head, [tf.shape(items)[0], -1]
        scores = self.products_with(self.queries(encoded), items)[..., None]  # (n, m, 1)
        every = tf.cast(self.output_items.score_all(head.split(encoded)[0]), tf.float32)  # (n, size)
        shift = self.item_shift()
        total = head.log_total(every if shift is None else every + shift, encoded)  # (n,)
        share, left = (tf.exp(part - total[:, None, None]) for part in (scores, scores - lost))
        change = tf.math.log(tf.maximum(1 + left - share, 1e-9))  # of the total, as one item of it changes
        columns = tf.shape(lost)[2]
        ids = tf.reshape(tf.repeat(items[..., None], columns, axis=2), flat)  # (n, m columns)
        without = head.mixed_among(ids, tf.reshape(scores - lost - change, flat), total, encoded)
        whole = head.mixed_among(items, scores[..., 0], total, encoded)  # (n, m)
        return whole[..., None] - tf.reshape(without, tf.shape(lost))
