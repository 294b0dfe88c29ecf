"""Some rows of a variable, without a pass over all of it."""

import tensorflow as tf


def gather_rows(variable, ids):
    """Rows `ids` int [...] of a table [size, ...] -> [..., ...], at a cost that follows them.

    Args:
        variable: a `tf.Variable`: on one itself a gather reads the rows and nothing else. Of a variable that a
            distribution strategy mirrors, TensorFlow would read the whole table first, and the next sparse update would
            copy it; so this takes the replica's own.
        ids: int [...].
    """
    if isinstance(variable, tf.distribute.DistributedValues):
        variable = variable._get_on_device_or_primary()
    return tf.gather(variable, ids)
