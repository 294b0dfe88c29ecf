import datetime as dt
import decimal
import time

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrecsession.errors import InputError
from tfrecsession.events.readers import read_events

START = 1_577_836_800  # 2020-01-01 00:00:00 UTC
MICROSECOND = START * 1_000_000


def log(times, kind=None):
    return pa.table({"item": ["a"] * len(times), "time": pa.array(times, kind)})


def read(source, **options):
    """Returns the times of a log in microseconds, in its order."""
    events = read_events(source, **options)
    return events.connection.to_pyarrow(events.table.order_by("order").time).to_pylist()


def message(source, **options):
    with pytest.raises(InputError) as error:
        read_events(source, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("form", [int, str, float])
@pytest.mark.parametrize(("unit", "scale"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
def test_the_unit_is_detected_from_the_size_of_the_numbers(form, unit, scale):
    times = [form(START * scale), form((START + 60) * scale)]
    events = read_events(log(times))
    assert read(log(times)) == [MICROSECOND, MICROSECOND + 60_000_000]
    assert f"time_unit='{unit}'" in events.notes[0]


@pytest.mark.parametrize(
    ("number", "unit"),
    [
        (10**8, "s"),
        (10**11 - 1, None),  # year 5138
        (10**11, "ms"),
        (10**14 - 1, None),
        (10**14, "us"),
        (10**17 - 100, None),
        (10**17, "ns"),
    ],
)
def test_the_borders_between_units(number, unit):
    if unit is None:
        assert "later than a year from now" in message(log([number]))
    else:
        seconds = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
        assert read(log([number])) == [number * 10**6 // seconds[unit]]


def test_a_given_unit_is_not_detected():
    assert read(log([0, 5, 86_400]), time_unit="s") == [0, 5_000_000, 86_400_000_000]
    assert read(log([10**12]), time_unit="us") == [10**12]


def test_a_wrong_unit_names_the_choices():
    assert message(log([START]), time_unit="min") == "time_unit='min': choose one of s, ms, us, ns"


@given(st.lists(st.integers(10**17, 16 * 10**17), min_size=1, max_size=50))
@settings(max_examples=10)
def test_nanoseconds_are_cut_exactly(times):
    expected = [number // 1000 for number in times]
    assert read(log(times)) == expected
    assert read(log([str(number) for number in times])) == expected


def test_fractions_of_a_unit():
    assert read(log([START + 0.25, START + 1.000001])) == [MICROSECOND + 250_000, MICROSECOND + 1_000_001]
    assert read(log([f"{START}.25", "1.5778368e9", f" {START} "])) == [MICROSECOND + 250_000, MICROSECOND, MICROSECOND]
    assert read(log([decimal.Decimal(START) + decimal.Decimal("0.5")])) == [MICROSECOND + 500_000]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2020-01-01", 0),
        ("2020/1/1", 0),
        ("2020-01-01 00:00", 0),
        ("2020-01-01T00:00:00Z", 0),
        ("2020-01-01 00:00:00 UTC", 0),
        ("2020-01-01T02:00:00+02:00", 0),
        ("2020-01-01T05:30+0530", 0),
        ("2019-12-31T19:00:00-05", 0),
        ("2020-01-01T00:00:01.5", 1.5),
        ("2020-01-01T00:00:00.123456789Z", 0.123456),
    ],
)
def test_iso_texts(text, seconds):
    assert read(log([text])) == [MICROSECOND + round(seconds * 1e6)]


@given(
    st.datetimes(dt.datetime(1970, 1, 2), dt.datetime(2025, 1, 1)),
    st.integers(-14 * 60, 14 * 60).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes))),
)
@settings(max_examples=15)
def test_iso_texts_are_read_as_by_python(moment, zone):
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    zoned = moment.replace(tzinfo=zone)
    naive = moment.replace(tzinfo=dt.UTC)
    if zoned >= epoch:
        assert read(log([zoned.isoformat()])) == [(zoned - epoch) // dt.timedelta(microseconds=1)]
    assert read(log([moment.isoformat(" ")])) == [(naive - epoch) // dt.timedelta(microseconds=1)]


@pytest.mark.parametrize(
    "kind",
    [
        pa.timestamp("s"),
        pa.timestamp("ms"),
        pa.timestamp("us"),
        pa.timestamp("ns"),
        pa.timestamp("us", "UTC"),
        pa.timestamp("ns", "UTC"),
        pa.timestamp("ms", "Asia/Tokyo"),
        pa.date32(),
        pa.date64(),
    ],
    ids=str,
)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_datetimes_of_every_kind_in_any_zone_of_the_session(kind, zone, tmp_path):
    connection = ibis.duckdb.connect()
    connection.raw_sql(f"set TimeZone='{zone}'").fetchall()
    table = log(pa.array([START], pa.timestamp("s")).cast(kind))
    pq.write_table(table, tmp_path / "log.parquet")
    assert read(table, connection=connection) == [MICROSECOND]
    assert read(tmp_path / "log.parquet", connection=connection) == [MICROSECOND]


def test_texts_do_not_depend_on_the_zone_of_the_session():
    connection = ibis.duckdb.connect()
    connection.raw_sql("set TimeZone='America/New_York'").fetchall()
    table = log(["2020-01-01", "2020-01-01T00:00:00", "2020-01-01T01:00:00+01:00"])
    events = read_events(table, connection=connection)
    assert read(table, connection=connection) == [MICROSECOND] * 3
    assert "with and without a zone" in events.notes[0]


@pytest.mark.parametrize(
    "text", ["yesterday", "01/02/2020", "2020-13-01", "2020-02-30", "2020-01-01 00:00:00 Europe/Paris", "nan", "inf"]
)
def test_an_unreadable_text_is_reported_with_its_row(text):
    error = message(log(["2020-01-01", "2020-01-02", text]))
    assert error.startswith("Arrow table: 1 row has no usable time in column 'time', the first is row 3")
    assert repr(text) in error
    assert "drop_bad_rows=True" in error


def test_a_missing_time_is_reported_with_its_row():
    assert "2 rows have no usable time in column 'time', the first is row 2, which is empty" in message(
        log([START, None, START, None])
    )
    assert "the first is row 2, which is empty" in message(log(["2020-01-01", ""]))
    assert "the first is row 1, which is neither a number" in message(log([float("nan"), START]))


def test_a_negative_time_is_reported_with_its_row():
    assert "row 2, which is before 1970: '-1'" in message(log([START, -1]))
    assert "row 1, which is before 1970: '-1'" in message(log([-1]))
    assert "row 2, which is before 1970: '1969-12-31'" in message(log(["2020-01-01", "1969-12-31"]))


def test_a_time_in_the_far_future_is_reported_with_its_row():
    soon = int(time.time()) + 300 * 86_400
    assert read(log([START, soon])) == [MICROSECOND, soon * 1_000_000]
    assert "row 2, which is later than a year from now" in message(log([START, soon + 100 * 86_400]))
    assert "row 2, which is later than a year from now: '9999-01-01'" in message(log(["2020-01-01", "9999-01-01"]))


def test_numbers_far_beyond_a_given_unit_do_not_overflow():
    assert "1 row has no usable time" in message(log([START, 2**63 - 1]), time_unit="s")
    assert read(log([START, 2**63 - 1, -(2**63)]), time_unit="s", drop_bad_rows=True) == [MICROSECOND]


def test_a_given_unit_that_the_numbers_do_not_look_like_is_named():
    error = message(log([START * 1000]), time_unit="s")
    assert "as time_unit='s' says, but its numbers look like milliseconds" in error
    assert error.endswith("leave time_unit= out to have it detected")
    (note,) = read_events(log([START, START + 60]), time_unit="ms").notes
    assert "read as milliseconds since 1970, as time_unit='ms' says, but its numbers look like seconds" in note
    assert read_events(log([START]), time_unit="s").notes == []


def test_mixed_units_are_reported_with_both_values():
    error = message(log([START, START * 1000, START]))
    assert f"mixes units: '{START}' (row 1) looks like s, '{START}000' (row 2) like ms" in error
    assert "time_unit=" in error


def test_numbers_beside_dates_are_reported_with_both_values():
    error = message(log(["2020-01-01", "2020-01-02", str(START)]))
    assert f"mixes numbers (row 3: '{START}') and dates (row 1: '2020-01-01')" in error


@pytest.mark.parametrize("small", [0, 17, 20_200_101, 10**8 - 1])
def test_numbers_too_small_to_detect_their_unit_need_it(small):
    assert f"holds '{small}' (row 2), too small" in message(log([START, small]))
    assert "give the unit, e.g. time_unit='s'" in message(log([START, small]))


@pytest.mark.parametrize(
    "times", [[True], [dt.time(1)], [[1]], [dt.timedelta(1)]], ids=["bool", "time", "list", "span"]
)
def test_a_column_without_points_in_time(times):
    assert "must be numbers, datetimes or ISO 8601 texts" in message(log(times))
