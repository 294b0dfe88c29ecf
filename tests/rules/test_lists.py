"""The graph of rules equals a slow reference over random requests."""

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rules.reference import ruled_list
from tfrecsession.rules import ItemAttributes, rule_texts
from tfrecsession.rules.list_steps import scored
from tfrecsession.rules.rule_fields import read
from tfrecsession.rules.rule_tables import filtered
from tfrecsession.rules.ruled_list import RuledLists
from tfrecsession.sessions.vocabulary import Items

ITEMS, K, CANDIDATES = 40, 6, 25
random = np.random.default_rng(3)
TABLE = {
    "category": [["shoes", "boots", "hats", None][code] for code in random.integers(0, 4, ITEMS)],
    "price": [
        None if missing else float(price)
        for price, missing in zip(random.integers(1, 50, ITEMS), random.random(ITEMS) < 0.1, strict=True)
    ],
    "sale": [str(bool(code)).lower() for code in random.integers(0, 2, ITEMS)],
    "tags": [sorted(set(random.choice(list("abcde"), random.integers(1, 4)))) for _ in range(ITEMS)],
}
COUNTS = np.sort(random.integers(1, 500, ITEMS))[::-1]
VECTORS = random.normal(size=(ITEMS, 5)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def graph():
    items = Items(
        [f"i{item}" for item in range(ITEMS)],
        COUNTS,
        pa.table({**TABLE, "sale": [value == "true" for value in TABLE["sale"]]}),
    )
    counts = np.concatenate([[0, 0], COUNTS])
    vectors = tf.constant(np.concatenate([np.zeros((2, 5), np.float32), VECTORS]))
    lists = RuledLists(ItemAttributes(items), counts, lambda ids: tf.gather(vectors, ids))

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.string), tf.TensorSpec((None, ITEMS + 2), tf.float32)])
    def answer(texts, scores):
        def find(allowed, count):
            values, ids = tf.math.top_k(tf.where(allowed & (tf.range(ITEMS + 2) > 1), scores, tf.float32.min), count)
            return tf.where(values > tf.float32.min, ids, 0), values

        def to_ids(names):
            return (
                tf.strings.to_number(tf.strings.regex_replace(tf.where(names == "", "i-2", names), "^i", ""), tf.int32)
                + 2
            )

        return lists(texts, find, K, to_ids, candidates=CANDIDATES)

    known = {"columns": lists.kinds, "similar": lists.similar}
    return lambda rules, scores: answer(padded(rule_texts(rules, len(rules), known, K)), tf.constant(scores))


def padded(texts):
    width = max(map(len, texts))
    return tf.constant([[*row, *[""] * (width - len(row))] for row in texts], tf.string, (len(texts), width))


values = st.sampled_from(["shoes", "boots", "hats", "none of them"])
tags = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=3, unique=True)
bounds = (
    st.tuples(st.none() | st.integers(0, 30), st.integers(20, 60))
    .map(list)
    .filter(lambda pair: (pair[0] or 0) <= pair[1])
)
conditions = {
    "category": st.lists(values, min_size=1, max_size=2, unique=True)
    | values
    | values.map(lambda value: {"not": [value]}),
    "price": bounds.map(lambda pair: {"between": pair}),
    "sale": st.booleans(),
    "tags": tags,
}
boosts = st.sampled_from(sorted(conditions)).flatmap(lambda name: conditions[name].map(lambda value: {name: value}))
boosts = st.tuples(boosts, st.floats(-2, 2).map(lambda by: round(by, 2))).map(
    lambda pair: {"where": pair[0], "by": pair[1]}
)
diversities = st.fixed_dictionaries(
    {"strength": st.sampled_from([0.0, 0.31, 0.77]), "method": st.sampled_from(["mean", "mmr", "dpp"])}
)
pins = st.lists(st.integers(0, ITEMS - 1), max_size=2, unique=True).map(
    lambda items: dict(zip(items, (2, 5), strict=False))
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "filter": st.fixed_dictionaries({}, optional=conditions),
        "popularity": st.sampled_from([0.0, 0.37, 1.1]),
        "boost": st.lists(boosts, max_size=2),
        "pin": pins,
        "at_most": st.fixed_dictionaries({}, optional={"category": st.integers(0, 3), "tags": st.integers(1, 4)}),
        "diversity": diversities,
    },
)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(requests, min_size=1, max_size=3), st.integers(0, 2**31))
def test_the_graph_equals_the_slow_reference(graph, rules, seed):
    scores = np.random.default_rng(seed).normal(size=(len(rules), ITEMS + 2)).astype(np.float32)
    named = [
        {**each, **({"pin": {f"i{item}": place for item, place in each["pin"].items()}} if "pin" in each else {})}
        for each in rules
    ]
    ids, values, removed, notes = (array.numpy() for array in graph(named, scores))
    for row, each in enumerate(rules):
        of_items = {item: float(scores[row, item + 2]) for item in range(ITEMS)}
        shown, expected, lost = ruled_list(
            of_items, TABLE, COUNTS, lambda a, b: float(VECTORS[a] @ VECTORS[b]), each, K, CANDIDATES
        )
        assert [item - 2 for item in ids[row] if item] == shown
        np.testing.assert_allclose(values[row][: len(shown)], expected, atol=1e-4)
        assert removed[row][: len(lost)].tolist() == lost
        assert bool(notes[row]) == (len(shown) < K)


def test_graphs_are_traced_once_and_hold_no_values():
    """A column with a value of its own for each item is data, not a constant of every graph."""

    def traced(size):
        content = pa.table({"sku": [[f"s{item}"] for item in range(size)]})
        items = Items([f"i{item}" for item in range(size)], np.ones(size, int), content)
        lists = RuledLists(ItemAttributes(items), tf.Variable(tf.ones(size + 2)))

        def find(allowed, count):
            scores, ids = tf.math.top_k(tf.where(allowed & (tf.range(size + 2) > 1), 1.0, tf.float32.min), count)
            return tf.where(scores > 0, ids, 0), scores

        @tf.function(input_signature=[tf.TensorSpec((None, None), tf.string)], autograph=False)
        def answer(texts):
            return lists(texts, find, 2, lambda names: tf.fill(tf.shape(names), 1), candidates=20)

        found = answer(tf.constant([["in\tsku\ts7\ts9\tnone"]]))
        return len(answer.get_concrete_function().graph.as_graph_def().SerializeToString()), found[0].numpy().tolist()

    traced(30)
    large, many = traced(5000)
    counts = [step.experimental_get_tracing_count() for step in (read, filtered, scored)]
    small, few = traced(60)
    assert few == many == [[9, 11]]
    assert large < small + 500
    assert counts == [step.experimental_get_tracing_count() for step in (read, filtered, scored)]
