"""The JSON form of rules: one line for each wrong input, and the texts of a right one."""

import pyarrow as pa
import pytest

from tfrecsession import InputError
from tfrecsession.rules import ItemAttributes, read_rules, rule_texts
from tfrecsession.sessions.vocabulary import Items

KNOWN = {
    "columns": {"category": "category", "tags": "list", "price": "number", "sale": "category"},
    "similar": ["model", "photo", "content"],
    "candidates": 200,
}


def test_a_request_becomes_texts_in_the_order_in_which_rules_act():
    rules = {
        "diversity": {"strength": 0.3, "method": "dpp", "on": "photo"},
        "at_most": {"category": 2},
        "pin": {"b": 3, "a": 1},
        "boost": {"where": {"tags": "new"}, "by": -1},
        "popularity": 0.5,
        "filter": {
            "category": ["shoes", "boots"],
            "price": {"between": [10, None]},
            "sale": True,
            "tags": {"not": "old"},
        },
    }
    assert [text.replace("\t", "|") for text in rule_texts(rules, 1, KNOWN, 5)[0]] == [
        "in|category|shoes|boots",
        "between|price|10|",
        "is|sale|true",
        "not_in|tags|old",
        "popularity|0.5",
        "boost|-1.0|in|tags|new",
        "pin|1|a",
        "pin|3|b",
        "at_most|category|2",
        "diversity|0.3|dpp|photo",
    ]
    assert rule_texts(None, 2) == [[], []] == rule_texts([{}, None], 2)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"filtre": {}}, "'filtre' is unknown: must be one of filter, .*; did you mean 'filter'"),
        ({"filter": {"colour": "red"}}, "filter: 'colour': no such column that rules read; there are category, tags, "),
        ({"filter": {"categry": "red"}}, "did you mean 'category'"),
        ({"filter": ["category"]}, "filter=.*: must be an object, such as"),
        ({"filter": {"category": []}}, "must be a value of the column, or a list of at least one"),
        ({"filter": {"category": {"betwen": [1, 2]}}}, "must be a value, a list of values"),
        ({"filter": {"category": {"between": [1, 2]}}}, "the column is a category: must be one of its values"),
        ({"filter": {"price": 3}}, "the column is a number: must be {'between': "),
        ({"filter": {"price": {"between": [5, 1]}}}, "low must not be above high"),
        ({"filter": {"price": {"between": [None, None]}}}, "must be two numbers, low and high"),
        ({"filter": {"price": {"between": ["1", 2]}}}, "must be two numbers, low and high"),
        ({"filter": {"tags": True}}, "the column is a list"),
        ({"filter": {"category": "a\tb"}}, "must not have a tab"),
        ({"popularity": -1}, "popularity=-1: must be a number from 0"),
        ({"popularity": True}, "popularity=True: must be a number from 0"),
        ({"boost": {"where": {"category": "a"}}}, "must have 'where' and 'by'"),
        ({"boost": [{"where": {"category": "a", "tags": "b"}, "by": 1}]}, "must be a condition on one column"),
        ({"boost": [{"where": {"category": "a"}, "by": float("nan")}]}, "boost: by=nan: must be a number from -100"),
        ({"pin": {"a": 6}}, "pin: 'a': position 6 must be a whole number from 1 to 5, the length of the list"),
        ({"pin": {"a": 0}}, "position 0 must be"),
        ({"pin": {"a": 1, "b": 1}}, "'a' and 'b' are both at position 1"),
        ({"pin": "a"}, "pin='a': must be an object or a list"),
        ({"at_most": {"category": -1}}, "at_most: category=-1: must be a whole number of items, 0 or more"),
        ({"at_most": {"category": 1.5}}, "must be a whole number"),
        ({"at_most": {"price": 2}}, "'price' is a number: must be a category"),
        ({"at_most": 2}, "at_most=2: must be an object"),
        ({"diversity": 1.5}, "strength=1.5: must be a number from 0 to 1"),
        ({"pin": ["i1", "i1"]}, "pin: 'i1' must stand there once"),
        ({"diversity": {"method": "mrm"}}, "must be one of mean, mmr, dpp; did you mean 'mmr'"),
        ({"diversity": {"lambda": 1}}, "'lambda' is unknown: must be one of strength, method, on"),
        ({"diversity": {"on": "foto"}}, "on='foto': must be one of model, photo, content; did you mean 'photo'"),
        ("filter", "must be an object of rules"),
        ([{}, {}, {}], "must be one for each of the 1 histories, not 3"),
        ([3], "must be an object"),
    ],
)
def test_wrong_rules_are_one_line_that_says_what_to_do(rules, message):
    with pytest.raises(InputError, match=message) as error:
        rule_texts(rules, 1, KNOWN, 5)
    assert str(error.value).startswith("rules") and "\n" not in str(error.value)


def test_without_content_the_error_says_how_to_get_it():
    with pytest.raises(InputError, match="the items have none: prepare the log with items=TABLE"):
        rule_texts({"filter": {"category": "a"}}, 1, {"columns": {}, "similar": []}, 5)
    with pytest.raises(InputError, match="neither vectors nor categories to compare"):
        rule_texts({"diversity": 0.5}, 1, {"columns": {}, "similar": []}, 5)


def test_rules_are_read_from_text_and_files(tmp_path):
    (tmp_path / "rules.json").write_text('{"popularity": 1}')
    assert read_rules(str(tmp_path / "rules.json")) == read_rules('{"popularity": 1}') == {"popularity": 1}
    for text, message in [("{", "must be JSON"), ('{"pin": {}, "pin": {}}', "given twice"), ("none.json", "or a file")]:
        with pytest.raises(InputError, match=message):
            read_rules(text)


def test_attributes_are_codes_and_numbers():
    table = pa.table(
        {
            "brand": pa.array(["b", None, "a", " b "]),
            "sale": pa.array(["True", "FALSE", None, "true"]),
            "tags": pa.array([["x", "y"], [], None, ["y"]]),
            "price": pa.array([1, None, 3, 2**30], pa.int64()),
        }
    )
    found = ItemAttributes(Items(list("abcd"), [4, 3, 2, 1], table))
    assert found.kinds == {"brand": "category", "sale": "category", "tags": "list", "price": "number"}
    assert found.values == ["brand\tb", "brand\ta", "sale\ttrue", "sale\tfalse", "tags\tx", "tags\ty"]
    assert found.codes[:, 2:].tolist() == [[1, 0, 2, 1], [3, 4, 0, 3], [5, 0, 0, 6], [6, 0, 0, 0]]
    assert found.numbers[0, [2, 4, 5]].tolist() == [1, 3, 2**30] and found.numbers.dtype == "float64"
    assert not found.codes[:, :2].any() and found.slots == {
        "brand": (0, 1),
        "sale": (1, 1),
        "tags": (2, 2),
        "price": (0, 1),
    }
