"""Spark and DuckDB prepare the same data set, row for row, from any log and any kind of source."""

import os
import re
import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from tests.sessions.test_prepare_reference import TYPES, NothingLeft, cases, expected
from tfrecsession.cli import main
from tfrecsession.errors import InputError
from tfrecsession.events.spark import spark_context
from tfrecsession.sessions import write
from tfrecsession.sessions.prepare import prepare

SPLITS = ("train", "validation", "test")
QUICK = {  # tiny jobs: their cost is planning and compiling
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}


def skip_without_spark():
    pytest.importorskip("pyspark", reason="PySpark is not installed: pip install 'tfrecsession[spark]'")
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        pytest.skip("Java is missing: apt-get install openjdk-17-jre-headless")


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    """One session for all tests, started as in `prepare`."""
    skip_without_spark()
    folder = tmp_path_factory.mktemp("spark")
    with spark_context.spark_session(spark_context.SparkSettings("local[2]", QUICK), (), folder, "1GB") as session:
        yield session


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(write, "BLOCK", 2)
    monkeypatch.setattr(write, "PART", 9)


def table(rows):
    return pa.table({name: pa.array([row[name] for row in rows], TYPES[name]) for name in rows[0]})


def as_source(log, kind, folder, name, spark):
    """Returns the log for DuckDB and for Spark, of the kind csv, parquet, folder, arrow or frame (of PySpark)."""
    folder.mkdir(exist_ok=True)
    if kind == "csv":
        pyarrow.csv.write_csv(log, folder / f"{name}.csv")
        return (folder / f"{name}.csv",) * 2
    if kind == "parquet":
        pq.write_table(log, folder / f"{name}.parquet", row_group_size=7)
        return (folder / f"{name}.parquet",) * 2
    if kind == "folder":
        path = folder / f"a {name} [of] files"
        shutil.rmtree(path, ignore_errors=True)
        for number, low in enumerate(range(0, len(log), 11)):
            (path / f"é{number % 2}").mkdir(parents=True, exist_ok=True)
            pq.write_table(log.slice(low, 11), path / f"é{number % 2}" / f"{9 - number}-#?.parquet")
        return path, path
    return log, (log if kind == "arrow" else spark.createDataFrame(log))


def check_engines_agree(case, kind, folder, spark):
    rows, test_rows, options = case
    source, for_spark = as_source(table(rows), kind, folder, "log", spark)
    test, test_for_spark = (
        (None, None) if test_rows is None else as_source(table(test_rows), kind, folder, "test", spark)
    )
    arguments = {
        "event": "event" if "event" in rows[0] else None,
        "context": ("device",) if "device" in rows[0] else (),
        "time_unit": "us" if options["timed"] else None,
        "gap": options["gap"],
        "drop_repeats": options["drop_repeats"],
        "min_item_support": options["support"],
        "min_session_length": options["length"],
        "one_pass": options["one_pass"],
        "test_span": None if test_rows is not None else options["test"],
        "validation_span": options["validation"],
        "split_by": options["by"],
        "unknown_items": options["unknown"],
        "keep_duplicates": options["keep_duplicates"],
    }
    by_duckdb, by_spark = (
        outcome(engine, log, given_test, folder, spark, arguments)
        for engine, log, given_test in (("duckdb", source, test), ("spark", for_spark, test_for_spark))
    )
    event(f"{kind}: {'rejected' if isinstance(by_duckdb, str) else 'prepared'}")
    assert by_spark == by_duckdb


def outcome(engine, log, test, folder, spark, options):
    settings = {"engine": engine, "spark": spark} if engine == "spark" else {}
    try:
        info = prepare(log, folder / engine, test_input=test, **settings, **options)
    except InputError as error:
        assert not (folder / engine).exists()
        return str(error).replace("PySpark DataFrame", "Arrow table")
    contents = result(folder / engine, info)
    shutil.rmtree(folder / engine)
    return contents


def result(folder, info):
    """Returns everything in which both engines must agree."""
    splits = {name: pq.read_table(folder / name) for name in SPLITS}
    return (
        {name: split.to_pylist() for name, split in splits.items()},
        {name: split.schema.types[:3] for name, split in splits.items()},
        pq.read_table(folder / "items.parquet"),
        sorted(str(file.relative_to(folder)) for file in folder.rglob("*")),
        {name: value for name, value in info.items() if name not in ("options", "source")},
    )


