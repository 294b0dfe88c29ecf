import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.logs import known, logs, scores_after, sessions_of
from tfrecsession import InputError
from tfrecsession.models import Popularity, SessionPopularity

some_days = st.sampled_from([None, 0.5, 2, 7])


@settings(max_examples=20)
@given(log=logs, days=some_days, half_life=some_days, data=st.data())
def test_events_are_weighted_by_their_age(log, days, half_life, data):
    events = sum(map(len, log))
    times = sorted(data.draw(st.lists(st.integers(0, 40), min_size=events, max_size=events)))
    times = [quarter / 4 for quarter in times]
    sessions = sessions_of(log, times=times)
    model = Popularity(sessions.items, days=days, half_life=half_life)
    model.fit(sessions)
    expected = [0.0] * 9
    for item, time in zip(sessions.values, times, strict=True):
        age = max(times) - time
        if item > 1 and (days is None or age < days):
            expected[item] += 1 if half_life is None else 2 ** (-age / half_life)
    expected = [math.log(1 + support) for support in expected]
    np.testing.assert_allclose(scores_after(model, [2, 3]), expected, rtol=1e-5, atol=1e-6)


def test_histories_do_not_matter_and_recent_items_lead():
    sessions = sessions_of([[2, 2, 2, 3, 3, 3], [4, 5]], times=[0, 0, 0, 0, 0, 0, 9, 10])
    model = Popularity(sessions.items, days=7)
    model.fit(sessions)
    assert model.recommend([[], ["i2"]], k=2).items.tolist() == [["i4", "i5"]] * 2


@pytest.mark.parametrize("argument", ["days", "half_life"])
def test_a_log_without_times_is_refused(argument):
    sessions = sessions_of([[2, 3]], times=[1, 2], timed=False)
    Popularity(sessions.items).fit(sessions)
    with pytest.raises(InputError, match=f"^{argument}: needs the times"):
        Popularity(sessions.items, **{argument: 7}).fit(sessions)


@pytest.mark.parametrize(
    ("argument", "value"), [("days", 0), ("half_life", -1), ("days", "7"), ("half_life", math.nan)]
)
def test_bad_arguments(shop, argument, value):
    with pytest.raises(InputError, match=f"^{argument}={value!r}: must be a number above 0, or None"):
        Popularity(shop.items, **{argument: value})


@settings(max_examples=20)
@given(log=logs, history=st.lists(st.integers(1, 8), min_size=1, max_size=8))
def test_frequency_in_the_session_comes_before_popularity(log, history):
    sessions = sessions_of(log)
    model = SessionPopularity(sessions.items)
    model.fit(sessions)
    events = [item for session in known(log) for item in session]
    expected = [history.count(item) + events.count(item) / (1 + events.count(item)) for item in range(2, 9)]
    np.testing.assert_allclose(scores_after(model, history)[2:], expected, rtol=1e-6)
