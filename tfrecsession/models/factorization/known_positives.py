"""What people had, found among drawn items: a negative that somebody has is none for them."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfrecsession.batches.interactions import Interactions
from tfrecsession.layers.ragged import spread


class SeenItems:
    """The items of every person, beside the tables that training learns.

    Plain variables: the data says how many pairs there are, and a saved model has no use for them.

    Args:
        size: ids of the catalogue.
    """

    def __init__(self, size: int):
        def any_length(dtype):
            return tf.Variable(np.zeros(1, dtype), trainable=False, shape=tf.TensorShape([None]))

        self.offsets, self.values = any_length(np.int32), any_length(np.int32)
        self.place = tf.Variable(tf.zeros(size, tf.int32), trainable=False)  # of a drawn item + 1; 0 between steps

    def take(self, people: Interactions) -> None:
        self.offsets.assign(people.offsets.astype(np.int32))
        self.values.assign(people.values)

    def cells(self, users, drawn):
        """Where somebody stands against an item that they have.

        Walks through the items of the people of a batch, of each person once: a draw of popular items meets many of
        what people have, yet the cost does not follow the catalogue or the number of people.

        Args:
            users: int32 [n], places in the people taken.
            drawn: int32 [count], item ids.

        Returns:
            int32 [cells, 2]: place among `users`, place in `drawn`.
        """
        person, row_of, rows = tf.unique_with_counts(users)
        item, column_of, columns = tf.unique_with_counts(drawn)
        first = tf.gather(self.offsets, person)
        at, who = spread(first, tf.gather(self.offsets, person + 1) - first)
        self.place.scatter_update(tf.IndexedSlices(tf.range(1, tf.size(item) + 1), item))
        what = tf.gather(self.place, tf.gather(self.values, at))
        with tf.control_dependencies([what]):
            self.place.scatter_update(tf.IndexedSlices(tf.zeros_like(item), item))
        met = tf.where(what > 0)[:, 0]
        who, what = tf.gather(who, met), tf.gather(what, met) - 1
        row, pair = spread(tf.gather(tf.cumsum(rows, exclusive=True), who), tf.gather(rows, who))
        what = tf.gather(what, pair)
        column, pair = spread(tf.gather(tf.cumsum(columns, exclusive=True), what), tf.gather(columns, what))
        row = tf.gather(tf.argsort(row_of, stable=True), tf.gather(row, pair))
        return tf.stack([row, tf.gather(tf.argsort(column_of, stable=True), column)], axis=1)
