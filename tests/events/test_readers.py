"""Every format gives the same event table, and every broken input a one-line error that says what to do."""

import gzip
import json
import uuid
from pathlib import Path

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfrecsession.errors import InputError
from tfrecsession.events.readers import read_events
from tfrecsession.events.schema import Columns

START = 1_577_836_800  # 2020-01-01 00:00:00 UTC
ODD = [
    "007",
    "a b",
    "'; drop table x",
    'say "hi"',
    "שלום",
    "🛍️",
    "naïve,café",
    "tab\there",
    "\\N",
    "NULL",
    "İ",
    "two\nlines",
]


def rows(events):
    """Returns the event table as a list of dicts, in the order of the source."""
    return events.connection.to_pyarrow(events.table.order_by("order")).to_pylist()


def column(events, name):
    return [row[name] for row in rows(events)]


def message(source, columns=None, **options):
    with pytest.raises(InputError) as error:
        read_events(source, columns, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def write(path: Path, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


# ---------------------------------------------------------------- formats

TABLE = {
    "session_id": ["s1", "s1", "s2"],
    "user_id": ["u1", "u1", None],
    "item_id": ["007", "é🙂", "3"],
    "timestamp": [START, START + 60, START + 3600],
    "kind": ["view", "cart", "view"],
    "price": [1.5, 2.0, 3.25],
}
COLUMNS = Columns(event="kind", context=("price",))
EXPECTED = [
    {
        "price": price,
        "item": item,
        "time": time * 1_000_000,
        "order": order,
        "session": session,
        "user": user,
        "event": kind,
    }
    for order, (session, user, item, time, kind, price) in enumerate(zip(*TABLE.values(), strict=True), 1)
]


def delimited(delimiter, end="\n"):
    lines = [TABLE, *zip(*TABLE.values(), strict=True)]
    return "".join(delimiter.join("" if value is None else str(value) for value in line) + end for line in lines)


def json_lines():
    return pd.DataFrame(TABLE).to_json(orient="records", lines=True, force_ascii=False)


def parquet_bytes():
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(TABLE), sink)
    return sink.getvalue().to_pybytes()


FILES = {
    "log.csv": lambda: delimited(","),
    "log.csv.gz": lambda: delimited(","),
    "windows.csv": lambda: "\ufeff" + delimited(";", "\r\n"),
    "bars.CSV": lambda: delimited("|"),
    "tabs.csv": lambda: delimited("\t"),
    "log.tsv": lambda: delimited("\t"),
    "log.tsv.gz": lambda: delimited("\t"),
    "log.jsonl": json_lines,
    "log.ndjson": json_lines,
    "log.json": json_lines,
    "log.jsonl.gz": json_lines,
    "log.parquet": parquet_bytes,
    "odd name [1] *?'\" ü.csv": lambda: delimited(","),
    "odd name [1] *?'\" ü.parquet": parquet_bytes,
    "odd name [1] *?'\" ü.jsonl": json_lines,
}


@pytest.mark.parametrize("name", FILES)
def test_every_file_format_gives_the_same_events(name, tmp_path):
    (tmp_path / "odd name 1 xx'\" ü.csv").write_text("item\nfrom the wrong file\n")
    path = write(tmp_path / name, FILES[name]())
    events = read_events(path, COLUMNS)
    assert rows(events) == EXPECTED
    assert events.timed and events.source == str(path) and events.context == ("price",)
    assert dict(events.table.schema().items()) == {
        "price": ibis.dtype("float64"),
        "item": ibis.dtype("string"),
        "time": ibis.dtype("int64"),
        "order": ibis.dtype("int64"),
        "session": ibis.dtype("string"),
        "user": ibis.dtype("string"),
        "event": ibis.dtype("string"),
    }


def batches():
    table = pa.table(TABLE)
    return pa.RecordBatchReader.from_batches(table.schema, iter(table.to_batches(max_chunksize=2)))


def ibis_table():
    connection = ibis.duckdb.connect()
    connection.con.register("arrow", pa.table(TABLE))
    return connection.create_table("log", connection.table("arrow"))


SOURCES = {
    "pandas": lambda: pd.DataFrame(TABLE),
    "arrow": lambda: pa.table(TABLE),
    "stream": batches,
    "ibis": ibis_table,
    "memtable": lambda: ibis.memtable(pd.DataFrame(TABLE)),
    "str": None,
}


@pytest.mark.parametrize("kind", ["pandas", "arrow", "stream", "ibis", "memtable"])
@pytest.mark.parametrize("given", [False, True], ids=["own connection", "given connection"])
def test_every_table_in_memory_gives_the_same_events(kind, given):
    connection = ibis.duckdb.connect() if given else None
    events = read_events(SOURCES[kind](), COLUMNS, connection=connection)
    assert rows(events) == EXPECTED
    assert rows(events) == EXPECTED  # a one-shot stream has been stored
    assert connection is None or events.connection is connection


def test_an_ibis_table_stays_on_its_connection():
    table = ibis_table()
    assert read_events(table).connection is table.get_backend()


def test_paths_as_text_relative_and_with_a_format(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "log.dat", delimited(","))
    assert rows(read_events("log.dat", COLUMNS, format="csv")) == EXPECTED


def test_a_folder_of_parquet_is_read_in_the_order_of_the_names(tmp_path):
    folder = tmp_path / "it's a log"
    for day, names in {"day=2": ["c"], "day=1": ["a", "b"]}.items():
        (folder / day).mkdir(parents=True)
        for name in names:
            table = pa.table({"item": [f"{name}{i}" for i in range(3)], "time": [START] * 3})
            pq.write_table(table, folder / day / f"{name}.parquet")
    (folder / "_temporary").mkdir()
    (folder / "_temporary" / "half.parquet").write_text("junk")
    (folder / "_SUCCESS").touch()
    events = read_events(folder, Columns(context=("day",)))
    assert column(events, "item") == ["a0", "a1", "a2", "b0", "b1", "b2", "c0", "c1", "c2"]
    assert column(events, "order") == list(range(1, 10))
    assert column(events, "day") == [1] * 6 + [2] * 3


def test_files_of_a_folder_may_differ_in_columns(tmp_path):
    pq.write_table(pa.table({"item": [1], "time": [START]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"time": [START], "page": ["home"], "item": [2]}), tmp_path / "b.parquet")
    events = read_events(tmp_path, Columns(context=("page",)))
    assert column(events, "item") == ["1", "2"]
    assert column(events, "page") == [None, "home"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ["log.txt", "log.txt.gz"])
def test_a_session_per_line(name, end, tmp_path):
    lines = ["a b  a", "", "   ", ' 🙂\t"c ', "d"]
    events = read_events(write(tmp_path / name, end.join(lines)))
    assert not events.timed
    assert column(events, "item") == ["a", "b", "a", "🙂", '"c', "d"]
    assert column(events, "session") == ["1", "1", "1", "4", "4", "5"]
    assert column(events, "time") == column(events, "order") == [1, 2, 3, 4, 5, 6]


def test_a_log_without_times_is_in_the_order_of_its_rows(tmp_path):
    events = read_events(write(tmp_path / "log.csv", "item,session\nb,1\na,1\n"))
    assert not events.timed and "order of the rows" in events.notes[0]
    assert column(events, "time") == column(events, "order") == [1, 2]


def test_a_given_time_column_must_exist(tmp_path):
    path = write(tmp_path / "log.csv", "item,when\nb,1\n")
    assert "no column 'time' (time='time'); columns, nearest first: item, when" in message(path, Columns(time="time"))


def test_the_order_of_a_large_source_is_kept(tmp_path):
    numbers = np.arange(300_000)
    table = pa.table({"item": numbers, "time": np.full(len(numbers), START)})
    pq.write_table(table, tmp_path / "log.parquet", row_group_size=10_000)
    pd.DataFrame({"item": numbers, "time": START}).to_csv(tmp_path / "log.csv", index=False)
    for source in (tmp_path / "log.parquet", tmp_path / "log.csv", table, table.to_reader(1000)):
        events = read_events(source)
        wrong = events.table.filter(events.table.item.cast("int64") + 1 != events.table.order)
        assert events.connection.to_pyarrow(wrong.count()).as_py() == 0


def test_the_synthetic_shop_is_a_source():
    events = read_events("synthetic:items=20,sessions=50,seed=1", Columns(event="event"))
    found = rows(events)
    assert len({row["session"] for row in found}) == 50
    assert {row["item"] for row in found} <= set(events.content["item"].to_pylist())
    assert set(found[0]) == {"item", "time", "order", "session", "user", "event"}
    assert [row["time"] for row in found[:9]] == column(read_events("synthetic:items=20,sessions=50,seed=1"), "time")[
        :9
    ]


# ---------------------------------------------------------------- ids and context


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet", "pandas"])
def test_any_text_is_an_id(suffix, tmp_path):
    frame = pd.DataFrame({"item": ODD, "time": START})
    path = tmp_path / f"log.{suffix}"
    if suffix == "csv":
        frame.to_csv(path, index=False)
    elif suffix == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif suffix == "parquet":
        pq.write_table(pa.Table.from_pandas(frame), path)
    source = frame if suffix == "pandas" else path
    assert column(read_events(source, null_values=[]), "item") == ODD  # \\N and NULL too


def test_numbers_and_uuids_are_ids(tmp_path):
    key = uuid.UUID(int=1)
    table = pa.table(
        {
            "item": pa.array([2**63 - 1, 5]),
            "session": pa.array([key.bytes, key.bytes], pa.uuid()),
            "user": pa.array([17850.0, None]),
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")
    for source in (table, tmp_path / "log.parquet"):
        events = read_events(source)
        assert column(events, "item") == ["9223372036854775807", "5"]
        assert column(events, "session") == [str(key)] * 2
        assert column(events, "user") == ["17850", None]


def test_objects_of_several_kinds_in_a_data_frame_are_ids():
    key = uuid.UUID(int=1)
    frame = pd.DataFrame({"item": [1, "a", key], "user": [None, key, key], "session": pd.Categorical(["x", "y", "x"])})
    events = read_events(frame)
    assert column(events, "item") == ["1", "a", str(key)]
    assert column(events, "user") == [None, str(key), str(key)]
    assert column(events, "session") == ["x", "y", "x"]


def test_floats_in_json_are_ids_as_in_a_data_frame(tmp_path):
    path = write(tmp_path / "log.jsonl", '{"item": 17850.0}\n{"item": 3}\n{"item": 1.5}\n')
    assert column(read_events(path), "item") == ["17850", "3", "1.5"]


def test_a_key_that_first_occurs_late_in_json_is_a_column(tmp_path):
    lines = ['{"item": 1}'] * 30_000 + ['{"item": 2, "user": "late", "page": "home"}']
    path = write(tmp_path / "log.jsonl", "\n".join(lines))
    assert rows(read_events(path, Columns(context=("page",))))[-1] == {
        "page": "home",
        "item": "2",
        "time": 30_001,
        "order": 30_001,
        "user": "late",
    }
    assert "no column 'pages'" in message(path, Columns(context=("pages",)))


def test_floats_that_have_lost_digits_are_noted():
    events = read_events(pa.table({"item": [1.0, 2.0**60, float("inf")]}))
    assert "'item' holds floats, and 2 of its ids are too large" in events.notes[0]


def test_strings_that_parquet_calls_bytes(tmp_path):
    pq.write_table(pa.table({"item": [b"a", "é".encode()]}), tmp_path / "log.parquet")
    assert column(read_events(tmp_path / "log.parquet"), "item") == ["a", "é"]


def test_an_empty_user_is_anonymous(tmp_path):
    assert column(read_events(pa.table({"item": ["a", "b"], "user": ["", None]})), "user") == [None, None]
    assert column(read_events(write(tmp_path / "l.csv", 'item,user\na,\nb,""\nc,d\n')), "user") == [None, None, "d"]


def test_lists_are_not_ids(tmp_path):
    table = pa.table({"item": [1], "user": [[1, 2]]})
    assert "column 'user' holds array<int64>, which cannot be an id" in message(table)
    assert "column 'item' holds array<array<int64>>, which cannot be an id" in message(pa.table({"item": [[[1, 2]]]}))
    path = write(tmp_path / "log.jsonl", '{"item": {"id": 1}}\n')
    assert "column 'item' holds struct<id: int64>, which cannot be an id" in message(path)


def test_context_of_a_csv_gets_its_types(tmp_path):
    path = write(tmp_path / "log.csv", "item,n,x,code,word,none\na,1,1,01,u,\nb,-2,2.5,02,3,\nc,0,-.5e3,,,\n")
    events = read_events(path, Columns(context=("n", "x", "code", "word", "none")))
    first = {name: column(events, name) for name in events.context}
    assert first == {
        "n": [1, -2, 0],
        "x": [1.0, 2.5, -500.0],
        "code": ["01", "02", None],
        "word": ["u", "3", None],
        "none": [None, None, None],
    }


def test_context_of_json_keeps_its_types(tmp_path):
    lines = '{"item":"a","n":1,"b":true,"text":"5","deep":{"x":1}}\n{"item":"b","n":2.5,"b":null,"text":"6"}\n'
    events = read_events(write(tmp_path / "log.jsonl", lines), Columns(context=("n", "b", "text", "deep")))
    assert column(events, "n") == [1.0, 2.5]
    assert column(events, "b") == [True, None]
    assert column(events, "text") == ["5", "6"]
    assert json.loads(column(events, "deep")[0]) == {"x": 1}


def test_a_csv_column_without_a_name_is_ignored(tmp_path):
    pd.DataFrame({"item": ["a"], "time": [START]}).to_csv(tmp_path / "log.csv")  # the index has no name
    assert column(read_events(tmp_path / "log.csv"), "item") == ["a"]


# ---------------------------------------------------------------- bad rows


def test_missing_ids_are_reported_with_column_count_and_row(tmp_path):
    path = write(tmp_path / "log.csv", f"sku,time,visit\na,{START},1\n,{START},1\nb,{START},\n,{START},2\n")
    error = message(path, Columns(item="sku", session="visit"))
    assert error == (
        f"{path}: 2 rows have no usable item in column 'sku', the first is row 2, which is empty; fix them, or leave "
        "them out with drop_bad_rows=True; if they are searches and the like, keep them with itemless='keep'"
    )
    path = write(tmp_path / "log.csv", f"sku,time,visit\na,{START},1\nb,{START},\n")
    error = message(path, Columns(item="sku", session="visit"))
    assert "1 row has no usable session in column 'visit', the first is row 2, which is empty" in error


def test_nan_is_a_missing_id(tmp_path):
    pq.write_table(pa.table({"item": [1.0, float("nan")]}), tmp_path / "log.parquet")
    assert "the first is row 2" in message(tmp_path / "log.parquet")
    assert "the first is row 2" in message(pd.DataFrame({"item": [1.0, float("nan")]}))


def test_bad_rows_are_left_out_on_request_and_noted(tmp_path):
    path = write(tmp_path / "log.csv", f"item,time\na,{START}\n,{START}\nb,soon\nc,-5\nd,{START + 1}\n")
    events = read_events(path, drop_bad_rows=True)
    assert column(events, "item") == ["a", "d"]
    assert column(events, "order") == [1, 5]
    assert [note for note in events.notes if note.startswith("left out")] == [
        "left out: 1 row has no usable item in column 'item', the first is row 2, which is empty",
        "left out: 1 row has no usable time in column 'time', the first is row 3, which is neither a number nor an "
        "ISO 8601 date: 'soon'",
        "left out: 1 row has no usable time in column 'time', the first is row 4, which is before 1970: '-5'",
    ]


def test_no_row_left_is_an_error(tmp_path):
    path = write(tmp_path / "log.csv", "item,time\na,soon\n")
    assert "no event is left without the bad rows" in message(path, drop_bad_rows=True)


def test_a_long_bad_value_is_cut(tmp_path):
    path = write(tmp_path / "log.csv", f"item,time\na,{'x' * 5000}\n")
    assert len(message(path)) < 500


# ---------------------------------------------------------------- real logs


def counts(events):
    t = events.table
    found = t.aggregate(rows=t.count(), sessions=t.session.nunique(), items=t.item.nunique(), last=t.order.max())
    return tuple(events.connection.to_pyarrow(found).to_pylist()[0].values())


def test_globo(real_data):
    columns = Columns(item="click_article_id", time="click_timestamp", context=("click_country",))
    events = read_events(real_data / "globo" / "clicks.parquet", columns)
    assert counts(events) == (1_518_889, 535_213, 25_649, 1_518_889)
    assert "milliseconds" in events.notes[0]
    days = events.table.time.max() - events.table.time.min()
    assert events.connection.to_pyarrow(days).as_py() > 7 * 86_400_000_000


def test_online_retail(real_data):
    columns = Columns(item="StockCode", time="InvoiceDate", session="InvoiceNo", user="CustomerID")
    events = read_events(real_data / "online_retail" / "online_retail.parquet", columns)
    users = events.table.user
    assert counts(events) == (541_909, 25_900, 4_070, 541_909)
    assert events.connection.to_pyarrow(users.nunique()).as_py() == 4_372
    assert events.connection.to_pyarrow(users.isnull().sum()).as_py() == 135_080
    assert rows(events)[0]["user"] == "17850"


@pytest.mark.parametrize(("part", "expected"), [("train", (116_167, 486_026)), ("test", (15_324, 71_222))])
def test_yoochoose(part, expected, real_data):
    events = read_events(real_data / "yoochoose1_64" / f"{part}_sessions.txt")
    rows_, sessions, _, last = counts(events)
    assert (sessions, rows_) == expected and last == rows_
