"""Gathers rows of a table at a cost that follows them, also from the smaller table of an export."""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import NamedTuple

import tensorflow as tf


class Serving(NamedTuple):
    """How the graphs of an export read the items while they are traced.

    Attributes:
        index: searches the items instead of scoring all of them; None: scores all.
        original: the variable that `table` replaces; None: none is replaced.
        table: a smaller table with a method `rows(ids)`; the graphs then contain no copy of `original`.
    """

    index: object = None
    original: object = None
    table: object = None


_serving: ContextVar[Serving | None] = ContextVar("serving", default=None)


@contextlib.contextmanager
def serving(index=None, original=None, table=None):
    """Traces the graphs of this block for an export, see `Serving`.

    Such graphs never change a table, so they gather from its value, which costs nothing to read. A gather from the
    variable marks it as updated by rows; TensorFlow then copies the whole table wherever all scores are computed, which
    nearly doubles the time of a request.
    """
    token = _serving.set(Serving(index, original, table))
    try:
        yield
    finally:
        _serving.reset(token)


def serving_index():
    """Returns the index of the export that is being traced, or None."""
    state = _serving.get()
    return state and state.index


def serving_state():
    """Returns how the export that is being traced reads the items, or None outside of exports."""
    return _serving.get()


def gather_rows(variable, ids):
    """Gathers rows `ids` int [...] of a table [size, ...] -> [..., ...], at a cost that follows them.

    Args:
        variable: a `tf.Variable`: a gather on it reads only the rows. For a variable that a distribution strategy
            mirrors, TensorFlow would read the whole table first, and the next sparse update would copy it; so the
            replica's own variable is used.
        ids: int [...].
    """
    state = _serving.get()
    if state and state.table is not None and variable is state.original:
        return state.table.rows(ids)[..., : variable.shape[1]]
    if isinstance(variable, tf.distribute.DistributedValues):
        variable = variable._get_on_device_or_primary()
    return tf.gather(tf.convert_to_tensor(variable) if state else variable, ids)
