import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfrecsession.batches import layout
from tfrecsession.batches.packing import one_a_row, pack, ranges, row_patterns

logs = st.lists(st.integers(1, 12), min_size=1, max_size=60)


def log_of(lengths):
    """Returns sessions of the given lengths whose items are all different, so that items identify events."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return np.arange(2, offsets[-1] + 2, dtype=np.int32), offsets


def test_ranges_by_hand():
    assert ranges([5, 0, 9], [2, 0, 3]).tolist() == [5, 6, 9, 10, 11]


def test_patterns_by_hand():
    # lengths 3 3 2 2 2 in rows of 5: (3 2) (3 2) (2)
    patterns = row_patterns(np.array([0, 0, 3, 2, 0, 0]), 5)
    assert [(pattern.tolist(), repeats) for pattern, repeats in patterns] == [
        ([0, 0, 1, 1, 0, 0], 2),
        ([0, 0, 1, 0, 0, 0], 1),
    ]


@given(lengths=st.lists(st.integers(1, 8), max_size=80), seed=st.none() | st.integers(0, 99))
def test_every_piece_is_in_exactly_one_row_and_no_row_overflows(lengths, seed):
    rng = None if seed is None else np.random.default_rng(seed)
    packing = pack(np.array(lengths, np.int64), 8, rng)
    assert sorted(packing.order.tolist()) == list(range(len(lengths)))
    for row in range(len(packing)):
        pieces = packing.order[packing.splits[row] : packing.splits[row + 1]]
        assert 0 < sum(lengths[piece] for piece in pieces) <= 8


def test_rows_are_nearly_full():
    lengths = np.random.default_rng(0).geometric(0.3, 20_000).clip(1, 20)
    assert lengths.sum() > 0.99 * 20 * len(pack(lengths, 20))


def test_shuffling_deals_other_sessions_into_the_same_rows():
    lengths = np.random.default_rng(0).integers(1, 9, 500)
    first, again, other = (pack(lengths, 8, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (first.order == again.order).all()
    assert not (first.order == other.order).all()
    assert len(first) == len(other) == len(pack(lengths, 8))


def pairs_of(laid):
    """Yields (item, target, item before in the same piece or 0) of every cell, from position and segment alone."""
    for items, position, segment, targets in zip(laid.items, laid.position, laid.segment, laid.targets, strict=True):
        for step in np.flatnonzero(targets):
            before = items[step - 1] if position[step] else 0
            if position[step]:
                assert segment[step - 1] == segment[step] and position[step - 1] == position[step] - 1
            yield items[step], targets[step], before


@given(st.lists(st.integers(9, 16), max_size=30))
def test_one_piece_a_row_is_the_packing_of_pieces_longer_than_half_a_row(lengths):
    lengths = np.array(lengths, np.int64)
    expected, found = pack(lengths, 16), one_a_row(lengths)
    assert found.order.tolist() == expected.order.tolist() and found.splits.tolist() == expected.splits.tolist()


@given(logs, st.integers(1, 6))
def test_every_event_lays_out_each_pair_once(lengths, narrow):
    values, offsets = log_of(lengths)
    found = [pair for laid in layout.every_event(values, offsets, cells=16, narrow=narrow) for pair in pairs_of(laid)]
    expected = []
    for start, end in zip(offsets[:-1], offsets[1:], strict=True):
        for i in range(start, end - 1):
            expected.append((values[i], values[i + 1], values[i - 1] if i > start else 0))
    assert sorted(found) == sorted(expected)


@given(logs, st.integers(1, 6))
def test_split_keeps_every_pair_and_newest_keeps_the_last_ones(lengths, steps):
    values, offsets = log_of(lengths)
    for cut, kept in ((layout.split, None), (layout.newest, steps)):
        pieces = cut(offsets, steps)
        packing = pack(pieces.lengths, steps)
        rows = len(packing)
        laid = layout.packed_rows(values, pieces, packing, 0, rows, steps, rows) if rows else None
        found = sorted((int(a), int(b)) for a, b, _ in pairs_of(laid)) if laid else []
        expected = []
        for start, end in zip(offsets[:-1], offsets[1:], strict=True):
            all_pairs = [(int(values[i]), int(values[i + 1])) for i in range(start, end - 1)]
            expected += all_pairs if kept is None else all_pairs[-kept:]
        assert found == sorted(expected)


def test_the_event_index_finds_the_target():
    values, offsets = log_of([4, 1, 40, 3])
    for laid in layout.every_event(values, offsets, narrow=8):
        is_target = laid.targets > 0
        assert (values[laid.event[is_target]] == laid.targets[is_target]).all()
        assert (laid.event[~is_target] == -1).all()


def random_log(seed):
    """Returns sessions over few items, so that some share a prefix; some are empty or have a single event."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 7, 12)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return rng.integers(2, 5, offsets[-1]).astype(np.int32), offsets


@pytest.mark.parametrize("seed", range(5))
def test_events_after_the_same_prefix_are_found(seed):
    values, offsets = random_log(seed)
    seen, expected = {}, []
    for start, end in zip(offsets[:-1], offsets[1:], strict=True):
        expected += [seen.setdefault(tuple(values[start : event + 1]), event) for event in range(start, end)]
    assert layout.first_alike(values, offsets).tolist() == expected


@pytest.mark.parametrize("one_target", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_only_the_scored_events_are_targets(seed, one_target):
    values, offsets = random_log(seed)
    scored = np.random.default_rng(seed).random(len(values)) < 0.4
    laid = list(layout.every_event(values, offsets, cells=8, narrow=2, scored=scored, one_target=one_target))
    found = np.concatenate([part.event[part.targets > 0] for part in laid])
    first = np.isin(np.arange(len(values)), offsets[:-1])
    assert sorted(found) == np.flatnonzero(scored & ~first).tolist()
    for part in laid:
        assert (values[part.event[part.targets > 0]] == part.targets[part.targets > 0]).all()


def test_prefixes_by_hand():
    values, offsets = np.array([5, 6, 7, 8, 9, 4], np.int32), np.array([0, 4, 5, 6])
    pieces = layout.prefixes(offsets, steps=2)
    assert pieces.starts.tolist() == [0, 0, 1] and pieces.lengths.tolist() == [1, 2, 2]
    (laid,) = layout.every_event(values, offsets, one_target=True)
    rows = zip(laid.items.ravel(), laid.position.ravel(), laid.targets.ravel(), laid.segment.ravel(), strict=True)
    cells = [cell[:3] for cell in rows if cell[3]]
    sessions = [[(5, 0, 6)], [(5, 0, 0), (6, 1, 7)], [(5, 0, 0), (6, 1, 0), (7, 2, 8)]]
    assert sorted(cells) == sorted(cell for session in sessions for cell in session)
