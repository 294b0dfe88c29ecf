"""One log in every form that real logs have: each form is prepared to the same data set, by its fingerprint."""

import csv
import gzip
import io
import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfrecsession.cli import main
from tfrecsession.errors import InputError
from tfrecsession.sessions.prepare import prepare

START = 1_700_000_000
NAMES = ("session", "item", "time", "event", "price")
EVENTS = [
    (f"s{session}", item, START + session * 40_000 + 30 * step, ("view", "cart")[step % 3 == 2], price)
    for session in range(16)
    for step, (item, price) in enumerate((("café", 1.5), ("007", -2.0), (f"é{session % 3}", 0.4), ("007", 12.0)))
]
OPTIONS = {"event": "event", "context": ("price",), "min_item_support": 2}


def text(events=EVENTS, header=NAMES, delimiter=",", **options):
    file = io.StringIO()
    rows = csv.writer(file, delimiter=delimiter, lineterminator="\n", **options)
    rows.writerows([header, *events] if header else events)
    return file.getvalue()


def zstd(data):
    return pa.Codec("zstd").compress(data, asbytes=True)


def fingerprint(source, out, **options):
    return prepare(source, out, overwrite=True, **{**OPTIONS, **options})["fingerprint"]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture(scope="module")
def plain_data(tmp_path_factory):
    """The data set of the log as a plain CSV file."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "plain.csv").write_text(text(), encoding="utf-8")
    fingerprint(folder / "plain.csv", folder / "data")
    return folder / "data"


@pytest.fixture(scope="module")
def plain(plain_data):
    """The fingerprint of the log as a plain CSV file."""
    return json.loads((plain_data / "dataset.json").read_text())["fingerprint"]


@pytest.fixture(scope="module")
def plain_of_positive_price(tmp_path_factory):
    """The fingerprint of the events whose price is above 0."""
    folder = tmp_path_factory.mktemp("positive")
    (folder / "kept.csv").write_text(text([event for event in EVENTS if event[4] > 0]))
    return fingerprint(folder / "kept.csv", folder / "data")


def message(source, out, **options):
    with pytest.raises(InputError) as error:
        prepare(source, out, **{**OPTIONS, **options})
    assert "\n" not in str(error.value) and not out.exists()
    return str(error.value)


# ---------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("log.csv.zst", lambda: zstd(text().encode()), {}),
        ("log.csv.zst", lambda: zstd(text()[:99].encode()) + zstd(text()[99:].encode()), {}),
        ("log.tsv.zst", lambda: zstd(text(delimiter="\t").encode()), {}),
        ("log.csv", lambda: text().encode("latin-1"), {"encoding": "latin-1"}),
        ("log.csv.gz", lambda: gzip.compress(text().encode("cp1252")), {"encoding": "cp1252"}),
        ("log.csv.zst", lambda: zstd(text().encode("latin-1")), {"encoding": "latin-1"}),
        ("log.csv", lambda: text().encode("utf-16"), {"encoding": "utf-16"}),
        ("log.csv", lambda: text().encode("utf-16-le"), {"encoding": "UTF-16LE"}),
        ("log.csv", lambda: text().encode(), {"encoding": "utf8"}),
        ("log.csv", lambda: text(header=None).encode(), {"columns": NAMES}),
        ("log.csv", lambda: ("\ufeff" + text(header=None)).encode(), {"columns": list(NAMES)}),
        ("log.csv.zst", lambda: zstd(text(header=None, delimiter=";").encode()), {"columns": NAMES}),
        ("log.dat", lambda: text(header=None).encode(), {"columns": NAMES}),
        ("log.dat", lambda: text(header=None).replace(",", "::").encode(), {"columns": NAMES}),
        ("log.txt", lambda: text(header=None, delimiter=" ").encode(), {"columns": NAMES}),
        ("log.tsv", lambda: text(header=None, delimiter="\t").encode(), {"columns": NAMES}),
        ("log", lambda: text(header=None, delimiter="|").encode(), {"columns": NAMES, "format": "csv"}),
    ],
)
def test_compressed_encoded_and_headerless_files(name, content, options, tmp_path, out, plain):
    (tmp_path / name).write_bytes(content())
    assert fingerprint(tmp_path / name, out, **options) == plain


def test_a_column_of_a_headerless_file_may_have_no_name(tmp_path, out, plain):
    rows = [(session, "x", *rest) for session, *rest in EVENTS]
    (tmp_path / "log.csv").write_text(text(rows, header=None))
    assert fingerprint(tmp_path / "log.csv", out, columns=("session", "", *NAMES[1:])) == plain


def parts(folder, suffix=".csv", header=NAMES, delimiter=","):
    """Writes the log as three files, in two folders, whose order is that of their names."""
    for name, low, high in (("2019-10/b", 20, 41), ("2019-10/a", 0, 20), ("2019-11/a", 41, None)):
        path = folder / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = text(EVENTS[low:high], header, delimiter).encode()
        packed = gzip.compress(data) if suffix.endswith(".gz") else zstd(data) if suffix.endswith(".zst") else data
        path.write_bytes(packed)
    (folder / "_SUCCESS").touch()
    (folder / ".part.csv.crc").write_text("junk")
    (folder / "README.txt").write_text("a note")
    (folder / "schema.json").write_text("{}")


@pytest.mark.parametrize(
    "suffix", [".csv.zst", *(pytest.param(suffix, marks=pytest.mark.slow) for suffix in (".csv", ".csv.gz", ".tsv"))]
)
def test_folders_and_patterns_of_parts(suffix, tmp_path, out, plain):
    folder = tmp_path / "it's [all] of 2019"
    parts(folder, suffix, delimiter="\t" if suffix == ".tsv" else ",")
    assert fingerprint(folder, out) == plain
    folder = folder.rename(tmp_path / "parts")
    assert fingerprint(f"{folder}/**/*{suffix}", out) == plain
    assert fingerprint(f"{folder}/2019-1[01]/?{suffix}", out) == plain


def test_parts_without_a_header_or_in_another_encoding(tmp_path, out, plain):
    parts(tmp_path / "parts", header=None)
    assert fingerprint(tmp_path / "parts", out, columns=NAMES) == plain
    for path in (tmp_path / "parts").rglob("a.csv"):
        path.write_bytes(path.read_text("utf-8").encode("cp1252"))
    (tmp_path / "parts/2019-10/b.csv").unlink()
    (tmp_path / "parts/2019-10/b.csv.gz").write_bytes(gzip.compress(text(EVENTS[20:41], None).encode("cp1252")))
    assert fingerprint(tmp_path / "parts", out, columns=NAMES, encoding="cp1252") == plain


def test_rows_without_times_run_on_over_the_parts(tmp_path, out):
    options = {"test_span": "20%", "event": None, "context": ()}
    rows = [event[:2] for event in EVENTS]
    (tmp_path / "plain.csv").write_text(text(rows, NAMES[:2]))
    (tmp_path / "parts").mkdir()
    for index in range(12):
        (tmp_path / f"parts/{index:02}.csv").write_text(text(rows[index * 6 : index * 6 + 6], NAMES[:2]))
    expected = fingerprint(tmp_path / "plain.csv", out, **options)
    assert fingerprint(tmp_path / "parts", out, **options) == expected


def test_parquet_files_of_a_pattern(tmp_path, out, plain):
    table = pa.table(dict(zip(NAMES, zip(*EVENTS, strict=True), strict=True)))
    for name, low, length in (("a", 0, 30), ("b", 30, 34)):
        pq.write_table(table.slice(low, length), tmp_path / f"{name}.parquet")
    assert fingerprint(tmp_path / "*.parquet", out) == plain


def test_files_that_do_not_fit(tmp_path, out):
    folder = tmp_path / "parts"
    parts(folder)
    (folder / "2019-11/a.csv").write_text(text(EVENTS[41:], NAMES[::-1]))
    error = message(folder, out)
    assert error.startswith(f"{folder / '2019-11/a.csv'}: its columns are price, event, time, item, session; those of")
    assert message(tmp_path / "no/*.csv", out).endswith("no/*.csv: no file matches")
    (folder / "x.tsv").write_text(text(delimiter="\t"))
    assert "several formats (3 of csv, 1 of tsv)" in message(folder, out)
    assert "files of several formats (csv, tsv)" in message(f"{folder}/**/*sv", out)
    path = tmp_path / "log.csv"
    path.write_text(text())
    assert "columns= is for files without a header, and the first line is" in message(path, out, columns=NAMES)
    assert "must name each of its 5 columns" in message(path, out, columns=NAMES[:4])
    assert "must be a list of names" in message(path, out, columns="item,time")
    assert "columns= is for text files, not for a Table" in message(pa.table({"item": [1]}), out, columns=NAMES)
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table({"item": [1]}), path)
    assert "encoding= is for text files, and it is read as parquet" in message(path, out, encoding="latin-1")


def test_a_file_that_is_not_utf8_names_its_line_and_the_option(tmp_path, out):
    path = tmp_path / "log.csv"
    path.write_bytes(text().encode("latin-1"))
    error = message(path, out)
    assert "not a CSV file in UTF-8: line 2 is b's0,caf\\xe9," in error and "encoding='latin-1'" in error
    path.write_bytes((text(EVENTS[1:2]) * 500 + "é").encode("latin-1"))
    assert "encoding='latin-1'" in message(path, out)
    path.write_bytes(text().encode("utf-16"))
    assert "like UTF-16 (give encoding='utf-16')" in message(path, out)
    for name in ("latin1x", "base64", ""):
        assert f"encoding={name!r}: unknown" in message(path, out, encoding=name)
    path.write_bytes(b"item,session\n\x81,1\n")
    error = message(path, out, encoding="cp1252")
    assert error.startswith(f"{path}: encoding='cp1252': does not fit")
    path.write_bytes(text().encode("latin-1"))
    assert f"{path}: two columns are called 'a'" in message(path, out, encoding="latin-1", columns=("a",) * 5)


def test_a_zst_file_that_is_none_or_is_cut_off(tmp_path, out):
    path = tmp_path / "log.csv.zst"
    path.write_bytes(text().encode())
    assert "not a Zstandard file" in message(path, out)
    path.write_bytes(zstd(text(EVENTS * 200).encode())[:-50])
    assert f"{path}: cannot be read" in message(path, out)


# ---------------------------------------------------------------- a row per session


def sessions():
    """Returns the log as rows of sessions, each with its events."""
    grouped = {}
    for session, *event in EVENTS:
        grouped.setdefault(session, []).append(dict(zip(NAMES[1:], event, strict=True)))
    return grouped


def as_lists():
    columns = {name: [[event[name] for event in events] for events in sessions().values()] for name in NAMES[1:]}
    return pa.table({"session": list(sessions()), **columns, "other": [[1]] * len(sessions())})


def as_objects():
    return [{"session": session, "events": events} for session, events in sessions().items()]


def json_lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.mark.parametrize(
    "kind",
    [
        "parquet",
        "jsonl",
        "pandas",
        *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("parts", "jsonl.zst", "arrow", "stream")),
    ],
)
@pytest.mark.parametrize("rows", ["lists", "objects"])
def test_a_row_per_session(rows, kind, tmp_path, out, plain, plain_of_positive_price):
    table = as_lists() if rows == "lists" else pa.Table.from_pylist(as_objects())
    source = tmp_path / f"log.{kind}"
    if kind == "parquet":
        pq.write_table(table, source, row_group_size=3)
    elif kind == "parts":
        source.mkdir()
        for index in range(4):
            pq.write_table(table.slice(4 * index, 4), source / f"{index}.parquet")
    elif kind.startswith("jsonl"):
        data = json_lines(table.to_pylist()).encode()
        source.write_bytes(zstd(data) if kind.endswith("zst") else data)
    else:
        source = {"arrow": table, "pandas": table.to_pandas(), "stream": table.to_reader(5)}[kind]
    assert fingerprint(source, out) == plain
    source = table.to_reader(5) if kind == "stream" else source
    assert fingerprint(source, out, where="price > 0") == plain_of_positive_price


def test_ottos_json_lines(tmp_path, out):
    """`type` and `events` also occur outside, and `ts` and `aid` are no usual names."""
    rows, flat = [], []
    for session, events in enumerate(sessions().values()):
        rows.append({"session": session, "type": "web", "events": []})
        for step, event in enumerate(events):
            one = {"aid": 10**15 + step, "ts": event["time"] * 1000 + step, "type": event["event"]}
            rows[-1]["events"].append(one)
            flat.append((session, one["aid"], one["ts"], one["type"], "web"))
    (tmp_path / "otto.jsonl").write_text(json_lines([*rows, {"session": 99, "type": "web", "events": []}]))
    (tmp_path / "flat.csv").write_text(text(flat, ("session", "aid", "ts", "event", "channel")))
    names = {"item": "aid", "time": "ts", "context": ()}
    expected = fingerprint(tmp_path / "flat.csv", out, **names)
    assert fingerprint(tmp_path / "otto.jsonl", out, **{**names, "event": "events.type"}) == expected
    for row in rows:
        del row["type"]
    (tmp_path / "otto.jsonl").write_text(json_lines(rows))
    assert fingerprint(tmp_path / "otto.jsonl", out, **{**names, "event": "type"}) == expected
    assert "there is no column 'price'" in message(
        tmp_path / "otto.jsonl", tmp_path / "x", **{**names, "event": "type", "context": ("price",)}
    )


def test_ids_in_lists_are_ids_as_in_columns(tmp_path, out):
    options = {"event": None, "context": (), "min_item_support": 1, "test_span": "20%"}
    (tmp_path / "plain.csv").write_text("session,item\n" + "".join(f"{n},{i}\n" for n in range(1, 9) for i in (17, 5)))
    expected = fingerprint(tmp_path / "plain.csv", out, **options)
    (tmp_path / "log.jsonl").write_text(json_lines([{"item": [17.0, 5]}] * 8))
    assert fingerprint(tmp_path / "log.jsonl", out, **options) == expected  # a row is a session
    table = pa.table({"item": pa.array([[17.0, 5.0]] * 8, pa.list_(pa.float32()))})
    assert fingerprint(table, out, **options) == expected
    pq.write_table(table, tmp_path / "log.parquet")
    assert fingerprint(tmp_path / "log.parquet", out, **options) == expected


def test_a_field_of_events_that_occurs_late(tmp_path, out):
    rows = [
        {"session": n, "events": [{"item": "a", "time": START + n}, {"item": "b", "time": START + n + 1}]}
        for n in range(25_000)
    ]
    rows[-1]["events"][0]["page"] = "home"
    (tmp_path / "log.jsonl").write_text(json_lines(rows))
    info = prepare(tmp_path / "log.jsonl", out, context=("page",), test_span="10%", validation_span="0d")
    assert info["schema"]["page"] == "list<string>"


def test_lists_of_different_lengths_name_their_row(tmp_path, out):
    table = pa.table({"session": [1, 2], "item": [[1, 2], [3, 4]], "time": [[START, START], [START]]})
    error = message(table, out, event=None, context=())
    assert "1 rows have lists of different lengths in item, time, the first is row 2" in error


def test_a_table_without_a_header_is_told_of_the_option(tmp_path, out):
    path = tmp_path / "log.csv"
    path.write_text("5,2014-03-28T09:46:40Z,19,0\n1,2014-03-28T09:46:40Z,19,0\n")
    error = message(path, out)
    assert (
        "the first line looks like data: '5,2014-03-28T09:46:40Z,19,0'" in error
        and "columns=['session', 'time'" in error
    )
    path.write_text("0,2014-03-28T09:46:40Z,19,0\n")
    assert "rename one, or give columns=" in message(path, out)


@pytest.mark.parametrize("item", [None, "events", "article"])
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_events_without_an_item_name_their_fields(kind, item, tmp_path, out):
    path = tmp_path / f"log.{kind}"
    if kind == "jsonl":
        path.write_text('{"session": 1, "events": [{"aid": 7, "ts": 5}]}\n')
    else:
        pq.write_table(pa.table({"session": [1], "events": [[{"aid": 7, "ts": 5}]]}), path)
    error = message(path, out, item=item)
    assert "choose it with item=NAME; fields of the lists: aid, ts; columns: session, events" in error


# ---------------------------------------------------------------- rows


def test_where_keeps_the_rows_of_the_condition_and_the_steps_count_them(tmp_path, out, plain):
    noise = [("s1", "x", START + 9, "removed", 7), ("s2", "", "never", "removed", 5.5)]
    (tmp_path / "log.csv").write_text(text([*EVENTS[:9], *noise, *EVENTS[9:]]))
    options = {**OPTIONS, "where": "event <> 'removed'", "overwrite": True}
    info = prepare(tmp_path / "log.csv", out, **options)
    assert info["fingerprint"] == plain
    assert [(step["step"], step["events"]) for step in info["steps"][:2]] == [
        ("reading", len(EVENTS) + 2),
        ("where event <> 'removed'", len(EVENTS)),
    ]
    assert info["options"]["where"] == "event <> 'removed'"


@pytest.mark.parametrize(
    ("condition", "keep"),
    [
        ("price > 0", lambda price: price > 0),
        ("PRICE BETWEEN 0 AND 5", lambda price: 0 <= price <= 5),
        ('price * 2 < 1 OR "price" = 12', lambda price: price < 0.5 or price == 12),
        ("price > 0 AND item <> '007'", lambda price: 0 < price < 12),
    ],
)
@pytest.mark.parametrize(
    "kind", ["csv", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("parquet", "jsonl", "arrow", "pandas"))]
)
def test_where_on_every_source(kind, condition, keep, tmp_path, out):
    (tmp_path / "kept.csv").write_text(text([event for event in EVENTS if keep(event[4])]))
    expected = fingerprint(tmp_path / "kept.csv", out, context=())
    table = pa.table(dict(zip(NAMES, zip(*EVENTS, strict=True), strict=True)))
    path = source = tmp_path / f"log.{kind}"
    if kind == "csv":
        path.write_text(text())
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    elif kind == "parquet":
        pq.write_table(table, path)
    else:
        source = table if kind == "arrow" else table.to_pandas()
    assert fingerprint(source, out, where=condition, context=()) == expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("pric > 0", "there is no column 'pric' (where='pric > 0')"),
        ('event = "cart"', "texts are written in single quotes, as 'cart'"),
        ("price", "must be true or false for a row"),
        ("price >", "is not SQL: a part is missing. Line 1, Col: 7;"),
        ("price > 0; DROP TABLE x", "must be one condition"),
        ("item IN (SELECT 1)", "must be one condition"),
        ("sum(price) > 0", "without aggregates and windows"),
        ("random() < 0.5", "not random"),
        ("nope(price)", "nope"),
        ("price > 100", "no row is left after where='price > 100'"),
        ("item > 5", "compares values of different types"),
        ("", "must be a condition in SQL"),
    ],
)
def test_conditions_that_are_none(condition, expected, tmp_path, out):
    (tmp_path / "log.csv").write_text(text())
    assert expected in message(tmp_path / "log.csv", out, where=condition)


@pytest.mark.parametrize("form", ["%m/%d/%Y %I:%M:%S %p", "%d.%m.%y %H:%M:%S", "%Y%m%d%H%M%S", "%b %d, %Y %I:%M:%S %p"])
def test_times_of_any_form(form, tmp_path, out, plain):
    rows = [
        (session, item, datetime.fromtimestamp(time, UTC).strftime(form), *rest)
        for session, item, time, *rest in EVENTS
    ]
    (tmp_path / "log.csv").write_text(text(rows))
    assert fingerprint(tmp_path / "log.csv", out, time_format=form) == plain
    table = pa.table(dict(zip(NAMES, zip(*rows, strict=True), strict=True)))
    assert fingerprint(table, out, time_format=form) == plain


def test_times_that_do_not_fit_the_form(tmp_path, out):
    path = tmp_path / "log.csv"
    path.write_text(text([("s1", "a", "3/4/2019 1:02 PM", "view", 1)]))
    assert "give the form of the times with time_format=" in message(path, out)
    error = message(path, out, time_format="%d/%m/%Y")
    assert "row 1, which is not of the form %d/%m/%Y: '3/4/2019 1:02 PM'" in error
    assert "must be a form such as" in message(path, out, time_format="%Q")
    assert "must be a form such as" in message(path, out, time_format="yyyy")
    assert "exclude each other" in message(path, out, time_format="%Y", time_unit="s")


@pytest.mark.parametrize("key", [float, str, "word {:03}".format])
def test_a_second_sort_key_orders_equal_times(key, tmp_path, out, plain):
    day = [
        (session, item, START + 86_400 * int(session[1:]), *rest, step % 4)
        for step, (session, item, _, *rest) in enumerate(EVENTS)
    ]
    (tmp_path / "sorted.csv").write_text(text(day, (*NAMES, "step")))
    mixed = [(*row, key(step)) for *row, step in day[::-1]]
    (tmp_path / "mixed.csv").write_text(text(mixed, (*NAMES, "step")))
    expected = fingerprint(tmp_path / "sorted.csv", out)
    assert fingerprint(tmp_path / "mixed.csv", out) != expected
    assert fingerprint(tmp_path / "mixed.csv", out, order="step") == expected


def test_triples_of_session_position_and_item_have_an_order_without_times(tmp_path, out):
    options = {"event": None, "context": (), "test_span": "20%", "min_item_support": 1}
    rows = [(event[0], step % 4, event[1]) for step, event in enumerate(EVENTS)]
    (tmp_path / "mixed.txt").write_text(text(rows[::-1], None, " "))
    info = prepare(tmp_path / "mixed.txt", out, columns=("session", "position", "item"), order="position", **options)
    assert any("the order of column 'position'" in note for note in info["notes"])
    lists = {
        name: items
        for split in ("train", "test")
        for name, items in zip(
            *(pq.read_table(out / split)[key].to_pylist() for key in ("session", "items")), strict=True
        )
    }
    ids = ["", "", *pq.read_table(out / "items.parquet")["item"].to_pylist()]
    assert [ids[item] for item in lists["s3"]] == ["café", "007", "é0", "007"]


def test_the_newest_events_of_long_sessions_are_kept_and_counted(tmp_path, out):
    newest = [event for step, event in enumerate(EVENTS) if step % 4 > 1]
    (tmp_path / "log.csv").write_text(text())
    (tmp_path / "newest.csv").write_text(text(newest))
    info = prepare(tmp_path / "log.csv", out, max_session_length=2, overwrite=True, **OPTIONS)
    (step,) = (step for step in info["steps"] if step["step"] == "newest 2 events of a session")
    assert (step["events"], step["sessions"], step["items"]) == (32, 16, 4)
    rows = pq.read_table(out / "train").to_pylist()
    prepare(tmp_path / "newest.csv", out, overwrite=True, **OPTIONS)
    assert pq.read_table(out / "train").to_pylist() == rows
    assert "must be at least min_session_length=2" in message(
        tmp_path / "log.csv", tmp_path / "x", max_session_length=1
    )


def test_the_command_line_has_the_same_options(tmp_path, plain_data, capsys):
    (tmp_path / "log.dat").write_bytes(text([*EVENTS, ("s1", "x", START, "no", 0)], None).encode("latin-1"))
    options = [
        "--columns",
        "session,item,time,event,price",
        "--encoding",
        "latin-1",
        "--event",
        "event",
        "--context",
        "price",
    ]
    options += ["--min-item-support", "2", "--order", "price", "--where", "event <> 'no'", "--max-session-length", "9"]
    assert main(["prepare", str(tmp_path / "log.dat"), "--out", str(tmp_path / "cli"), *options]) == 0
    info = json.loads((tmp_path / "cli/dataset.json").read_text())
    assert info["options"]["columns"] == list(NAMES)
    assert info["splits"] == json.loads((plain_data / "dataset.json").read_text())["splits"]