ONCE = (Phase.explicit, Phase.reuse, Phase.generate)  # Spark is too slow to shrink a log with
KINDS = ("csv", "parquet", "folder", "arrow", "frame")


def leaves_something(case):
    try:
        expected(*case)
    except (NothingLeft, IndexError):
        return False
    return True


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind == "parquet" else pytest.mark.slow) for kind in KINDS]
)
@settings(max_examples=2, derandomize=True, deadline=None, phases=ONCE, suppress_health_check=list(HealthCheck))
@given(case=cases().filter(leaves_something))
def test_both_engines_prepare_the_same(kind, case, spark, tmp_path_factory):
    check_engines_agree(case, kind, tmp_path_factory.getbasetemp() / f"engines_{kind}", spark)


@pytest.mark.slow
@settings(max_examples=50, deadline=None, phases=ONCE, suppress_health_check=list(HealthCheck))
@given(case=cases(), kind=st.sampled_from(KINDS))
def test_both_engines_prepare_the_same_from_fifty_logs(case, kind, spark, tmp_path_factory):
    check_engines_agree(case, kind, tmp_path_factory.getbasetemp() / "engines_50", spark)


def typed_log():
    """Returns a log with times as texts of every form, and context of every type that both engines have."""
    start, size = datetime(2023, 1, 1), 20
    times = [start + timedelta(days=row // 2, microseconds=row * 7) for row in range(size)]
    forms = ("%Y/%m/%d %H:%M", "%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%d %H:%M:%S+01:30", "%Y-%m-%d")
    context = {
        "truth": pa.array([True, None] * 10),
        "small": pa.array(range(size), pa.int8()),
        "single": pa.array([1.5, float("nan"), None, -0.0] * 5, pa.float32()),
        "double": pa.array([1e300, float("nan"), None, float("inf")] * 5),
        "day": pa.array([start.date()] * size),
        "moment": pa.array(times, pa.timestamp("us")),
        "zoned": pa.array(times, pa.timestamp("us", "UTC")),
        "price": pa.array([Decimal("1.25"), None] * 10, pa.decimal128(10, 2)),
        "text": pa.array(["", "é"] * 10),
    }
    texts = [time.strftime(forms[row % 4]) for row, time in enumerate(times)]
    sessions = [f"s{row // 2}" for row in range(size)]
    return pa.table({"item": ["a", "b"] * 10, "session": sessions, "time": texts, **context}), tuple(context)


@pytest.mark.parametrize(
    ("kind", "time"),
    [
        pytest.param("parquet", "time", marks=pytest.mark.slow),
        pytest.param("frame", "zoned", marks=pytest.mark.slow),
        pytest.param("csv", "time", marks=pytest.mark.slow),
    ],
)
def test_types_are_kept(kind, time, spark, tmp_path):
    log, context = typed_log()
    if kind == "csv":
        context = ("truth", "small", "double", "text")
    elif kind == "frame":  # PySpark adds a zone to all times that it reads
        context = tuple(name for name in context if name != "moment")
    options = {"min_item_support": 1, "validation_span": "10%", "context": context, "time": time}
    for_duckdb, for_spark = as_source(log, kind, tmp_path, "log", spark)
    by_duckdb = outcome("duckdb", for_duckdb, None, tmp_path, spark, options)
    assert not isinstance(by_duckdb, str)
    # by their text: NaN is not equal to itself
    assert repr(outcome("spark", for_spark, None, tmp_path, spark, options)) == repr(by_duckdb)


@pytest.mark.parametrize(
    ("column", "kind"), [("number", pa.uint8()), ("nanoseconds", pa.timestamp("ns")), ("list", pa.list_(pa.int64()))]
)
@pytest.mark.parametrize("source_kind", ["parquet", "arrow"])
def test_types_that_spark_lacks_are_rejected(column, kind, source_kind, spark, tmp_path):
    values = [[1]] * 4 if pa.types.is_list(kind) else [1] * 4
    log = pa.table({"item": list("abab"), "session": list("1122"), column: pa.array(values).cast(kind)})
    source = as_source(log, source_kind, tmp_path, "log", spark)[1]
    options = {"context": (column,), "test_span": "50%", "min_item_support": 1}
    error = outcome("spark", source, None, tmp_path, spark, options)
    assert f"the context column {column!r} is of type" in error and "engine='duckdb'" in error


def test_a_line_that_is_too_short(spark, tmp_path):
    (tmp_path / "log.csv").write_text("session,item,time\ns,a,2023-01-01\ns,b\n")
    error = outcome("spark", tmp_path / "log.csv", None, tmp_path, spark, {})
    assert error == f"{tmp_path}/log.csv: cannot be read: Malformed CSV record: s,b"


@pytest.mark.slow
def test_a_running_session_is_used_and_left_alone(spark, tmp_path):
    before = spark.conf.getAll
    frame = spark.createDataFrame(pa.table({"item": list("abab"), "session": list("1122")}))
    options = {"engine": "spark", "test_span": "50%", "min_item_support": 1}
    for master, conf in (("local[3]", None), (None, {"spark.ui.enabled": "true"})):
        with pytest.raises(InputError, match="a Spark session is running in this process"):
            prepare(frame, tmp_path / "out", spark_master=master, spark_conf=conf, **options)
    with pytest.raises(InputError, match="engine='spark'"):
        prepare(frame, tmp_path / "out", test_span="50%")
    assert prepare(frame, tmp_path / "out", **options)["items"] == 2
    assert spark.conf.getAll == before
    assert not spark.catalog.listTables() and not spark.catalog.listTables("global_temp")
    assert spark.range(3).count() == 3


@pytest.mark.slow
def test_a_new_session_leaves_nothing_behind(spark, tmp_path):
    program = """
import pathlib, signal, sys
from tfrecsession.cli import main
before = signal.getsignal(signal.SIGINT)
code = main(sys.argv[1:])
children = [task.read_text() for task in pathlib.Path("/proc/self/task").glob("*/children")]
assert not any(children) and signal.getsignal(signal.SIGINT) is before
sys.exit(code)
"""
    (tmp_path / "log.csv").write_text("session,item\n1,a\n1,b\n2,a\n2,b\n")
    conf = [word for name, value in QUICK.items() for word in ("--spark-conf", f"{name}={value}")]
    words = ["prepare", "log.csv", "--out", "out", "--engine", "spark", "--spark-master", "local[1]", *conf]
    words += ["--test-span", "50%", "--min-item-support", "1", "--memory", "600MB"]
    done = subprocess.run([sys.executable, "-c", program, *words], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv", "out"]


def test_java_is_missing_or_too_old(tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"JAVA_HOME is .*apt-get install openjdk-17-jre-headless.*conda install"):
        spark_context._check_java()
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    with pytest.raises(InputError, match=r"needs Java 17 or later, and .*/bin/java is Java 11"):
        spark_context._check_java()
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="there is no `java` on the PATH"):
        spark_context._check_java()


def test_pyspark_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark", None)
    with pytest.raises(InputError, match=r"needs PySpark: pip install 'tfrecsession\[spark\]'"):
        prepare("never-read.csv", tmp_path / "out", engine="spark")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("master", "expected_message"),
    [
        ("spark://127.0.0.1:1", "spark_master='spark://127.0.0.1:1': cannot be reached"),
        ("k8s://https://127.0.0.1:1", "cannot be reached"),
        ("sc://127.0.0.1:1/;token=x", "spark_master='sc://127.0.0.1:1/': cannot be reached"),
        ("spark://somewhere", "spark_master='spark://somewhere': must have a port, e.g. spark://host:7077"),
    ],
)
def test_a_master_that_does_not_answer(master, expected_message):
    with pytest.raises(InputError, match=re.escape(expected_message)):
        spark_context._check_reachable(master)


@pytest.mark.parametrize(
    ("options", "expected_message"),
    [
        ({"spark_conf": ["a=b"]}, "spark_conf: must be a dict"),
        ({"spark": "local"}, "spark=: must be a SparkSession, not a str"),
    ],
)
def test_invalid_settings(options, expected_message, tmp_path):
    pytest.importorskip("pyspark")
    with pytest.raises(InputError, match=expected_message):
        prepare("never-read.csv", tmp_path / "out", engine="spark", **options)
    assert not list(tmp_path.iterdir())


def test_a_setting_without_a_value(tmp_path, capsys):
    command = ["prepare", "log.csv", "--out", str(tmp_path / "out"), "--engine", "spark", "--spark-conf", "memory"]
    assert main(command) == 2
    assert "--spark-conf memory: must be KEY=VALUE" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("csv", {"where": "price > 0 AND item <> 'x'", "order": "step"}),
        pytest.param(
            "csv",
            {"where": "price > 0", "time_format": "%m/%d/%Y %I:%M:%S %p", "max_session_length": 2},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "csv",
            {"columns": ("session", "item", "time", "step", "price"), "where": "PRICE >= 0.5"},
            marks=pytest.mark.slow,
        ),
        pytest.param("parquet", {"where": "price > 0 AND step IN (0, 2, 1)", "order": "step"}, marks=pytest.mark.slow),
        pytest.param("frame", {"where": "price > 0", "order": "step"}, marks=pytest.mark.slow),
        pytest.param("parts", {"where": "price > 0", "order": "step"}, marks=pytest.mark.slow),
        pytest.param("pattern", {"where": "price > 0"}, marks=pytest.mark.slow),
    ],
)
def test_conditions_sort_keys_and_forms_of_times_agree(kind, options, tmp_path, spark):
    moments = [datetime(2023, 11, 1) + timedelta(hours=9 * session) for session in range(12)]
    log = pa.table(
        {
            "session": [f"s{index // 4}" for index in range(48)],
            "item": [("a", "b", "007", "x")[index % 4] for index in range(48)],
            "time": [
                moment.strftime(options.get("time_format", "%Y-%m-%d %H:%M:%S")) for moment in moments for _ in "1234"
            ],
            "step": [3 - index % 4 for index in range(48)],
            "price": [(1.5, -1.0, 0.4, 10.0)[index % 3] for index in range(48)],
        }
    )
    source, for_spark = (
        as_source(log, kind, tmp_path, "log", spark) if kind not in ("parts", "pattern") else (None,) * 2
    )
    if "columns" in options:
        source.write_text(source.read_text().partition("\n")[2])
    if kind in ("parts", "pattern"):
        suffix, write_part = ("csv", pyarrow.csv.write_csv) if kind == "parts" else ("parquet", pq.write_table)
        for index in range(3):
            write_part(log.slice(16 * index, 16), tmp_path / f"{index}.{suffix}")
        source = for_spark = tmp_path / f"*.{suffix}"
    options = {**options, "min_item_support": 1}
    found = [
        prepare(log, tmp_path / engine, engine=engine, **options, **({"spark": spark} if engine == "spark" else {}))
        for engine, log in (("duckdb", source), ("spark", for_spark))
    ]
    assert found[0]["fingerprint"] == found[1]["fingerprint"]
    assert found[0]["steps"] == found[1]["steps"]


