"""Invalid options and logs give a one-line error and leave nothing behind."""

import pyarrow as pa
import pytest

from tfrecsession.errors import InputError
from tfrecsession.sessions.prepare import prepare

DAY = 86_400
START = 1_700_000_000


def log(sessions=10, **columns):
    """Returns `sessions` sessions a-b, one a day; further columns replace or remove (None) these."""
    days = [day for day in range(sessions) for _ in "ab"]
    table = {
        "session": [f"s{day}" for day in days],
        "item": ["a", "b"] * sessions,
        "time": [START + day * DAY for day in days],
    }
    return pa.table({name: column for name, column in (table | columns).items() if column is not None})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"gap": "30"}, "gap='30': must be a number and a unit, such as 30s, 30m, 1h, 2d or 1w"),
        ({"gap": "0m"}, "gap='0m': must be longer than 0"),
        ({"gap": "9e9d"}, "gap='9e9d': must be a number"),
        ({"gap": "99999999999w"}, "longer than any log"),
        ({"test_span": "a week"}, "a number and a unit, such as 30s, 30m, 1h, 2d or 1w .or a share such as 10%."),
        ({"test_span": "ten%"}, "test_span='ten%': must be a share such as 10% or 2.5%"),
        ({"validation_span": "100%"}, "validation_span='100%': must be less than 100%"),
        ({"split_by": "middle"}, "split_by='middle': choose start or end"),
        ({"unknown_items": "guess"}, "unknown_items='guess': choose drop or keep"),
        ({"min_item_support": 0}, "min_item_support=0: must be a whole number of at least 1"),
        ({"min_session_length": -1}, "min_session_length=-1: must be a whole number of at least 1"),
        ({"engine": "pandas"}, "engine='pandas': choose duckdb or spark"),
        ({"spark_master": "local[2]"}, "spark_master= is for engine='spark', and the engine is duckdb"),
        ({"spark_conf": {"spark.ui.enabled": True}}, "spark_conf= is for engine='spark'"),
        ({"memory": "lots"}, "memory='lots': must be a size such as 4GB or 500MB"),
        ({"test_input": "x.txt", "test_span": "1d"}, "test_span= and test_input= exclude each other"),
        ({"context": ["items"]}, "context='items': prepared sessions use this name"),
    ],
)
def test_invalid_options(options, expected, tmp_path):
    with pytest.raises(InputError, match=f"^{expected}|{expected}$") as error:
        prepare("never-read.csv", tmp_path / "out", **options)
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


UNTIMED = {"time": None}
ALL = {"min_item_support": 1, "validation_span": "0d"}


@pytest.mark.parametrize(
    ("columns", "options", "expected"),
    [
        ({"session": None}, {}, "no session and no user column: give session=NAME, or user=NAME"),
        (UNTIMED, {"gap": "30m", "test_span": "10%"}, "name them with time=NAME, or name the column whose values are"),
        (UNTIMED, {}, "give a share of the sessions, as test_span='10%', or test_input=FILE"),
        (UNTIMED, {"test_span": "1d"}, "test_span='1d' needs times, which this log lacks"),
        (UNTIMED, {"test_span": "10%", "validation_span": "1d"}, "validation_span='1d' needs times"),
        (
            {},
            {"min_item_support": 11},
            "nothing is left after 'items with fewer than 11 events' (before: 20 events, 10",
        ),
        (
            {},
            {"min_session_length": 3},
            "nothing is left after 'sessions shorter than 3' (before: 20 events, 10 sessions",
        ),
        (
            {},
            {"test_span": "30d"},
            "test_span='30d' leaves nothing to train on: the log is 9d long (2023-11-14T22:13:20Z to",
        ),
        ({}, {"test_span": "5d", "validation_span": "4d"}, "test_span='5d' and validation_span='4d' leave nothing"),
        ({}, {"test_span": "60%", "validation_span": "50%"}, "validation_span='50%' leave no session to train on"),
        (
            {},
            {"validation_span": "1h"},
            "validation: nothing is left after 'split by time' (before: 20 events, 10 sess",
        ),
        (
            {"item": [*"ab" * 9, *"xy"]},
            {**ALL, "test_span": "1h"},
            "test: nothing is left after 'items unknown in training' (before: 2 events, 1",
        ),
        (
            {"user": [None] * 20, "session": None},
            ALL,
            "nothing is left after 'events without a user' (before: 20 events",
        ),
    ],
)
def test_logs_that_leave_nothing(columns, options, expected, tmp_path):
    with pytest.raises(InputError) as error:
        prepare(log(**columns), tmp_path / "out", **options)
    assert expected in str(error.value) and "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_one_session_cannot_be_split(tmp_path):
    with pytest.raises(InputError, match="leaves nothing to train on: the log is less than a second long"):
        prepare(log(sessions=1), tmp_path / "out", min_item_support=1)


def test_a_test_split_without_times(tmp_path):
    (tmp_path / "test.txt").write_text("a b\n")
    with pytest.raises(InputError, match=r"has a column of times and .*test\.txt has none: must be in both"):
        prepare(log(), tmp_path / "out", test_input=tmp_path / "test.txt")


def test_too_little_memory_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"^memory='1MB': not enough for this log, give it more"):
        prepare(log(), tmp_path / "out", memory="1MB", **ALL)
    assert not list(tmp_path.iterdir())
