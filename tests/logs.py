"""Small random logs and batches, and the slow and obvious way to go through them."""

import numpy as np
from hypothesis import strategies as st

from tfrecsession.batches import Sessions
from tfrecsession.sessions.store import SessionArrays
from tfrecsession.sessions.vocabulary import Items

DAY = 86_400_000_000

# Few ids, so that ties and repeats abound; 1 is the unknown item.
logs = st.lists(st.lists(st.integers(1, 8), min_size=1, max_size=7), min_size=1, max_size=12)


def sessions_of(log, items=7, times=None, timed=True, **columns):
    """Returns a train split of the sessions of `log`, over `items` items (ids 2 .. items + 1).

    Args:
        times: days, one per event.
        columns: further columns of the split, as they are stored.
    """
    values = np.array([item for session in log for item in session], np.int32)
    counts = np.bincount(values, minlength=items + 2)[2:]
    if times is not None:
        columns["times"] = (np.asarray(times) * DAY).astype(np.int64)
    offsets = np.r_[0, np.cumsum([len(session) for session in log])]
    vocabulary = Items([f"i{number}" for number in range(2, items + 2)], counts)
    return Sessions(SessionArrays(vocabulary, values, offsets, columns), "train", timed)


def known(log):
    """Returns the sessions without their unknown items."""
    return [[item for item in session if item > 1] for session in log]


def packed(*rows, steps=None):
    """Packs each row, a list of sessions of ids, end to end: int32 `items`, `position` and `segment` [rows, steps].

    Without `steps` the longest row has no padding.
    """
    steps = steps or max(sum(map(len, row)) for row in rows)
    batch = {name: np.zeros((len(rows), steps), np.int32) for name in ("items", "position", "segment")}
    for row, sessions in enumerate(rows):
        step = 0
        for segment, session in enumerate(sessions, 1):
            cells = slice(step, step + len(session))
            batch["items"][row, cells], batch["position"][row, cells] = session, range(len(session))
            batch["segment"][row, cells] = segment
            step += len(session)
    return batch


def scores_after(model, history):
    """Returns float [items + 2]: the scores of a model after a history of ids."""
    return np.asarray(model.score_all(model.encode(packed([history]))[:, -1]))[0]


def keep_best(weights, neighbours):
    """Sets all but the best of each row of [size, size] to 0; of equal ones the lower column stays."""
    kept = np.zeros_like(weights)
    for row, values in enumerate(weights):
        order = sorted(range(len(values)), key=lambda column: (-np.float32(values[column]), column))
        for column in order[:neighbours]:
            kept[row, column] = values[column]
    return kept
