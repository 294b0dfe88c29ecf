import numpy as np
import pytest
from hypothesis import given

from tests.logs import known, logs, sessions_of
from tfrecsession.sessions.statistics import NAMES, Statistics


def of(log, **options):
    sessions = sessions_of(log, **options)
    return Statistics(sessions.arrays, sessions.timed)


def test_statistics_by_hand():
    log = of([[2, 3, 2], [4], [5, 5, 5, 6]], items=5, times=[0, 0.5, 1, 2, 3, 3, 3, 4])
    assert (log.sessions, log.events, log.items) == (3, 8, 5)
    assert log.session_length == 8 / 3
    assert log.events_per_item == 8 / 5
    assert log.density == 5 / 15  # 2 and 3; 4; 5 and 6
    assert log.repeats == 3 / 5  # of the events after the first, 2, 5 and 5
    assert log.days == 4
    assert log.as_dict()["density"] == 0.3333 and tuple(log.as_dict()) == NAMES


def test_turnover_is_the_share_of_new_items_in_the_newest_tenth():
    old, stays, new = [[2, 3]] * 8, [[2, 3]] * 2, [[4, 2]] * 2
    assert of(old + stays).turnover == 0
    assert of(old + new).turnover == 1 / 2  # of 4 and 2, the last 2 of 20 events
    assert of([[2, 3]] * 9 + [[4, 5]]).turnover == 1


def test_order_is_1_where_sessions_might_as_well_be_shuffled():
    ring = [[2 + (start + step) % 40 for step in range(8)] for start in range(40)]
    rng = np.random.default_rng(0)
    assert of(ring, items=40).order > 10  # a pair of neighbours is one of 7 sessions, a pair further apart is none
    assert of([list(rng.permutation(20) + 2) for _ in range(200)], items=20).order == pytest.approx(1, abs=0.02)
    assert of([session[::-1] for session in ring[::2]] + ring[1::2], items=40).order > 10  # a pair has no direction


def test_order_by_hand():
    # 3 and 4 follow one another in both sessions, 2 and 3 in one; 2 and 4 are further apart, and consecutive in neither
    assert of([[2, 3, 4], [5, 4, 3]]).order == pytest.approx(((2 + 1) / (4 + 1)) / ((0 + 1) / (4 + 1)))


def test_order_needs_three_events_of_a_session():
    assert of([[2, 3], [2, 3], [4]]).order == of([[1, 1, 1], [1, 2, 1]]).order == of([]).order == 1


def test_unknown_items_count_as_events_alone():
    log = of([[1, 1, 2], [1, 1]])
    assert log.events == 5 and log.density == 1 / 14 and log.repeats == 0 and log.turnover == 0


def test_a_log_without_sessions_or_times():
    assert of([]).as_dict() == {
        **dict.fromkeys(("session_length", "events_per_item", "density", "repeats", "turnover"), 0.0),
        **{"sessions": 0, "events": 0, "items": 7, "order": 1.0, "days": None},
    }
    assert of([[2, 3]], times=[0, 9], timed=False).days is None


@given(logs)
def test_density_and_repeats_count_every_session(log):
    sessions = [session for session in known(log) if session]
    pairs = sum(len(set(session)) for session in sessions)
    later = sum(len(session) - 1 for session in sessions)
    found = of(log)
    assert found.density == pytest.approx(pairs / (len(log) * 7))
    assert found.repeats == pytest.approx((sum(map(len, sessions)) - pairs) / max(later, 1))
