"""Some rows of a variable, without a pass over all of it."""

from __future__ import annotations

import contextlib
import contextvars

import tensorflow as tf

_stand_in = contextvars.ContextVar("stand_in", default=(None, None))
_answering = contextvars.ContextVar("answering", default=False)


def gather_rows(variable, ids):
    """Rows `ids` int [...] of a table [size, ...] -> [..., ...], at a cost that follows them.

    Args:
        variable: a `tf.Variable`: on one itself a gather reads the rows and nothing else. Of a variable that a
            distribution strategy mirrors, TensorFlow would read the whole table first, and the next sparse update would
            copy it; so this takes the replica's own. Within `standing_in` the other table is read, within `answering`
            the variable's value.
        ids: int [...].
    """
    original, table = _stand_in.get()
    if variable is original and table is not None:
        return table.rows(ids)[..., : variable.shape[1]]
    if isinstance(variable, tf.distribute.DistributedValues):
        variable = variable._get_on_device_or_primary()
    return tf.gather(tf.convert_to_tensor(variable) if _answering.get() else variable, ids)


@contextlib.contextmanager
def answering():
    """Graphs that are traced while it lasts never change a table, and gather from its value, which costs nothing to
    read. A gather from the variable itself marks it as one that is updated by rows: from the first one on TensorFlow
    copies the whole table wherever all scores are computed, which nearly doubles the time of an answer."""
    token = _answering.set(True)
    try:
        yield
    finally:
        _answering.reset(token)


@contextlib.contextmanager
def standing_in(variable, table):
    """While it lasts, graphs that are traced gather from `table` (a `CompactTable`) where they name `variable`, which
    they then hold no copy of."""
    token = _stand_in.set((variable, table))
    try:
        yield
    finally:
        _stand_in.reset(token)
