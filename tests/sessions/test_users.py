"""Tables of users: what `prepare` keeps of them, what `describe` shows, and which tables are refused."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tfrecsession as trs
from tfrecsession import InputError
from tfrecsession.sessions.describe import describe
from tfrecsession.sessions.prepare import prepare

DAYS = ("2024-01-01", "2024-01-02", "2024-01-03")
LOG = {
    "item": [item for day in DAYS for _ in "abc" for item in ("x", "y", "z")],
    "user": [user for day in DAYS for user in ("ann", "bob", "cyd") for _ in range(3)],
    "session": [f"{day}{user}" for day in DAYS for user in "abc" for _ in range(3)],
    "time": [f"{day}T10:0{minute}:00" for day in DAYS for _ in "abc" for minute in range(3)],
}
USERS = {
    "user": ["bob", "ann", "new"],
    "age": [31.0, float("nan"), 50.0],
    "tags": [["a", "b"], None, ["b"]],
    "country": ["fr", "de", "fr"],
    "taste": [[0.5, 1.0], [1.0, 0.0], None],
}


def prepared(tmp_path, users=USERS, **options):
    return prepare(pa.table(LOG), tmp_path / "data", min_item_support=1, users=users, overwrite=True, **options)


def test_features_stand_beside_the_users(tmp_path):
    """Users of training come first, by events and name, then those of the table alone; absent values are missing."""
    info = prepared(tmp_path)
    data = trs.load(tmp_path / "data")
    assert data.users.ids.tolist() == ["ann", "bob", "cyd", "new"]
    assert data.users.counts.tolist() == [3, 3, 3, 0]
    assert data.users.content.to_pydict() == {
        "age": [None, 31.0, None, 50.0],
        "tags": [None, ["a", "b"], None, ["b"]],
        "country": ["de", "fr", None, "fr"],
    }
    np.testing.assert_array_equal(data.users.tensors["taste"].values, [[1, 0], [0.5, 1], [0, 0], [0, 0]])
    assert data.users.tensors["taste"].present.tolist() == [True, True, False, False]
    columns = info["user_columns"]
    assert {name: column["kind"] for name, column in columns.items()} == {
        "age": "number",
        "tags": "list",
        "country": "category",
        "taste": "vector",
    }
    assert [columns[name]["coverage"] for name in ("age", "tags", "country")] == [0.3333, 0.3333, 0.6667]
    assert describe(tmp_path / "data")["user_columns"] == columns
    assert "features of users: age, tags, country, taste" in repr(data)
    assert repr(data.users).startswith("<Users: 4 users, 3 of training; features: age, tags, country, taste")


def test_columns_are_chosen_and_their_kinds_given(tmp_path):
    table = tmp_path / "users.csv"
    table.write_text("id,age,country\nann,31,fr\nann,31,fr\nbob,20,de\n")
    info = prepared(tmp_path, table, users_key="id", user_content=["age:category"])
    assert list(info["user_columns"]) == ["age"] and info["options"]["user_content"] == ["age:category"]
    stored = pq.read_table(tmp_path / "data" / "users.parquet")
    assert stored.to_pydict() == {"user": ["ann", "bob", "cyd"], "count": [3, 3, 3], "age": ["31", "20", None]}


def test_the_fingerprint_follows_the_features(tmp_path):
    first = prepared(tmp_path)["fingerprint"]
    assert prepared(tmp_path)["fingerprint"] == first
    assert prepared(tmp_path, {**USERS, "age": [31.0, 32.0, 50.0]})["fingerprint"] != first
    assert prepare(pa.table(LOG), tmp_path / "data", min_item_support=1, overwrite=True)["fingerprint"] != first


@pytest.mark.parametrize(
    ("users", "options", "message"),
    [
        ({"name": ["ann"], "age": [3]}, {}, r"no column of user ids found .*; there are: name, age: give users_key="),
        (USERS, {"users_key": "uid"}, "users_key='uid': no such column; there are: user, age, tags"),
        (
            USERS,
            {"user_content": ["size"]},
            "user_content='size': no such column; there are: age, tags, country, taste",
        ),
        (USERS, {"user_content": ["age:height"]}, "user_content='age:height': the kind must be one of category"),
        (
            {"user": ["ann", "ann"], "age": [3, 4]},
            {},
            "user 'ann' has several rows with different values of age: 3 and 4",
        ),
        ({"user": ["ann", None], "age": [3, 4]}, {}, "row 2: user is empty, so its user is unknown"),
        ({"user": ["ann"], "v": [[1.0, float("nan")]]}, {}, "user 'ann': v holds NaN or infinity"),
        ({"user": ["ann"], "age": ["old"]}, {"user_content": ["age:number"]}, "user 'ann': age='old' is no number"),
        ({"user": ["ann"]}, {}, "must have a column beside the key"),
        (
            {"user": ["eve"], "age": [3]},
            {},
            r"none of its users \('eve', ...\) has a session in training \('ann', ...\)",
        ),
        ({"user": ["ann"], "count": [3]}, {}, "column 'count': prepared users use this name"),
        (None, {"user_content": ["age"]}, r"user_content=\['age'\]: needs a table of users, given as users=TABLE"),
    ],
)
def test_refused(tmp_path, users, options, message):
    with pytest.raises(InputError, match=message):
        prepared(tmp_path, users, **options)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("column", ["age", "country"])
def test_a_user_with_two_values_is_refused_in_a_file_of_two_columns(tmp_path, column):
    """A file of items collects the values of its only column; in one of users, such a user is a mistake."""
    values = {"age": ("31", "32"), "country": ("de", "fr")}[column]
    table = tmp_path / "users.csv"
    table.write_text(f"user,{column}\nann,{values[0]}\nbob,{values[0]}\nann,{values[1]}\n")
    message = f"user 'ann' has several rows with different values of {column}: .*user_content='{column}:list'"
    with pytest.raises(InputError, match=message):
        prepared(tmp_path, str(table))
    table.write_text(f"user,{column}\nann,{values[0]}\nbob,{values[1]}\nann,{values[0]}\n")
    prepared(tmp_path, str(table))
    assert trs.load(tmp_path / "data").users.ids.tolist() == ["ann", "bob", "cyd"]


def test_a_log_without_users_is_refused(tmp_path):
    log = {name: values for name, values in LOG.items() if name != "user"}
    with pytest.raises(InputError, match="the log names no users, so their features belong to none: give user=COLUMN"):
        prepare(pa.table(log), tmp_path / "data", min_item_support=1, users=USERS)
