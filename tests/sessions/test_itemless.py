"""`prepare(itemless=...)`: events without an item are kept as context, dropped, or bad rows."""

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pytest

import tfrecsession as trs
from tfrecsession import InputError
from tfrecsession.cli import main
from tfrecsession.sessions.prepare import prepare

T = 1_700_000_000


def log():
    rows = [
        ("a", "x", 1, "click", None),
        ("a", None, 2, "search", "shoe"),
        ("a", "NA", 2, "search", "hat"),
        ("a", "", 2, "search", "hat"),
        ("a", "y", 3, "click", None),
        ("b", "x", 4, "click", None),
        ("b", "x", 5, "click", None),
        ("b", None, 5, "search", "hat"),
        ("b", "x", 6, "click", None),
        ("c", None, 7, "search", "sock"),
    ]
    session, item, time, event, query = map(list, zip(*rows, strict=True))
    return pa.table({"session": session, "item": item, "time": [T + t for t in time], "event": event, "query": query})


OPTIONS = {"event": "event", "context": "query", "test_span": "0d", "validation_span": "0d", "min_item_support": 1}


def whole(folder):
    train = trs.load(folder).train.whole
    ids = [train[session].tolist() for session in range(len(train))]
    return ids, train.column("query").tolist()


def test_they_are_kept_in_their_sessions(tmp_path):
    info = prepare(log(), tmp_path / "out", itemless="keep", **OPTIONS)
    assert whole(tmp_path / "out") == (
        [[2, 0, 0, 3], [2, 2, 0, 2]],
        [None, "shoe", "hat", None, None, None, "hat", None],
    )
    counts = {step["step"]: step["events"] for step in info["steps"]}
    assert counts["reading"] == 10 and counts["duplicate rows"] == 9
    assert counts["events without an item, kept as context"] == 5
    assert {name: info["splits"]["train"][name] for name in ("sessions", "events", "items", "itemless_events")} == {
        "sessions": 2,
        "events": 5,
        "items": 2,
        "itemless_events": 3,
    }
    assert trs.load(tmp_path / "out").items.counts.tolist() == [4, 1]


def test_filters_do_not_count_them(tmp_path):
    prepare(log(), tmp_path / "a", itemless="keep", min_session_length=3, **OPTIONS)
    assert whole(tmp_path / "a")[0] == [[2, 2, 0, 2]]
    prepare(log(), tmp_path / "b", itemless="keep", drop_repeats=True, **OPTIONS)
    assert whole(tmp_path / "b")[0] == [[2, 0, 0, 3], [2, 0, 2]]
    prepare(log(), tmp_path / "c", itemless="keep", max_session_length=3, **{**OPTIONS, "min_session_length": 1})
    assert whole(tmp_path / "c")[0] == [[0, 0, 3], [2, 0, 2]]


def test_they_are_dropped_and_counted(tmp_path):
    info = prepare(log(), tmp_path / "out", itemless="drop", **OPTIONS)
    assert [step["null_values"] for step in info["steps"] if "null_values" in step] == [{"item": 5}]
    assert info["splits"]["train"]["events"] == 5 and "itemless_events" not in info["splits"]["train"]
    assert trs.load(tmp_path / "out").train.whole is None


def test_a_log_without_them_is_the_same(tmp_path):
    clicks = log().filter(pa.compute.equal(log()["event"], "click"))
    first = prepare(clicks, tmp_path / "a", **OPTIONS)
    second = prepare(clicks, tmp_path / "b", itemless="keep", **OPTIONS)
    assert first["splits"] == second["splits"] and first["steps"] == second["steps"]
    assert trs.load(tmp_path / "b").train.whole is None


def test_a_given_test_split_keeps_its_own(tmp_path):
    options = {**OPTIONS, "test_span": None, "validation_span": None}
    prepare(log(), tmp_path / "out", itemless="keep", test_input=log(), **options)
    test = trs.load(tmp_path / "out").test
    assert (len(test), test.events, test.whole.events) == (2, 5, 8)


def test_errors_and_notes(tmp_path, capsys):
    with pytest.raises(InputError, match="5 rows have no usable item in column 'item', the first is row 2.*itemless="):
        prepare(log(), tmp_path / "x", **OPTIONS)
    with pytest.raises(InputError, match="itemless='maybe': choose drop or keep"):
        prepare(log(), tmp_path / "x", itemless="maybe", **OPTIONS)
    nothing = log().set_column(1, "item", pa.array([None] * 10, pa.string()))
    for itemless in ("keep", "drop"):
        with pytest.raises(InputError, match="no event has an item in column 'item'"):
            prepare(nothing, tmp_path / "x", itemless=itemless, **OPTIONS)
    silent = {name: value for name, value in OPTIONS.items() if name not in ("event", "context")}
    info = prepare(log(), tmp_path / "y", itemless="keep", **silent)
    assert any("no column says what they are" in note for note in info["notes"])
    pa.csv.write_csv(log(), tmp_path / "log.csv")
    spans = ["--test-span", "0d", "--validation-span", "0d", "--min-item-support", "1"]
    command = ["prepare", str(tmp_path / "log.csv"), "--out", str(tmp_path / "z"), *spans]
    assert main(command) == 2
    assert "keep them with --itemless keep" in capsys.readouterr().err
    assert main([*command, "--itemless", "keep", "--event", "event"]) == 0
    assert "kept as context" in capsys.readouterr().out
