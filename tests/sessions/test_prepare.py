"""`prepare` on small logs with results worked out by hand."""

import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfrecsession.sessions import write
from tfrecsession.sessions.prepare import prepare
from tfrecsession.sessions.store import read_prepared

DAY = 86_400
SHOP = "synthetic:items=50,sessions=300,seed=3,days=8"
START = 1_700_000_000  # seconds, 2023-11-14T22:13:20Z


def log(*events, columns=("session", "item", "time")):
    """Returns a log of events given as tuples, with times in days after START."""
    table = {name: list(values) for name, values in zip(columns, zip(*events, strict=True), strict=True)}
    if "time" in table:
        table["time"] = [round(START + day * DAY) for day in table["time"]]
    return pa.table(table)


def lines(*sessions):
    """Returns a log of sessions s0, s1, ..., a day apart, each a string of one-letter items a minute apart."""
    return log(
        *(
            (f"s{day}", item, day + minute / 1440)
            for day, items in enumerate(sessions)
            for minute, item in enumerate(items)
        )
    )


def sessions_of(out, split):
    """Returns {session: its items as a string}, with unknown items as ?."""
    data = read_prepared(out)
    arrays = getattr(data, split)
    names = ["", "?", *data.items.ids]
    return {
        name: "".join(names[item] for item in arrays.values[low:high])
        for name, low, high in zip(arrays.column("session"), arrays.offsets, arrays.offsets[1:], strict=False)
    }


def counts(info, step, split=None):
    (found,) = (entry for entry in info["steps"] if entry["step"] == step and entry.get("split") == split)
    return found["events"], found["sessions"], found["items"]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def test_files_on_disk(out):
    events = log(
        ("u1", "b", 0.1, "view", 1.5, "s"),
        ("u1", "a", 0.0, "cart", 2.5, "s"),
        (None, "a", 1.0, None, None, "t"),
        (None, "b", 1.1, "view", 3.5, "t"),
        ("u2", "a", 9.0, "view", 4.5, "v"),
        ("u2", "b", 9.1, "view", 5.5, "v"),
        columns=("user", "item", "time", "event", "price", "session"),
    )
    info = prepare(events, out, event="event", context=["price"], min_item_support=1, validation_span="0d")
    assert sorted(path.name for path in out.iterdir()) == [
        "dataset.json",
        "items.parquet",
        "test",
        "train",
        "validation",
    ]
    assert json.loads((out / "dataset.json").read_text()) == info
    assert pq.read_table(out / "items.parquet").to_pydict() == {"id": [2, 3], "item": ["a", "b"], "count": [2, 2]}
    assert pq.read_schema(out / "items.parquet").types == [pa.int32(), pa.string(), pa.int64()]

    first = START * 10**6
    train = pq.read_table(out / "train" / "part-00000.parquet")
    assert train.schema.names == ["session", "user", "start", "items", "times", "event", "price"]
    assert train.schema.field("start").type == pa.timestamp("us", "UTC")
    assert train.schema.field("items").type == pa.list_(pa.int32())
    assert train.schema.field("times").type == pa.list_(pa.int64())
    assert train["start"].cast(pa.int64()).to_pylist() == [first, first + DAY * 10**6]
    assert train.drop_columns("start").to_pylist() == [
        {
            "session": "s",
            "user": "u1",
            "items": [2, 3],
            "times": [first, first + 8640 * 10**6],
            "event": ["cart", "view"],
            "price": [2.5, 1.5],
        },
        {
            "session": "t",
            "user": None,
            "items": [2, 3],
            "times": [first + 86_400 * 10**6, first + 95_040 * 10**6],
            "event": [None, "view"],
            "price": [None, 3.5],
        },
    ]
    assert pq.read_table(out / "validation").num_rows == 0
    assert info["schema"] == {
        "session": "string",
        "user": "string",
        "start": "timestamp[us, tz=UTC]",
        "items": "list<int32>",
        "times": "list<int64>",
        "event": "list<string>",
        "price": "list<double>",
    }
    assert info["splits"]["test"] == {
        "sessions": 1,
        "events": 2,
        "items": 2,
        "scored_events": 1,
        "unknown_events": 0,
        "parts": 1,
        "first": "2023-11-23T22:13:20Z",
        "last": "2023-11-24T00:37:20Z",
    }


