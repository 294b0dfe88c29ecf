"""Columns that follow from times are missing where a request gives no time, and cost no op of their graph."""

import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tfrecsession.recommender.in_context import columns_of_event, columns_of_histories

TIMED = ("gap", "hour", "weekday", "month")


@pytest.fixture(scope="module")
def context():
    data = trs.synthetic_sessions(items=60, sessions=300, seed=1, context=True)
    return data.context([*TIMED, "position", "device"], ["hour", "gap"])


def test_without_times_they_are_missing_as_with_times_of_zero(context):
    position, length = tf.constant([[0, 1, 2], [0, 1, 0]]), tf.constant([3, 2])
    zeros = {"context/time": tf.zeros([2, 3], tf.int64), "request/time": tf.zeros([2], tf.int64)}
    bare, timed = (columns_of_histories(context, given, position, length) for given in ({}, zeros))
    assert bare.keys() == timed.keys() >= {"context/hour", "request/gap", "context/position"}
    for key in bare:
        np.testing.assert_array_equal(bare[key], timed[key])
    assert not np.any(bare["context/hour"]) and not np.any(bare["request/gap"])
    np.testing.assert_array_equal(bare["context/position"], position + 2)
    before, known = tf.constant([5, 0], tf.int64), tf.constant([True, True])
    zeros = {"context/time": tf.zeros([2], tf.int64), "request/time": tf.zeros([2], tf.int64)}
    (bare, _), (timed, _) = (columns_of_event(context, given, length, before, known) for given in ({}, zeros))
    for key in bare:
        np.testing.assert_array_equal(bare[key], timed[key])


def test_the_graph_without_times_searches_no_edges(context):
    @tf.function(autograph=False)
    def columns(position, length):
        return columns_of_histories(context, {}, position, length)

    graph = columns.get_concrete_function(tf.zeros([2, 3], tf.int32), tf.zeros([2], tf.int32)).graph
    assert "UpperBound" not in {op.type for op in graph.get_operations()}
