from fractions import Fraction

import pytest

from tfrecsession.errors import InputError
from tfrecsession.sessions.spans import in_words, iso, parse_duration, parse_span


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("30m", 1800), ("1h", 3600), ("1.5h", 5400), ("2d", 172_800), ("1w", 604_800), ("0d", 0)],
)
def test_durations(text, seconds):
    assert parse_duration(text, "gap") == seconds * 10**6
    assert parse_span(text, "test_span").microseconds == seconds * 10**6


@pytest.mark.parametrize(
    "text", ["", "d", "1", "-1d", "1 d", "1D", "1d2h", "1,5h", "\uff11d", "%", "1%%", "-1%", "100%"]
)
def test_invalid_spans(text):
    with pytest.raises(InputError, match=r"^test_span="):
        parse_span(text, "test_span")


def test_shares_are_exact():
    assert parse_span("2.5%", "").share == Fraction(1, 40)
    assert parse_span("0%", "").empty and parse_span("0s", "").empty and not parse_span("1%", "").empty


def test_in_words():
    day, hour, second = 86_400 * 10**6, 3600 * 10**6, 10**6
    assert in_words(6 * day + 23 * hour + 5 * second) == "6d 23h"
    assert in_words(day + 5 * second) == "1d 5s"
    assert in_words(999_999) == "less than a second"
    assert iso(1_506_826_800_123_456) == "2017-10-01T03:00:00Z"
