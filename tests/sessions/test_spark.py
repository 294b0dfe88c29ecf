"""Spark makes the data set that DuckDB makes, row for row, whatever the log and the way in which it comes."""

import os
import shutil

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from tests.sessions.test_prepare_reference import TYPES, cases
from tfrecsession.errors import InputError
from tfrecsession.sessions import write
from tfrecsession.sessions.prepare import prepare

SPLITS = ("train", "validation", "test")
QUICK = {  # tiny jobs: what they cost is planning and compiling
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    """One session for all tests, started as `prepare` does it."""
    pytest.importorskip("pyspark", reason="PySpark is not installed: pip install 'tfrecsession[spark]'")
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        pytest.skip("Java is missing: apt-get install openjdk-17-jre-headless")
    from tfrecsession.events.spark_session import SparkSettings, spark_session

    folder = tmp_path_factory.mktemp("spark")
    with spark_session(SparkSettings("local[2]", QUICK), (), folder, "1GB") as session:
        yield session


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(write, "BLOCK", 2)
    monkeypatch.setattr(write, "PART", 9)


def table(rows):
    return pa.table({name: pa.array([row[name] for row in rows], TYPES[name]) for name in rows[0]})


def as_source(log, kind, folder, name, spark):
    """The log for DuckDB and for Spark, of the kind: csv, parquet, folder, arrow, frame (of PySpark)."""
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
    said = {
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
        outcome(engine, log, given_test, folder, spark, said)
        for engine, log, given_test in (("duckdb", source, test), ("spark", for_spark, test_for_spark))
    )
    event(f"{kind}: {'refused' if isinstance(by_duckdb, str) else 'prepared'}")
    assert by_spark == by_duckdb


def outcome(engine, log, test, folder, spark, said):
    on = {"engine": engine, "spark": spark} if engine == "spark" else {}
    try:
        info = prepare(log, folder / engine, test_input=test, **on, **said)
    except InputError as error:
        assert not (folder / engine).exists()
        return str(error).replace("PySpark DataFrame", "Arrow table")
    made = result(folder / engine, info)
    shutil.rmtree(folder / engine)
    return made


def result(folder, info):
    """All that both engines must agree on."""
    splits = {name: pq.read_table(folder / name) for name in SPLITS}
    return (
        {name: split.to_pylist() for name, split in splits.items()},
        {name: split.schema.types[:3] for name, split in splits.items()},
        pq.read_table(folder / "items.parquet"),
        sorted(str(file.relative_to(folder)) for file in folder.rglob("*")),
        {name: value for name, value in info.items() if name not in ("options", "source")},
    )


ONCE = (Phase.explicit, Phase.reuse, Phase.generate)  # Spark is too slow to shrink a log with
KINDS = st.sampled_from(["csv", "parquet", "folder", "arrow", "frame"])


@settings(max_examples=8, derandomize=True, deadline=None, phases=ONCE, suppress_health_check=list(HealthCheck))
@given(case=cases(), kind=KINDS)
def test_both_engines_make_the_same(case, kind, spark, tmp_path_factory):
    check_engines_agree(case, kind, tmp_path_factory.getbasetemp() / "engines", spark)


@pytest.mark.slow
@settings(max_examples=50, deadline=None, phases=ONCE, suppress_health_check=list(HealthCheck))
@given(case=cases(), kind=KINDS)
def test_both_engines_make_the_same_of_fifty_logs(case, kind, spark, tmp_path_factory):
    check_engines_agree(case, kind, tmp_path_factory.getbasetemp() / "engines_50", spark)
