"""Cells that spell a missing value are no user, session or item, in every form of a log."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tfrecsession as trs
from tfrecsession.cli import main
from tfrecsession.errors import InputError
from tfrecsession.events.null_values import USUAL
from tfrecsession.events.readers import read_events
from tfrecsession.sessions.prepare import prepare

START = 1_577_836_800
DAY = 86_400


def log(users, with_sessions=True):
    """Returns two events per user; every three users share a day."""
    columns = {
        "session": [f"s{index}" for index, _ in enumerate(users) for _ in "12"],
        "user": [user for user in users for _ in "12"],
        "item": ["a", "b"] * len(users),
        "time": [START + DAY * (index // 3) + 3_600 * index + step for index, _ in enumerate(users) for step in (0, 1)],
    }
    return columns if with_sessions else {name: column for name, column in columns.items() if name != "session"}


def as_csv(columns, path, delimiter=","):
    lines = [columns, *zip(*columns.values(), strict=True)]
    path.write_text("".join(delimiter.join(map(str, line)) + "\n" for line in lines))
    return path


def users_of(events):
    return events.connection.to_pyarrow(events.table.order_by("order")).column("user").to_pylist()[::2]


@pytest.mark.parametrize("value", [*USUAL, "", " ", " NA "])
@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet", "frame"])
def test_null_values_are_no_user(value, suffix, tmp_path):
    columns = log(["ann", value, "bob", value])
    path = tmp_path / f"log.{suffix}"
    if suffix == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in pd.DataFrame(columns).to_dict("records")))
    elif suffix == "parquet":
        pq.write_table(pa.table(columns), path)
    elif suffix == "frame":
        path = pd.DataFrame(columns)
    else:
        as_csv(columns, path, "," if suffix == "csv" else "\t")
    events = read_events(path)
    assert users_of(events) == ["ann", None, "bob", None]
    assert events.missing == {"user": 4}


@pytest.mark.parametrize("value", ["Nan", "na", "none", "Nancy", "NA1", "N", "nul", "0", "-1", "-"])
def test_similar_texts_are_ids(value, tmp_path):
    assert users_of(read_events(as_csv(log(["ann", value]), tmp_path / "log.csv"))) == ["ann", value]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("0,unknown", ["NA", None, None, "7"]),
        ([0, "unknown"], ["NA", None, None, "7"]),
        (["NA", np.int64(0)], [None, None, "unknown", "7"]),
        ("", ["NA", "0", "unknown", "7"]),
        ([], ["NA", "0", "unknown", "7"]),
        (None, [None, "0", "unknown", "7"]),
    ],
)
def test_chosen_null_values(values, expected, tmp_path):
    path = as_csv(log(["NA", "0", "unknown", "7"]), tmp_path / "log.csv")
    assert users_of(read_events(path, null_values=values)) == expected


def test_whole_floats_in_texts(tmp_path):
    path = as_csv(log(["17850.0", "NA", "-1.0", "3.5"]), tmp_path / "log.csv")
    assert users_of(read_events(path)) == ["17850", None, "-1", "3.5"]
    assert users_of(read_events(path, null_values=[-1])) == ["17850.0", "NA", "-1.0", "3.5"]  # NA is a text
    assert users_of(read_events(path, null_values="NA,-1")) == ["17850", None, None, "3.5"]
    path = as_csv(log(["1.0", "v2.0"]), tmp_path / "versions.csv")
    assert users_of(read_events(path)) == ["1.0", "v2.0"]


@pytest.mark.parametrize("values", [[None], [float("nan")], [True], [["NA"]]])
def test_values_that_are_no_texts(values, tmp_path):
    with pytest.raises(InputError, match=r"^null_values\[0\]="):
        read_events(as_csv(log(["ann"]), tmp_path / "log.csv"), null_values=values)


@pytest.mark.parametrize("part", ["item", "session"])
def test_a_missing_item_or_session_is_a_bad_row(part, tmp_path):
    columns = log(["ann", "bob"])
    columns[part][2] = "NULL"
    path = as_csv(columns, tmp_path / "log.csv")
    with pytest.raises(InputError) as error:
        read_events(path)
    assert f"1 row has no usable {part} in column '{part}', the first is row 3" in str(error.value)
    assert "is a null value (see null_values=): 'NULL'" in str(error.value)
    events = read_events(path, drop_bad_rows=True)
    assert events.connection.to_pyarrow(events.table.count()).as_py() == 3
    assert events.missing == {part: 1}


def test_anonymous_sessions_are_counted(tmp_path):
    path = as_csv(log(["ann", "NA", "\\N"] * 6), tmp_path / "log.csv")
    info = prepare(path, tmp_path / "out", min_item_support=1)
    (step,) = [step for step in info["steps"] if step["step"] == "null values"]
    assert step["null_values"] == {"user": 24}
    assert step["events"] == info["steps"][0]["events"] == 36
    assert set(trs.load(tmp_path / "out").train.column("user")) == {"ann", None}
    (note,) = [note for note in info["notes"] if "null_values=" in note]
    assert note.startswith("column 'user': 24 values ('NA', '\\N') stand for no user")


def test_without_sessions_no_user_makes_no_session(tmp_path):
    path = as_csv(log(["ann", "NULL", "bob"] * 6, with_sessions=False), tmp_path / "log.csv")
    info = prepare(path, tmp_path / "out", min_item_support=1)
    assert {step["step"]: step["events"] for step in info["steps"]}["events without a user"] == 24
    assert set(trs.load(tmp_path / "out").train.column("user")) == {"ann", "bob"}


def test_the_command_line_takes_null_values(tmp_path, capsys):
    path = as_csv(log(["ann", "NA", "0"] * 6), tmp_path / "log.csv")
    command = ["prepare", str(path), "--out", str(tmp_path / "out"), "--min-item-support", "1"]
    assert main([*command, "--null-values", "0,-"]) == 0
    assert "null values (user 12)" in capsys.readouterr().out
    assert set(trs.load(tmp_path / "out").train.column("user")) == {"ann", "NA", None}
    assert main([*command, "--null-values", "", "--overwrite"]) == 0
    assert set(trs.load(tmp_path / "out").train.column("user")) == {"ann", "NA", "0"}
