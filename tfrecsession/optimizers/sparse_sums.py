"""Sums of gradients over several batches, at a cost that follows the rows touched and not the table."""

import tensorflow as tf


class GradientSum:
    """The running sum of one variable's gradients.

    Rows and values of sparse gradients are appended to a buffer, which grows as needed and does not shrink; duplicate
    rows are left to the caller of `take`. Dense gradients are added up. A variable without gradients takes no memory.

    Args:
        variable: a `keras.Variable`.
    """

    def __init__(self, variable):
        self.shape = tuple(variable.shape)
        width, dtype = self.shape[1:], variable.dtype
        self.filled = tf.Variable(0, trainable=False)  # rows in use
        self.rows = tf.Variable(tf.zeros([0], tf.int64), shape=[None], trainable=False)
        self.values = tf.Variable(tf.zeros([0, *width], dtype), shape=[None, *width], trainable=False)

    @property
    def variables(self) -> list:
        """The variables that a resumed training needs; their first dimension changes."""
        return [self.filled, self.rows, self.values]

    def add(self, gradient) -> None:
        """Adds a gradient, dense or `tf.IndexedSlices`."""
        if isinstance(gradient, tf.IndexedSlices):
            self._append(tf.cast(gradient.indices, tf.int64), tf.cast(gradient.values, self.values.dtype))
            return
        gradient = self._flat(gradient)

        def add():
            self.values.assign_add(gradient)
            return True

        def begin():
            self.values.assign(gradient)
            return True

        tf.cond(self.filled > 0, add, begin)
        self.filled.assign(tf.shape(gradient)[0])

    def take(self, gradient):
        """Returns the sum of all gradients added and of this one, and starts again from nothing.

        Returns:
            Dense, or `tf.IndexedSlices` that may name a row several times, as `gradient` is.
        """
        if isinstance(gradient, tf.IndexedSlices):
            kept = tf.range(self.filled)
            rows = tf.concat([tf.gather(self.rows, kept), tf.cast(gradient.indices, tf.int64)], axis=0)
            values = tf.cast(gradient.values, self.values.dtype)
            values = tf.concat([tf.gather(self.values, kept), values], axis=0)
            total = tf.IndexedSlices(values, rows, tf.constant(self.shape, tf.int64))
        else:
            flat = self._flat(gradient)
            total = tf.cond(self.filled > 0, lambda: self.values + flat, lambda: flat)
            total = tf.reshape(total, self.shape)
        with tf.control_dependencies(tf.nest.flatten(total, expand_composites=True)):
            self.filled.assign(0)
        return total

    def _flat(self, gradient):
        return tf.reshape(tf.cast(gradient, self.values.dtype), [-1, *self.shape[1:]])  # a scalar becomes a row

    def _append(self, rows, values):
        end = self.filled + tf.size(rows)
        room = tf.raw_ops.VariableShape(input=self.rows.handle)[0]  # reading the variable would copy it

        def enlarge():
            more = [[0, tf.maximum(end, 2 * room) - room]]
            self.rows.assign(tf.pad(self.rows, more))
            self.values.assign(tf.pad(self.values, [*more, *[[0, 0]] * (len(self.shape) - 1)]))
            return end

        end = tf.cond(end > room, enlarge, lambda: end)
        positions = tf.range(self.filled, end)
        self.rows.scatter_update(tf.IndexedSlices(rows, positions))
        self.values.scatter_update(tf.IndexedSlices(values, positions))
        self.filled.assign(end)
