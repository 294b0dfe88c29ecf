import pyarrow as pa
import pytest
from rich.console import Console

from tfrecsession.sessions.describe import describe, render
from tfrecsession.sessions.prepare import prepare

START = 1_700_000_000


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    out = tmp_path_factory.mktemp("describe") / "prepared"
    sessions = ("aaaa", "aab", "ab", "abaaaaaaa", "ab")
    rows = [
        (f"s{day}", item, START + day * 86_400 + step)
        for day, items in enumerate(sessions)
        for step, item in enumerate(items)
    ]
    log = pa.table(dict(zip(("session", "item", "time"), map(list, zip(*rows, strict=True)), strict=True)))
    return out, prepare(log, out, min_item_support=1, validation_span="0d")


def test_describe_counts_by_hand(prepared):
    out, info = prepared
    found = describe(out)
    assert {name: found[name] for name in info} == info
    assert found["lengths"]["train"] == {
        "mean": 4.5,  # of 2, 3, 4 and 9
        "median": 3,
        "p90": 9,
        "p99": 9,
        "longest": 9,
        "histogram": {"2": 1, "3-4": 2, "9-16": 1},
    }
    assert found["lengths"]["validation"] is None
    assert found["popularity"] == {  # a: 15 events, b: 3
        "top_1_percent": 0.8333,
        "top_10_percent": 0.8333,
        "gini": 0.3333,  # sum of |x - y| over all pairs of items / (2 n^2 mean) = 24 / 72
        "median_count": 3,
        "most_popular": [{"item": "a", "count": 15}, {"item": "b", "count": 3}],
    }


def test_render_shows_what_prepare_and_describe_found(prepared):
    out, info = prepared

    def text(found):
        console = Console(width=200)
        with console.capture() as capture:
            console.print(render(found))
        return capture.get()

    assert "sessions shorter than 2" in text(info) and info["fingerprint"] in text(info) and "Gini" not in text(info)
    assert "Gini 0.333" in text(describe(out)) and "9-16" in text(describe(out))
    assert "Train: 4.5 events a session" in text(describe(out)) and "Train:" not in text(info)


def test_describe_has_the_statistics_that_defaults_follow(prepared):
    found = describe(prepared[0])["statistics"]
    assert found == {  # of aaaa, aab, ab and abaaaaaaa, 10 seconds or less each, on four days
        "sessions": 4,
        "events": 18,
        "items": 2,
        "session_length": 4.5,
        "events_per_item": 9.0,
        "density": 0.875,  # 7 of 8 pairs
        "repeats": 0.7857,  # 11 of the 14 events after the first
        "turnover": 0.0,
        "order": 1.0,  # the only pair is a and b
        "days": pytest.approx(3 + 8 / 86_400, abs=1e-4),
    }
