"""Spans of a log whose times are dates without a time of day hold whole dates."""

import pandas as pd
import pytest

from tfrecsession.errors import InputError
from tfrecsession.sessions.prepare import prepare

FORMS = {
    "texts": lambda dates: dates.strftime("%Y-%m-%d"),
    "slashes": lambda dates: dates.strftime("%Y/%m/%d"),
    "midnights": lambda dates: dates.strftime("%Y-%m-%d 00:00:00"),
    "datetimes": lambda dates: dates,
    "dates": lambda dates: dates.date,
    "seconds": lambda dates: (dates - pd.Timestamp(0)) // pd.Timedelta("1s"),
}


def log(form="texts", days=10, sessions=4):
    rows = [
        (f"s{day}-{number}", item, day) for day in range(days) for number in range(sessions) for item in ("a", "b", "c")
    ]
    session, item, day = zip(*rows, strict=True)
    dates = pd.DatetimeIndex(pd.Timestamp("2018-09-01") + pd.to_timedelta(day, "D"))
    return pd.DataFrame({"session": session, "item": item, "time": FORMS[form](dates)})


def sessions(frame, out, **options):
    info = prepare(frame, out, min_item_support=1, **options)
    return [info["splits"][name]["sessions"] for name in ("train", "validation", "test")], info


@pytest.mark.parametrize("form", FORMS)
def test_a_day_is_one_date(form, tmp_path):
    counts, info = sessions(log(form), tmp_path / "out")
    assert counts == [32, 4, 4]
    assert "the times are dates without a time of day: a span of 1d is one date" in info["notes"]


@pytest.mark.parametrize(
    ("test", "validation", "expected"),
    [
        ("2d", "1d", [28, 4, 8]),
        ("1d", "3d", [24, 12, 4]),
        ("1w", "0d", [12, 0, 28]),
        ("12h", "36h", [28, 8, 4]),  # rounded up to whole dates
        ("25%", "1d", [24, 6, 10]),  # the share begins within a date: its rest and the date before
        ("9d", "0d", [4, 0, 36]),
    ],
)
@pytest.mark.parametrize("by", ["start", "end"])
def test_spans_hold_whole_dates(test, validation, expected, by, tmp_path):
    counts, _ = sessions(log(), tmp_path / "out", test_span=test, validation_span=validation, split_by=by)
    assert counts == expected


def test_one_time_of_day_makes_a_span_a_length_of_time(tmp_path):
    frame = log("datetimes")
    frame.loc[len(frame) - 1, "time"] += pd.Timedelta("1h")
    counts, info = sessions(frame, tmp_path / "out")
    assert counts == [32, 4, 4]
    assert not [note for note in info["notes"] if "dates" in note]
    frame.loc[0, "time"] += pd.Timedelta("1h")
    frame.loc[len(frame) - 1, "time"] -= pd.Timedelta("1h")  # from midnight to midnight both ends count
    counts, _ = sessions(frame, tmp_path / "late")
    assert counts == [28, 4, 8]


def test_all_dates_as_test(tmp_path):
    with pytest.raises(InputError, match="test_span='10d' leaves nothing to train on: the log is 10d long"):
        prepare(log(), tmp_path / "out", min_item_support=1, test_span="10d", validation_span="0d")