def test_filters_run_to_the_fixed_point(out):
    # z is rare; without it s1 is short; without s1 y is rare; without y s2 is short; abc occur four times each.
    sessions = ("abc", "yz", "ya", "abc", "abc", "abc")
    info = prepare(lines(*sessions), out, min_item_support=2, validation_span="0d")
    assert counts(info, "reading") == (16, 6, 5)
    assert counts(info, "sessions shorter than 2") == (16, 6, 5)
    assert counts(info, "items with fewer than 2 events") == (15, 6, 4)
    assert counts(info, "sessions shorter than 2, round 2") == (14, 5, 4)
    assert counts(info, "items with fewer than 2 events, round 2") == (13, 5, 3)
    assert counts(info, "sessions shorter than 2, round 3") == (12, 4, 3)
    assert sessions_of(out, "train") == {"s0": "abc", "s3": "abc", "s4": "abc"}


def test_one_pass_stops_with_rare_items_left(out):
    info = prepare(
        lines("abc", "yz", "ya", "abc", "abc", "abc"), out, min_item_support=2, one_pass=True, validation_span="0d"
    )
    assert counts(info, "sessions shorter than 2, round 2") == (14, 5, 4)
    assert sessions_of(out, "train") == {"s0": "abc", "s2": "ya", "s3": "abc", "s4": "abc"}


def test_ids_are_by_falling_count_and_then_by_name(out):
    prepare(lines("ccb", "bca", "éa", "BB", "ab"), out, min_item_support=1, validation_span="0d")
    data = read_prepared(out)
    assert data.items.ids.tolist() == ["c", "B", "a", "b", "é"]
    assert data.items.counts.tolist() == [3, 2, 2, 2, 1]
    assert sessions_of(out, "test") == {"s4": "ab"}


def test_unknown_items_are_dropped_before_short_sessions(out):
    events = lines("ab", "ab", "axb", "ax", "xyab")
    info = prepare(events, out, min_item_support=1, test_span="60h", validation_span="0d")
    assert sessions_of(out, "train") == {"s0": "ab", "s1": "ab"}
    assert sessions_of(out, "test") == {"s2": "ab", "s4": "ab"}
    assert counts(info, "split by time", "test") == (9, 3, 4)
    assert counts(info, "items unknown in training", "test") == (5, 3, 2)
    assert counts(info, "sessions shorter than 2", "test") == (4, 2, 2)

    info = prepare(
        events, out, min_item_support=1, test_span="60h", validation_span="0d", unknown_items="keep", overwrite=True
    )
    assert sessions_of(out, "test") == {"s2": "a?b", "s3": "a?", "s4": "??ab"}
    assert info["splits"]["test"]["unknown_events"] == 4


def test_a_session_on_the_border_belongs_to_the_later_split(out):
    events = log(
        *((name, item, day) for name, day in zip("pqrst", (0, 1, 2, 3, 4), strict=True) for item in "ab"),
        ("t", "a", 5),
    )
    prepare(events, out, min_item_support=1, test_span="2d", validation_span="1d")  # the log ends on day 5
    assert [list(sessions_of(out, split)) for split in ("train", "validation", "test")] == [
        ["p", "q"],
        ["r"],
        ["s", "t"],
    ]


def test_split_by_end_moves_a_long_session(out):
    events = log(("p", "a", 0), ("p", "b", 9.5), ("q", "a", 1), ("q", "b", 2), ("r", "a", 9), ("r", "b", 10))
    options = {"min_item_support": 1, "validation_span": "0d", "overwrite": True}
    prepare(events, out, **options)
    assert list(sessions_of(out, "train")) == ["p", "q"]
    prepare(events, out, split_by="end", **options)
    assert list(sessions_of(out, "train")) == ["q"]


