"""Ids of every form that Python has count as their text, and what is no id is refused by name."""

import datetime
import decimal
import uuid

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tensorflow as tf

from tfrecsession.errors import InputError
from tfrecsession.events.id_texts import text_lists, texts

HISTORIES = [["item-5", "é🙂"], ["007", ""]]
NUMBERS = [["17850", "3"], ["0", "-2"]]
UUID = uuid.UUID(int=5)

FORMS = {
    "lists": lambda rows: rows,
    "tuples": lambda rows: tuple(map(tuple, rows)),
    "generators": lambda rows: ((cell for cell in row) for row in rows),
    "bytes": lambda rows: [[cell.encode() for cell in row] for row in rows],
    "numpy texts": np.array,
    "numpy objects": lambda rows: np.array(rows, object),
    "numpy bytes": lambda rows: np.array([[cell.encode() for cell in row] for row in rows]),
    "numpy rows": lambda rows: [np.array(row) for row in rows],
    "object array of lists": lambda rows: pd.Series(rows).to_numpy(),
    "tensor": tf.constant,
    "tensors": lambda rows: [tf.constant(row) for row in rows],
    "tensor scalars": lambda rows: [[tf.constant(cell) for cell in row] for row in rows],
    "variable": tf.Variable,
    "ragged": tf.ragged.constant,
    "data set": lambda rows: tf.data.Dataset.from_tensor_slices(rows),
    "series of lists": pd.Series,
    "series": lambda rows: [pd.Series(row, dtype="string") for row in rows],
    "categories": lambda rows: [pd.Series(row, dtype="category") for row in rows],
    "index": lambda rows: [pd.Index(row) for row in rows],
    "arrow": pa.array,
    "chunked arrow": lambda rows: pa.chunked_array([rows[:1], rows[1:]]),
}
NUMBER_FORMS = {
    "ints": lambda rows: rows,
    "floats": lambda rows: [[float(cell) for cell in row] for row in rows],
    "decimals": lambda rows: [[decimal.Decimal(f"{cell}.00") for cell in row] for row in rows],
    "int8 to uint64": lambda rows: [np.array(rows[0], np.uint64), np.array(rows[1], np.int8)],
    "float64": lambda rows: np.array(rows, np.float64),
    "float32": lambda rows: np.array(rows, np.float32),
    "float scalars": lambda rows: [[np.float32(cell) for cell in row] for row in rows],
    "int tensor": lambda rows: tf.constant(rows, tf.int64),
    "float tensor": lambda rows: tf.constant(rows, tf.float32),
    "ragged ints": tf.ragged.constant,
    "nullable": lambda rows: [pd.Series(row, dtype="Int64") for row in rows],
    "float series": lambda rows: [pd.Series(row, dtype="float64") for row in rows],
}


@pytest.mark.parametrize("form", FORMS)
def test_texts_of_every_form(form):
    assert text_lists(FORMS[form](HISTORIES), "histories") == HISTORIES


@pytest.mark.parametrize("form", NUMBER_FORMS)
def test_whole_numbers_of_every_form(form):
    rows = [[int(cell) for cell in row] for row in NUMBERS]
    assert text_lists(NUMBER_FORMS[form](rows), "histories") == NUMBERS


def test_other_ids():
    ids = [0.5, np.float32(0.1), UUID, datetime.date(2020, 1, 2), "17850.0", np.str_("a"), np.bytes_(b"b"), 2**70]
    assert texts(ids, "items") == ["0.5", "0.1", str(UUID), "2020-01-02", "17850.0", "a", "b", str(2**70)]
    assert texts(np.array([0.1, 2], np.float32), "items") == ["0.1", "2"]
    assert texts({"a"}, "only") == ["a"] and texts([], "items") == texts(iter(()), "items") == []
    assert text_lists([], "histories") == text_lists(np.empty((0, 3)), "histories") == []
    assert text_lists([["a"], []], "histories") == text_lists(tf.ragged.constant([["a"], []]), "histories")


@pytest.mark.parametrize(
    "value",
    [
        None,
        float("nan"),
        np.nan,
        np.float32("nan"),
        pd.NA,
        pd.NaT,
        float("inf"),
        decimal.Decimal("NaN"),
        True,
        np.True_,
        {"item": "a"},
        {"a"},
        ["a"],
        ("a", "b"),
        np.array(["a"]),
        np.array([["a"]]),
        tf.constant(["a"]),
        1j,
        Ellipsis,
        b"\xff",
        np.datetime64("2020-01-01"),
    ],
    ids=repr,
)
def test_values_that_are_no_id(value):
    with pytest.raises(InputError, match=r"^items\[1\]=") as error:
        texts(["a", value], "items")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("item-5", r"^histories: must be a list of lists of ids, such as .*, not 'item-5'"),
        (b"item-5", r"^histories: must be a list of lists"),
        (None, r"^histories: must be a list of lists"),
        (5, r"^histories: must be a list of lists"),
        ({"s1": ["a"]}, r"^histories: must be a list of lists"),
        (pd.DataFrame({"item": ["a"]}), r"^histories: must be a list of lists"),
        (pa.table({"item": ["a"]}), r"^histories: must be a list of lists"),
        (tf.constant("a"), r"^histories: must be a list of lists"),
        (["a"], r"^histories: must be a list of lists of ids, such as .*, but histories\[0\] is 'a'"),
        ([5], r"but histories\[0\] is 5"),
        (np.array(["a"]), r"but histories\[0\] is 'a'"),
        (tf.constant(["a"]), r"but histories\[0\] is b'a'"),
        (pd.Series(["a"]), r"but histories\[0\] is 'a'"),
        ([["a"], None], r"^histories\[1\]: must be a list of ids, .*, not None"),
        ([["a"], {"b"}], r"^histories\[1\]: must be a list, because a set has no order"),
        ([[["a"]]], r"^histories\[0\]\[0\]=\['a'\]: must be an id"),
        ([pd.Series([1.0, None])], r"^histories\[0\]\[1\]=nan: must be an id, a text or a number; leave missing"),
        (np.array([[1, np.nan]]), r"^histories\[0\]\[1\]=nan"),
        (np.ma.array([[1, 2]], mask=[[False, True]]), r"^histories\[0\]\[1\]=None"),
        (tf.sparse.from_dense([[1, 2]]), r"^histories: "),
        (np.array([["2020-01-01"]], "M8[ns]"), r"^histories\[0\]\[0\]="),
    ],
    ids=repr,
)
def test_containers_that_are_no_lists(values, expected):
    with pytest.raises(InputError, match=expected) as error:
        text_lists(values, "histories")
    assert "\n" not in str(error.value)


def test_sessions_of_users():
    people = [[["a"], ["b", 3.0]], []]
    for given in (people, tf.ragged.constant([[["a"], ["b", "3"]], []]), (iter(person) for person in people)):
        assert text_lists(given, "people", depth=3) == [[["a"], ["b", "3"]], []]
    with pytest.raises(InputError, match=r"^people\[0\]: must be a list of lists of ids, such as .*\[0\]\[0\] is 'a'"):
        text_lists([["a"]], "people", depth=3)


def test_symbolic_tensors_are_refused():
    def traced(items):
        with pytest.raises(InputError, match="^items: a SymbolicTensor has no values to read"):
            texts(items, "items")
        return items

    tf.function(traced).get_concrete_function(tf.TensorSpec([None], tf.string))
