"""Masks for sampled negatives that the user has already interacted with."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfrecsession.batches.interactions import Interactions
from tfrecsession.layers.ragged import spread


class SeenItems:
    """The items of every user in the training data.

    They are plain variables: the data decides how many pairs there are, and a saved model does not need them.

    Args:
        size: ids of the catalogue.
    """

    def __init__(self, size: int):
        def any_length(dtype):
            return tf.Variable(np.zeros(1, dtype), trainable=False, shape=tf.TensorShape([None]))

        self.offsets, self.values = any_length(np.int32), any_length(np.int32)
        self.index = tf.Variable(tf.zeros(size, tf.int32), trainable=False)  # of a sampled item + 1; 0 between steps

    def take(self, interactions: Interactions) -> None:
        self.offsets.assign(interactions.offsets.astype(np.int32))
        self.values.assign(interactions.values)

    def cells(self, users, drawn):
        """Finds the pairs of a user and a sampled item where the user has the item.

        The search runs once through the items of each user of the batch. Popular samples meet many of these items, yet
        the cost does not grow with the catalogue or the number of users.

        Args:
            users: int32 [n], rows of the interactions taken.
            drawn: int32 [count], item ids.

        Returns:
            int32 [cells, 2]: index into `users`, index into `drawn`.
        """
        unique_users, user_of_row, rows_of_user = tf.unique_with_counts(users)  # [u], [n], [u]
        unique_items, item_of_column, columns_of_item = tf.unique_with_counts(drawn)  # [i], [count], [i]
        first = tf.gather(self.offsets, unique_users)  # [u]
        pair, user = spread(first, tf.gather(self.offsets, unique_users + 1) - first)  # [pairs] each
        self.index.scatter_update(tf.IndexedSlices(tf.range(1, tf.size(unique_items) + 1), unique_items))
        item = tf.gather(self.index, tf.gather(self.values, pair))  # [pairs]: index into `unique_items` + 1, 0 for none
        with tf.control_dependencies([item]):
            self.index.scatter_update(tf.IndexedSlices(tf.zeros_like(unique_items), unique_items))
        hits = tf.where(item > 0)[:, 0]  # [hits]
        user, item = tf.gather(user, hits), tf.gather(item, hits) - 1  # [hits] each
        # a hit counts in every row of its user: rows grouped by user, then columns grouped by item
        row, hit = spread(tf.gather(tf.cumsum(rows_of_user, exclusive=True), user), tf.gather(rows_of_user, user))
        item = tf.gather(item, hit)  # [hits x rows of their users]
        start = tf.gather(tf.cumsum(columns_of_item, exclusive=True), item)
        column, cell = spread(start, tf.gather(columns_of_item, item))  # [cells] each
        row = tf.gather(tf.argsort(user_of_row, stable=True), tf.gather(row, cell))  # [cells]
        column = tf.gather(tf.argsort(item_of_column, stable=True), column)  # [cells]
        return tf.stack([row, column], axis=1)
