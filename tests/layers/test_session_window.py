import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.logs import packed
from tfrecsession.layers import last_items, newest_items


@settings(max_examples=50)
@given(
    rows=st.lists(st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=5), max_size=3), min_size=1, max_size=3),
    window=st.sampled_from([None, 1, 2, 9]),
)
def test_newest_known_items_of_the_session_so_far(rows, window):
    """Sessions packed in rows of 16 steps, the last steps empty."""
    batch, expected = packed(*rows, steps=16), {}
    for row, sessions in enumerate(rows):
        prefixes = [session[: end + 1] for session in sessions for end in range(len(session))]
        for step, prefix in enumerate(prefixes):
            expected[row, step] = [item for item in prefix if item > 1][::-1][:window]
    found = newest_items(batch, window).numpy()
    assert found.shape[2] <= (window or 16)
    for row in range(len(rows)):
        for step in range(16):
            items = [item for item in found[row, step] if item]
            assert items == expected.get((row, step), [])
            assert found[row, step, : len(items)].tolist() == items  # and the rest is padding


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.lists(st.integers(2, 4), max_size=6), min_size=1, max_size=4),
    window=st.sampled_from([None, 1, 2, 9]),
)
def test_the_last_step_alone(rows, window):
    """`last_items` equals `newest_items` at the last step of a row."""
    batch = packed(*([session] for session in rows), steps=7)
    length = np.array([len(session) for session in rows], np.int32)
    found = last_items(batch, length, window).numpy()
    for row, session in enumerate(rows):
        whole = newest_items(batch, window).numpy()[row, max(len(session) - 1, 0)]
        assert [item for item in found[row] if item] == [item for item in whole if item] == session[::-1][:window]


def test_no_rows_at_all():
    empty = {name: np.zeros((0, 1), np.int32) for name in ("items", "position")}
    for window in (None, 3):
        assert newest_items(empty, window).shape == (0, 1, 1)
