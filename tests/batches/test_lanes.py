import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrecsession.batches import datasets
from tfrecsession.batches.lanes import assign


def log_of(lengths):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return np.arange(2, offsets[-1] + 2, dtype=np.int32), offsets


def test_lanes_by_hand():
    # lane 0: session 0 (2 steps), then 2;  lane 1: session 1 (3 steps), then 3 after both are free again
    lane, begin = assign(np.array([2, 3, 1, 4]), lanes=2)
    assert lane.tolist() == [0, 1, 0, 0]
    assert begin.tolist() == [0, 0, 2, 3]


def test_a_batch_by_hand():
    values, offsets = log_of([3, 4, 2])  # 2 3 4 | 5 6 7 8 | 9 10
    batches = list(datasets.session_parallel(values, offsets, rows=2, steps=2))
    items = [batch["items"].numpy().tolist() for batch, _ in batches]
    targets = [target.numpy().tolist() for _, target in batches]
    positions = [batch["position"].numpy().tolist() for batch, _ in batches]
    assert items == [[[2, 3], [5, 6]], [[9, 0], [7, 0]]]
    assert targets == [[[3, 4], [6, 7]], [[10, 0], [8, 0]]]
    assert positions == [[[0, 1], [0, 1]], [[0, 0], [2, 0]]]


@settings(max_examples=50)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.integers(1, 5), st.integers(1, 4))
def test_lanes_have_every_pair_once_in_order_and_nothing_else(lengths, rows, steps):
    values, offsets = log_of(lengths)
    if max(lengths) < 2:
        return
    dataset = datasets.session_parallel(values, offsets, rows, steps)
    batches = list(dataset)
    assert len(batches) == dataset.cardinality().numpy()
    lanes = {
        name: np.concatenate([(target if name == "targets" else batch[name]).numpy() for batch, target in batches], 1)
        for name in ("items", "position", "segment", "targets")
    }
    found = []
    for lane in range(rows):
        for step in np.flatnonzero(lanes["targets"][lane]):
            found.append((int(lanes["items"][lane, step]), int(lanes["targets"][lane, step])))
            if lanes["position"][lane, step]:  # continues the step before, also across batches
                assert lanes["targets"][lane, step - 1] == lanes["items"][lane, step]
                assert lanes["segment"][lane, step - 1] == lanes["segment"][lane, step]
    starts, ends = offsets[:-1], offsets[1:]
    expected = [
        (int(values[i]), int(values[i + 1])) for s, e in zip(starts, ends, strict=True) for i in range(s, e - 1)
    ]
    assert sorted(found) == expected
    firsts = [lanes["items"][:, step][lanes["position"][:, step] == 0] for step in range(lanes["items"].shape[1])]
    began = np.concatenate([np.sort(first[first > 0]) for first in firsts])
    assert (np.diff(began) > 0).all()  # sessions begin in the order of the log
