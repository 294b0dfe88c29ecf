"""The attributes of places in a log, worked out by hand."""

import numpy as np
import pytest

from tests.logs import sessions_of
from tfrecsession import InputError
from tfrecsession.sessions.context import ContextLog
from tfrecsession.sessions.places import MOST, Places, kilometres, learn_places, unit_vectors

HOUR = 1 / 24
# Place 2 at (0, 0), place 3 at (0, 90), place 4 at (90, 0), place 5 without coordinates.
LOG = [[2, 3, 4], [2, 5], [3, 2, 2]]
TIMES = np.array([8, 9, 12, 8, 20, 0, 1, 3]) * HOUR + 100  # hours of the day; the gap of 12 hours is no stay
LATITUDE = np.array([0.0, 0, 90, 0, np.nan, 0, 0, 0])
LONGITUDE = np.array([0.0, 90, 0, 0, np.nan, 90, 0, 0])
CATEGORY = np.array(["home", "bar", "bar", "home", None, "bar", "home", "home"], object)


def learned(items=4, **changes):
    columns = {"lat": LATITUDE, "longitude": LONGITUDE, "category": CATEGORY, **changes.pop("columns", {})}
    columns = {name: column for name, column in columns.items() if column is not None}
    sessions = sessions_of(LOG, items, TIMES, **columns)
    log = ContextLog(sessions, {}, None)
    return learn_places(log, sessions.items, **changes)


def test_positions_and_distances():
    places = learned()
    np.testing.assert_allclose(places.positions[2:], [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]], atol=1e-6)
    assert not places.positions[:2].any()
    quarter = np.pi / 2 * 6371  # of the way around the earth
    np.testing.assert_allclose(kilometres(places.positions[2], places.positions[3]), quarter, rtol=1e-6)
    logs = np.log1p([quarter, quarter, quarter, 0])  # 2 to 3, 3 to 4, 3 to 2, 2 to 2; 5 is unknown
    np.testing.assert_allclose(places.distance, [logs.mean(), logs.std()], rtol=1e-5)


def test_a_place_across_the_date_line_is_between_its_events():
    (middle,) = learned(columns={"longitude": np.array([179.0, 90, 0, -179, np.nan, 90, 179, -179])}).positions[2:3]
    np.testing.assert_allclose(middle, unit_vectors([0], [180])[0], atol=1e-6)


def test_stays_are_drawn_towards_their_category():
    places = learned()
    # Stays: 2 for 1, 2 hours of ... and 12, which is none; 3 for 3 and 1; the last event of a session has none.
    mean = np.mean([1, 3, 1, 2])
    home = (1 + 2 + 5 * mean) / (2 + 5)
    bar = (3 + 1 + 5 * mean) / (2 + 5)
    expected = [(1 + 2 + 5 * home) / 7, (3 + 1 + 5 * bar) / 7, bar, mean]  # 5 has no category
    np.testing.assert_allclose(places.hours, [0, 0, *expected], rtol=1e-5)
    counts, logs = np.array([4, 2, 1, 1]), np.log(expected)
    average = (logs * counts).sum() / 8
    deviation = np.sqrt(((logs - average) ** 2 * counts).sum() / 8)
    np.testing.assert_allclose(places.numbers[2:, 0], (logs - average) / deviation, rtol=1e-4)


def test_popularity_by_hour():
    places = learned()
    share = np.bincount([8, 9, 12, 8, 20, 0, 1, 3], minlength=24) / 8
    visits = ([8, 8, 1, 3], [9, 0], [12], [20])
    profile = [(np.bincount(hours, minlength=24) + 5 * share) / (len(hours) + 5) - share for hours in visits]
    lengths = [np.sum(row**2) for row, hours in zip(profile, visits, strict=True) for _ in hours]
    np.testing.assert_allclose(places.numbers[2:, 2:], profile / np.sqrt(np.mean(lengths)), atol=1e-5)
    assert abs(places.numbers[:, 2:].sum(axis=1)).max() < 1e-4


def test_categories_by_falling_count():
    assert learned().categories.tolist() == [0, 0, 2, 3, 3, 0]
    mixed = np.array(["bar", "bar", "bar", "home", "x", "bar", "home", "home"], object)  # place 2: home, 3 to 1
    assert learned(columns={"category": mixed}).categories.tolist() == [0, 0, 3, 2, 2, 4]
    assert len(Places.unknown(4).categories) < MOST


def test_what_is_missing_is_unknown():
    sessions = sessions_of(LOG, 4, timed=False, lat=LATITUDE, lon=LONGITUDE, times=TIMES)
    places = learn_places(ContextLog(sessions, {}, None), sessions.items, latitude=None, longitude=None)
    unknown = Places.unknown(6)
    for name in ("positions", "hours", "categories", "distance"):
        np.testing.assert_array_equal(getattr(places, name), getattr(unknown, name))
    assert places.numbers[:, 1].any() and not places.numbers[:, 2:].any()
    for name, table in learn_places(None, sessions.items)._asdict().items():
        np.testing.assert_array_equal(table, getattr(unknown, name))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latitude": "latitud"}, "latitude='latitud': must be a column of the log"),
        ({"category": "kind"}, "category='kind': .*; to keep it, prepare the log with context='kind'"),
        ({"longitude": None}, "longitude=None: must be the name of a column, as latitude is read from 'lat'"),
        ({"columns": {"longitude": None}}, "longitude='auto': must be the name of a column"),
        ({"columns": {"lat": LATITUDE + 1}}, "'lat' must hold degrees from -90 to 90, .* 1 events .* such as 91"),
        ({"columns": {"longitude": LONGITUDE - 999}}, "'longitude' must hold degrees from -180 to 180"),
        ({"latitude": "category"}, "latitude: column 'category' must hold degrees, numbers"),
    ],
)
def test_bad_columns(changes, message):
    with pytest.raises(InputError, match=message):
        learned(**changes)


def test_a_name_needs_a_log():
    with pytest.raises(InputError, match="latitude='lat': must be a column of a log"):
        learn_places(None, sessions_of(LOG, 4).items, latitude="lat")
