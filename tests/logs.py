"""Small random logs for tests, and slow, obvious helpers to read them."""

import numpy as np
from hypothesis import strategies as st

from tfrecsession.batches import Sessions
from tfrecsession.sessions.store import SessionArrays
from tfrecsession.sessions.vocabulary import Items

DAY = 86_400_000_000

# Item ids of prepared sessions: few, so that ties and repeats are frequent; 1 is the unknown item.
logs = st.lists(st.lists(st.integers(1, 8), min_size=1, max_size=7), min_size=1, max_size=12)


def sessions_of(log, items=7, times=None, timed=True):
    """Returns a train split of `log`, over `items` items (ids 2 .. items + 1); times in days, per event."""
    values = np.array([item for session in log for item in session], np.int32)
    counts = np.bincount(values, minlength=items + 2)[2:]
    columns = {"times": (np.asarray(times) * DAY).astype(np.int64)} if times is not None else {}
    offsets = np.r_[0, np.cumsum([len(session) for session in log])]
    vocabulary = Items([f"i{item}" for item in range(2, items + 2)], counts)
    return Sessions(SessionArrays(vocabulary, values, offsets, columns), "train", timed)


def known(log):
    """Returns the sessions without their unknown items."""
    return [[item for item in session if item > 1] for session in log]


def scores_after(model, history):
    """Returns the scores after a history of ids, float [items + 2], by one row of a batch."""
    batch = {
        "items": np.array([history], np.int32),
        "position": np.arange(len(history), dtype=np.int32)[None],
        "segment": np.ones((1, len(history)), np.int32),
    }
    return np.asarray(model.score_all(model.encode(batch)[:, -1]))[0]


def keep_best(weights, neighbours):
    """Zeroes all but the largest weights of each row of [size, size]; of equal ones the lower column stays."""
    kept = np.zeros_like(weights)
    for row, values in enumerate(weights):
        order = sorted(range(len(values)), key=lambda column: (-np.float32(values[column]), column))
        for column in order[:neighbours]:
            kept[row, column] = values[column]
    return kept