@pytest.mark.slow
def test_a_row_per_session_is_read_by_duckdb_for_spark(tmp_path, spark):
    times = [[1_700_000_000 + 40_000 * session + step for step in range(3)] for session in range(12)]
    log = pa.table({"session": list(range(12)), "item": [["a", "b", "c"]] * 12, "time": times})
    pq.write_table(log, tmp_path / "log.parquet")
    options = [{"engine": "duckdb"}, {"engine": "spark", "spark": spark}]
    first, second = (prepare(tmp_path / "log.parquet", tmp_path / each["engine"], **each) for each in options)
    assert first["fingerprint"] == second["fingerprint"]
    with pytest.raises(InputError, match="explode it first, to a row per event"):
        prepare(spark.createDataFrame(log), tmp_path / "x", engine="spark", spark=spark)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "texts"),
    [("csv", (None, "v,NA")), *(pytest.param(k, (None, ""), marks=pytest.mark.slow) for k in ("parquet", "frame"))],
)
def test_null_values_agree(kind, texts, tmp_path, spark):
    users = ["v", "NA", "\\N", "0.0", " \v", "nan", "of"]  # Spark reads \v in a text of SQL as v
    log = pa.table(
        {
            "session": [f"s{index // 2}" for index in range(84)],
            "user": [users[index // 2 % 7] for index in range(84)],
            "item": ["a", "b"] * 42,
            "time": [1_700_000_000 + 7_200 * (index // 2) + index % 2 for index in range(84)],
        }
    )
    for_duckdb, for_spark = as_source(log, kind, tmp_path, "log", spark)
    for number, values in enumerate(texts):
        options = {"null_values": values, "min_item_support": 1}
        first = prepare(for_duckdb, tmp_path / f"duckdb{number}", **options)
        second = prepare(for_spark, tmp_path / f"spark{number}", engine="spark", spark=spark, **options)
        assert first["fingerprint"] == second["fingerprint"]
        assert first["steps"] == second["steps"]


@pytest.mark.slow
@pytest.mark.parametrize("itemless", ["keep", "drop"])
def test_events_without_an_item_agree(itemless, tmp_path, spark):
    log = pa.table(
        {
            "session": [f"s{index // 6}" for index in range(96)],
            "item": [[None, "a", "NA", "b", "a", None][index % 6] for index in range(96)],
            "time": [1_700_000_000 + 7_200 * (index // 6) + index % 6 // 2 for index in range(96)],
            "words": [[f"w{index % 5}", None, "w", None, None, "w"][index % 6] for index in range(96)],
        }
    )
    for_duckdb, for_spark = as_source(log, "parquet", tmp_path, "log", spark)
    options = {"itemless": itemless, "context": "words", "min_item_support": 1, "max_session_length": 5}
    options |= {"test_span": "10%", "validation_span": "10%"}
    first = prepare(for_duckdb, tmp_path / "duckdb", **options)
    second = prepare(for_spark, tmp_path / "spark", engine="spark", spark=spark, **options)
    assert (first["splits"]["train"].get("itemless_events", 0) > 0) == (itemless == "keep")
    assert first["fingerprint"] == second["fingerprint"]
    assert (first["steps"], first["splits"]) == (second["steps"], second["splits"])


@pytest.mark.slow
def test_files_without_quotes_agree(tmp_path, spark):
    titles = ["song", '"Heroes', 'the 12"', "song"]
    rows = [f"u{index // 4}\t{'ab'[index % 2]}\t{1_700_000_000 + 20_000 * (index // 4) + index}" for index in range(48)]
    text = "".join(f"{row}\t{titles[index % 4]}\n" for index, row in enumerate(rows))
    (tmp_path / "plays.tsv").write_text("user\titem\ttime\ttitle\n" + text)
    options = {"quote": "none", "context": ("title",), "min_item_support": 1}
    first = prepare(tmp_path / "plays.tsv", tmp_path / "duckdb", **options)
    second = prepare(tmp_path / "plays.tsv", tmp_path / "spark", engine="spark", spark=spark, **options)
    assert first["steps"][0]["events"] == 48
    assert first["fingerprint"] == second["fingerprint"]


@pytest.mark.slow
def test_item_tables_agree(tmp_path, spark):
    rows = [f"u{index // 4},{'ab'[index % 2]},{1_700_000_000 + 20_000 * (index // 4) + index}" for index in range(48)]
    (tmp_path / "log.csv").write_text("user,item,time\n" + "".join(f"{row}\n" for row in rows))
    items = {"item": ["a", "b", "c"], "title": ["red shoe", "blue hat", "x"], "vector": [[1.0, 2.0], None, [3.0, 4.0]]}
    options = {"items": items, "min_item_support": 1}
    first = prepare(tmp_path / "log.csv", tmp_path / "duckdb", **options)
    second = prepare(tmp_path / "log.csv", tmp_path / "spark", engine="spark", spark=spark, **options)
    assert first["item_columns"]["title"]["examples"] == ["red shoe", "blue hat"]
    for key in ("fingerprint", "item_columns", "tensors"):
        assert first[key] == second[key]
    with pytest.raises(InputError, match="unseen_items='add': must be 'leave' with engine='spark'"):
        prepare(tmp_path / "log.csv", tmp_path / "more", engine="spark", spark=spark, unseen_items="add", **options)


@pytest.mark.slow
@pytest.mark.parametrize("held", ["users", "last-session"])
def test_both_engines_hold_out_the_same(held, spark, tmp_path):
    rows = [(f"s{number}", f"u{number * 7 % 23}", f"i{event}", number) for number in range(60) for event in range(2)]
    log = pa.table(dict(zip(("session", "user", "item", "time"), map(list, zip(*rows, strict=True)), strict=True)))
    pq.write_table(log, tmp_path / "log.parquet")
    options = {"hold_out": held, "time_unit": "s", "min_item_support": 1}
    by_duckdb, by_spark = (
        outcome(engine, tmp_path / "log.parquet", None, tmp_path, spark, options) for engine in ("duckdb", "spark")
    )
    assert by_duckdb == by_spark and len(by_duckdb[0]["test"]) > 2
