"""Some rows of a variable, without a pass over all of it; and the tables that an export reads instead."""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import NamedTuple

import tensorflow as tf


class Serving(NamedTuple):
    """How graphs of an export read the items, while they are traced.

    Attributes:
        index: searches the items in place of a pass over all scores; None: the pass.
        original: the variable that `table` replaces; None: none is replaced.
        table: a smaller table with a method `rows(ids)`; the graphs then hold no copy of `original`.
    """

    index: object = None
    original: object = None
    table: object = None


_serving: ContextVar[Serving | None] = ContextVar("serving", default=None)


@contextlib.contextmanager
def serving(index=None, original=None, table=None):
    """Traces graphs for an export within: see `Serving`.

    Such graphs never change a table, so they gather from its value, which costs nothing to read. A gather from the
    variable itself marks it as updated by rows, and from then on TensorFlow copies the whole table wherever all scores
    are computed: that nearly doubles the time of an answer.
    """
    token = _serving.set(Serving(index, original, table))
    try:
        yield
    finally:
        _serving.reset(token)


def serving_index():
    """Returns the index of the export that is traced now, or None."""
    state = _serving.get()
    return state and state.index


def gather_rows(variable, ids):
    """Gathers rows `ids` int [...] of a table [size, ...] -> [..., ...], at a cost that follows them.

    Args:
        variable: a `tf.Variable`: a gather on it reads the rows and nothing else. Of a variable that a distribution
            strategy mirrors, TensorFlow would read the whole table first, and the next sparse update would copy it; so
            this takes the replica's own.
        ids: int [...].
    """
    state = _serving.get()
    if state and state.table is not None and variable is state.original:
        return state.table.rows(ids)[..., : variable.shape[1]]
    if isinstance(variable, tf.distribute.DistributedValues):
        variable = variable._get_on_device_or_primary()
    return tf.gather(tf.convert_to_tensor(variable) if state else variable, ids)
