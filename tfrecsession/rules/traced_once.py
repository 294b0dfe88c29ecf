"""Graphs of pure functions that are traced once in a process, not in every graph that calls them."""

from __future__ import annotations

import tensorflow as tf


def traced_once(function):
    """Decorates a function of tensors that reads no variables: every export and model calls the same graph.

    Tracing is the larger part of an export's time. Arguments that are no tensors, such as k, have a graph each.
    """
    return tf.function(function, autograph=False, reduce_retracing=True)