def test_shares_of_sessions_are_rounded_up(out):
    prepare(lines(*["ab"] * 7), out, min_item_support=1, test_span="15%", validation_span="30%")
    assert [len(sessions_of(out, split)) for split in ("train", "validation", "test")] == [2, 3, 2]


def test_users_are_cut_at_gaps(out):
    minute = 1 / 1440
    events = log(
        ("u", "a", 0),
        ("u", "b", 30 * minute),
        ("u", "c", 61 * minute),
        ("u", "a", 62 * minute),
        ("v", "b", 10 * minute),
        ("v", "c", 20 * minute),
        (None, "a", 0),
        ("w", "a", 2),
        ("w", "b", 2),
        columns=("user", "item", "time"),
    )
    info = prepare(events, out, min_item_support=1, validation_span="0d")
    assert sessions_of(out, "train") == {"u/1": "ab", "v/1": "bc", "u/2": "ca"}
    assert sessions_of(out, "test") == {"w/1": "ab"}
    assert read_prepared(out).train.column("user").tolist() == ["u", "v", "u"]
    assert info["options"]["gap"] == "30m"
    assert counts(info, "reading") == (9, None, 3)
    assert counts(info, "events without a user") == (8, None, 3)
    assert counts(info, "sessions cut at idle gaps over 30m") == (8, 4, 3)
    assert "1 events without a user were dropped" in " ".join(info["notes"])


def test_a_gap_cuts_the_sessions_of_a_log_further(out):
    events = log(("s", "a", 0), ("s", "b", 0.1), ("s", "a", 3), ("s", "b", 3.1), ("t", "b", 5), ("t", "a", 5.1))
    prepare(events, out, gap="2d", min_item_support=1, validation_span="0d")
    assert sessions_of(out, "train") == {"s/1": "ab", "s/2": "ab"}
    assert sessions_of(out, "test") == {"t/1": "ba"}


def test_sessions_of_several_users_are_kept_and_noted(out):
    events = log(
        ("s", "u", "a", 0.1),
        ("s", "v", "b", 0),
        ("t", None, "a", 1),
        ("t", "w", "b", 1),
        ("x", None, "a", 5),
        ("x", None, "b", 5),
        columns=("session", "user", "item", "time"),
    )
    info = prepare(events, out, min_item_support=1, validation_span="0d")
    assert sessions_of(out, "train") == {"s": "ba", "t": "ab"}
    assert read_prepared(out).train.column("user").tolist() == ["u", "w"]
    assert any("1 session ids occur with more than one user" in note for note in info["notes"])


def test_duplicate_rows_are_dropped_and_counted(out):
    events = lines("aab", "ab", "ab")
    twice = pa.concat_tables([events, events.slice(0, 2)])
    info = prepare(twice, out, min_item_support=1, validation_span="0d")
    assert counts(info, "duplicate rows") == (7, 3, 2)
    assert sessions_of(out, "train") == {"s0": "aab", "s1": "ab"}
    prepare(twice, out, min_item_support=1, validation_span="0d", keep_duplicates=True, overwrite=True)
    assert sessions_of(out, "train") == {"s0": "aaaab", "s1": "ab"}


def test_consecutive_repeats_are_dropped_on_request(out):
    events = lines("aabbab", "aa", "ab", "ab")
    info = prepare(events, out, min_item_support=1, validation_span="0d", drop_repeats=True)
    assert counts(info, "consecutive repeats") == (9, 4, 2)
    assert sessions_of(out, "train") == {"s0": "abab", "s2": "ab"}


def test_ties_of_time_keep_the_order_of_the_rows(out):
    rows = [("s", item, 0) for item in "dbca"] + [("t", item, 3) for item in "ab"]
    prepare(log(*rows), out, min_item_support=1, validation_span="0d", test_span="1d")
    assert sessions_of(out, "train") == {"s": "dbca"}


