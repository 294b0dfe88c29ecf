"""Interactions against a dictionary of lists."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.logs import sessions_of
from tfrecsession import InputError
from tfrecsession.batches import Interactions

COMBINE = {"sum": sum, "last": lambda values: values[-1], "mean": np.mean, "max": max}


@settings(deadline=None)
@given(
    log=st.lists(st.lists(st.integers(1, 8), max_size=6), min_size=1, max_size=8),
    duplicates=st.sampled_from(list(COMBINE)),
    valued=st.booleans(),
    timed=st.booleans(),
    data=st.data(),
)
def test_equals_a_dictionary(log, duplicates, valued, timed, data):
    events = sum(map(len, log))
    users = data.draw(st.lists(st.sampled_from(["a", "b", "", None]), min_size=len(log), max_size=len(log)))
    ratings = np.array(data.draw(st.lists(st.integers(-2, 5), min_size=events, max_size=events)), float)
    times = np.array(data.draw(st.lists(st.integers(0, 4), min_size=events, max_size=events)), np.int64)
    columns = {"user": np.array(users, object), "rating": ratings} | ({"times": times} if timed else {})
    rows, event = {}, 0
    for index, (session, user) in enumerate(zip(log, users, strict=True)):
        row = rows.setdefault(user or f"session:{index}", {})
        for item in session:
            if item > 1:
                row.setdefault(item, []).append((times[event] if timed else 0, ratings[event] if valued else 1.0))
            event += 1
    found = Interactions.of(sessions_of(log, **columns), value="rating" if valued else None, duplicates=duplicates)
    assert found.users.tolist() == list(rows) and "" not in found.users
    assert found.named.tolist() == [not name.startswith("session:") for name in rows]
    for user, row in enumerate(rows.values()):
        pairs = slice(found.offsets[user], found.offsets[user + 1])
        assert found.values[pairs].tolist() == sorted(row)
        in_time = {item: [value for _, value in sorted(events, key=lambda e: e[0])] for item, events in row.items()}
        expected = [COMBINE[duplicates](in_time[item]) for item in sorted(row)]
        np.testing.assert_allclose(found.weights[pairs], expected, rtol=1e-6)
    dense = found.csr().toarray()
    assert dense.shape == (len(rows), 9) and found.encode(["a", "unknown"])[1] == -1
    assert (found.values.dtype, found.weights.dtype, found.offsets.dtype) == (np.int32, np.float32, np.int64)


def test_without_users_every_session_is_a_user():
    found = Interactions.of(sessions_of([[2, 2], [2, 3]]))
    assert found.users.tolist() == ["session:0", "session:1"] and not found.named.any()
    assert found.csr().toarray()[:, 2:4].tolist() == [[2, 0], [1, 1]]
    named = Interactions.of(sessions_of([[2], [3]], session=np.array(["x", "y"], object)))
    assert named.users.tolist() == ["session:x", "session:y"] and named.encode(["session:y"]).tolist() == [1]


def test_a_user_named_like_a_session_is_found_by_name():
    columns = {"user": np.array([None, "session:0"], object)}
    assert Interactions.of(sessions_of([[2], [3]], **columns)).encode(["session:0"]).tolist() == [1]


def test_the_shop(shop):
    found = Interactions.of(shop.train)
    assert found.weights.sum() == shop.train.events and found.named.any()
    assert len(set(found.users)) == len(found)


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({}, {"value": "rating"}, "value='rating': .*no column 'rating'"),
        ({}, {"people": "owner"}, "people='owner': .*no such column"),
        ({}, {"duplicates": "first"}, "duplicates='first': must be one of sum, last, mean, max"),
        ({"r": np.array([1.0, np.nan, 2.0])}, {"value": "r"}, "value='r': 1 of 3 events .* event 2 of session 1"),
        ({"r": np.array([1.0, 2.0, np.inf])}, {"value": "r"}, "value='r': 1 of 3 events .* event 1 of session 2"),
        (
            {"r": np.array(["a", "b", "c"], object)},
            {"value": "r"},
            "value='r': must be .* numbers, but holds object",
        ),
        ({"r": np.array([1.0, 2.0])}, {"value": "r"}, "value='r': .*per session"),
        ({"r": np.array([1.0, 2.0, 3.0])}, {"people": "r"}, "people='r': .*per event"),
    ],
)
def test_invalid_columns_and_options_are_refused(columns, options, message):
    with pytest.raises(InputError, match=message):
        Interactions.of(sessions_of([[2, 3], [4]], **columns), **options)
