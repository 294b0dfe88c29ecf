"""A column that holds times and was not named is proposed."""

import pandas as pd
import pytest

from tfrecsession.errors import InputError
from tfrecsession.events.readers import read_events
from tfrecsession.events.schema import Columns
from tfrecsession.sessions.prepare import prepare

TIMES = pd.date_range("2020-01-01", periods=60, freq="7h")
FORMATS = ["%m/%d/%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%a %b %d %H:%M:%S +0000 %Y"]


def frame(times):
    rows = range(len(TIMES))
    return pd.DataFrame(
        {
            "session": [f"s{row // 3}" for row in rows],
            "StockCode": [f"i{row % 4}" for row in rows],
            "InvoiceDate": times,
            "price": [1.5 * row for row in rows],
            "ean": [1234567890000 + row for row in rows],
        }
    )


def forms():
    yield TIMES, ""
    yield TIMES.date, ""
    yield TIMES.tz_localize("UTC"), ""
    for form in ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ", "%Y/%m/%d %H:%M"):
        yield TIMES.strftime(form), ""
    seconds = [int(time.timestamp()) for time in TIMES]
    yield seconds, ""
    yield [time * 1000 for time in seconds], ""
    for form in FORMATS:
        yield TIMES.strftime(form), form.replace("+0000", "%z")
    yield [int(text) for text in TIMES.strftime("%Y%m%d")], "%Y%m%d"


@pytest.mark.parametrize(("times", "form"), [*forms()])
@pytest.mark.parametrize("suffix", [None, "csv", "parquet"])
def test_a_column_of_times_is_proposed_and_works(times, form, suffix, tmp_path):
    log = frame(times)
    if suffix == "csv":
        log.to_csv(tmp_path / "log.csv", index=False)
        log = tmp_path / "log.csv"
    elif suffix == "parquet":
        log.to_parquet(tmp_path / "log.parquet")
        log = tmp_path / "log.parquet"
    with pytest.raises(InputError) as error:
        read_events(log, Columns(item="StockCode"))
    advice = "time='InvoiceDate'" + (f" with time_format='{form}'" if form else "")
    assert f"no time column found (time, timestamp), but a column holds times: give {advice}; or time='none'" in str(
        error.value
    )
    events = read_events(log, Columns(item="StockCode", time="InvoiceDate"), time_format=form or None)
    assert events.timed and events.table.time.min().to_pyarrow().as_py() == 1_577_836_800_000_000

    untimed = read_events(log, Columns(item="StockCode", time="none"))
    assert not untimed.timed and untimed.table.count().to_pyarrow().as_py() == len(TIMES)


@pytest.mark.parametrize(
    "values",
    [
        range(60),
        [1.25 * row for row in range(60)],
        [f"x{row}" for row in range(60)],
        ["2020-01-01", *["?"] * 59],
        ["3020-01-01"] * 60,
        [None] * 60,
    ],
)
def test_other_columns_are_no_times(values, tmp_path):
    log = frame(list(values))
    assert not read_events(log, Columns(item="StockCode")).timed
    log.to_csv(tmp_path / "log.csv", index=False)
    assert not read_events(tmp_path / "log.csv", Columns(item="StockCode")).timed


def test_numbers_are_times_by_their_name_alone():
    log = frame([1_600_000_000 + row for row in range(60)])
    assert not read_events(log.rename(columns={"InvoiceDate": "customer"}), Columns(item="StockCode")).timed


def test_a_column_that_is_called_none_is_one_of_times():
    log = frame(TIMES).rename(columns={"InvoiceDate": "none"})
    assert read_events(log, Columns(item="StockCode", time="none")).timed


def test_columns_that_are_named_are_not_proposed():
    log = frame(TIMES)
    assert not read_events(log, Columns(item="StockCode", context=("InvoiceDate",))).timed


def test_prepare_without_times(tmp_path):
    info = prepare(frame(TIMES), tmp_path / "out", item="StockCode", time="none", test_span="10%", min_item_support=1)
    assert not info["timed"] and info["options"]["time"] == "none"
    assert {step["step"] for step in info["steps"] if "split" in step["step"]} == {"split by order"}