def test_a_given_test_split_is_not_changed(out, tmp_path):
    (tmp_path / "train.txt").write_text("a b c\nb c\na b\nc\n")
    (tmp_path / "test.txt").write_text("a x b\nx\nc b\n")
    info = prepare(tmp_path / "train.txt", out, test_input=tmp_path / "test.txt")
    assert sessions_of(out, "train") == {"1": "abc", "2": "bc", "3": "ab"}
    assert sessions_of(out, "test") == {"1": "a?b", "2": "?", "3": "cb"}
    assert info["splits"]["test"]["unknown_events"] == 2 and not info["timed"]
    assert info["options"]["min_item_support"] == 1 and info["options"]["validation_span"] == "0d"

    prepare(
        tmp_path / "train.txt",
        out,
        test_input=tmp_path / "test.txt",
        unknown_items="drop",
        validation_span="34%",
        overwrite=True,
    )
    assert sessions_of(out, "train") == {"1": "abc"}
    assert sessions_of(out, "validation") == {"2": "bc", "3": "ab"}
    assert sessions_of(out, "test") == {"1": "ab", "3": "cb"}


def test_parts_change_neither_content_nor_fingerprint(out, tmp_path, monkeypatch):
    events = lines(*["ab", "abc", "cba", "bb"] * 10)
    options = {"min_item_support": 1, "test_span": "20%", "validation_span": "0d"}
    whole = prepare(events, out, **options)
    monkeypatch.setattr(write, "PART", 20)
    monkeypatch.setattr(write, "BLOCK", 4)
    monkeypatch.setattr(write, "ROWS", 3)
    parts = prepare(events, tmp_path / "parts", **options)
    assert whole["splits"]["train"]["parts"] == 1 and parts["splits"]["train"]["parts"] == 4
    assert parts["fingerprint"] == whole["fingerprint"]
    one, many = read_prepared(out).train, read_prepared(tmp_path / "parts").train
    assert one.values.tolist() == many.values.tolist() and one.offsets.tolist() == many.offsets.tolist()
    for name in one.columns:
        assert one.column(name).tolist() == many.column(name).tolist()


def test_fingerprint_depends_on_data_and_options(out, tmp_path):
    def fingerprint(events, **options):
        options = {"min_item_support": 1, "validation_span": "0d", "overwrite": True} | options
        return prepare(events, out, **options)["fingerprint"]

    events = lines("abc", "abc", "abd", "ab")
    first = fingerprint(events)
    path = tmp_path / "elsewhere.parquet"
    pq.write_table(events.rename_columns(["visit", "thing", "when"]), path)
    assert fingerprint(path, item="thing", session="visit", time="when", memory="1GB") == first
    others = [
        fingerprint(lines("abc", "abc", "abe", "ab")),
        fingerprint(lines("abc", "acb", "abd", "ab")),
        fingerprint(events.set_column(0, "session", pa.array(["x"] * 3 + events["session"].to_pylist()[3:]))),
        fingerprint(events.set_column(2, "time", pa.array([t + 1 for t in events["time"].to_pylist()]))),
        fingerprint(events.append_column("event", pa.array(["view"] * len(events))), event="event"),
        fingerprint(events, min_session_length=1),
    ]
    assert len({first, *others}) == 7


def test_the_synthetic_shop_has_item_content(out):
    seen = []
    info = prepare(SHOP, out, progress=lambda step, done: seen.append((step, done)))
    assert info["shop"] == SHOP
    items = pq.read_table(out / "items.parquet")
    assert list(info["content"]) == items.column_names[3:] and info["content"]
    assert items.slice(0, 1)["item"][0].as_py().startswith("item-") and not items[items.column_names[3]].null_count
    assert seen[0] == ("reading", None) and {"vocabulary", "writing train"} <= {step for step, _ in seen}
    assert all(done is None or 0 <= done <= 1 for _, done in seen)


def test_prepare_does_not_import_tensorflow(tmp_path):
    program = (
        "import sys; from tfrecsession.sessions.prepare import prepare; from tfrecsession.sessions.store import "
        "read_prepared; prepare('synthetic:items=50,sessions=300', sys.argv[1]); "
        "read_prepared(sys.argv[1]).train.values; "
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "out"], check=True)
