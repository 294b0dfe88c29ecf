"""Decayed counts of items, against sums over all events."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfrecsession import InputError
from tfrecsession.sessions.item_trends import DAY, TrendLog, Updates, advanced, chunks_of, end_of
from tfrecsession.sessions.store import SessionArrays
from tfrecsession.sessions.vocabulary import Items

HALF_LIVES = (0.1, 1.0, 5.0)
events = st.lists(st.tuples(st.integers(0, 5), st.floats(0, 9)), min_size=1, max_size=30)


def summed(ids, times, item, before):
    """Returns the counts of an item before a time, float [half-lives]."""
    ages = [(before - time) / DAY for each, time in zip(ids, times, strict=True) if each == item and time < before]
    return np.array([sum(2.0 ** -(age / half) for age in ages) for half in HALF_LIVES])


def arrays_of(log):
    log = sorted(log, key=lambda event: event[1])
    ids = np.array([item for item, _ in log], np.int32)
    return ids, np.array([int(time * DAY) for _, time in log], np.int64)


@given(events, st.sampled_from([0.1, 1.0, 3.5]), st.integers(1, 30))
def test_counts_are_sums_over_the_events_before_an_update(log, every, cut):
    ids, times = arrays_of(log)
    updates = Updates(int(times.max()) + 1, every)
    log = TrendLog.of([(ids[:cut], times[:cut]), (ids[cut:], times[cut:])], updates, HALF_LIVES)
    now = log.at_now(6, updates, HALF_LIVES)
    np.testing.assert_array_equal(now[:2], 0)
    for item in range(2, 6):
        np.testing.assert_allclose(now[item], summed(ids, times, item, updates.now), rtol=1e-4, atol=1e-9)
    # after the update that an event leads to, no event between the two is missing
    assert (np.diff(log.keys) > 0).all()


@given(events, events)
def test_newer_events_are_added_once(log, newer):
    ids, times = arrays_of(log)
    more, later = arrays_of(newer)
    updates = Updates(int(times.max()) + 1, 1.0)
    counts = TrendLog.of([(ids, times)], updates, HALF_LIVES).at_now(6, updates, HALF_LIVES)
    found, end, added = advanced(counts, updates.now, more, later, HALF_LIVES)
    is_later = (later >= updates.now) & (more > 1)
    assert added == is_later.sum() and end == max(updates.now, int(later.max()) + 1)
    ids, times = np.r_[ids, more[is_later]], np.r_[times, later[is_later]]
    for item in range(2, 6):
        np.testing.assert_allclose(found[item], summed(ids, times, item, end), rtol=1e-4, atol=1e-9)
    again = advanced(found, end, more, later, HALF_LIVES)
    assert again[1:] == (end, 0)
    np.testing.assert_array_equal(again[0], found)


def test_a_session_sees_the_update_before_its_start():
    updates = Updates(10 * DAY, 1.0)
    times = (np.array([7.5, 9.5, 9.0, 10.0, 12.3, 8.999, 11]) * DAY).astype(np.int64)
    found = updates.of_sessions(times, np.array([0, 2, 3, 5, 7]))
    np.testing.assert_array_equal(found, [-3, -3, -1, 0, 0, -2, -2])


def test_dates_count_up_to_the_day_before():
    """In a log whose times are dates, a session sees all of the days before its own, and nothing of its own day."""
    days = np.arange(5) * DAY
    updates = Updates(end_of(SessionArrays(Items(["a"], [5]), [2] * 5, np.arange(6), {"times": days})), 1.0)
    seen = updates.now + updates.last_before(days).astype(np.int64) * DAY
    assert ((days - DAY < seen) & (seen <= days)).all()


def test_the_log_ends_where_its_last_session_starts():
    """One long session may go on for days; sessions without events count for nothing."""
    times = np.array([1, 50, 3, 4])
    arrays = SessionArrays(Items(["a"], [4]), [2] * 4, [0, 2, 4, 4], {"times": times})
    assert end_of(arrays) == 4


def test_too_many_updates_are_refused():
    with pytest.raises(InputError, match="trend_every=1e-09: must be larger"):
        Updates(0, 1e-9).last_before([DAY])


def test_no_event_at_all():
    arrays = SessionArrays(Items(["a"], [0]), [], [0], {"times": np.zeros(0, np.int64)})
    log = TrendLog.of(chunks_of(arrays), Updates(end_of(arrays), 1.0), HALF_LIVES)
    np.testing.assert_array_equal(log.at_now(3, Updates(0, 1.0), HALF_LIVES), np.zeros((3, 3)))
