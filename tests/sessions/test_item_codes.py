"""Codes of items: hashes, pairs, characters, and what the sessions share."""

import numpy as np
import pytest

from tests.logs import sessions_of
from tfrecsession import InputError
from tfrecsession.sessions import item_codes
from tfrecsession.sessions.item_codes import (
    ItemCodes,
    codes_of_ids,
    dtype_of,
    make_codes,
    shape_of,
    smoothed,
    tree_order,
)
from tfrecsession.sessions.vocabulary import Items

NAMES = Items([f"item-{number}" for number in range(500)], np.arange(500, 0, -1))


def test_random_numbers_are_smoothed_by_the_walk_through_the_sessions(monkeypatch):
    rng = np.random.default_rng(0)
    log = [
        [2, 3, 3, 5],
        [7, 1],
        [4, 1, 2],
        [3, 4, 2],
        [6, 6],
        [8, 9, 1],
    ]  # 1 is unknown; 6 and 7 are alone
    values, offsets = np.concatenate(log).astype(np.int32), np.cumsum([0, *map(len, log)])
    start = rng.standard_normal((10, 2), np.float32)
    walk = np.zeros((10, 10))  # the chances of a step: any session of the item, then any of its distinct items
    for session in (set(session) - {1} for session in log):
        for item in session if len(session) > 1 else ():
            walk[item, list(session)] += 1 / len(session)
    alone = walk.sum(axis=1) == 0
    walk[~alone] /= walk[~alone].sum(axis=1, keepdims=True)
    assert np.flatnonzero(alone).tolist() == [0, 1, 6, 7]
    expected = start.astype(float)  # of items alone to the end
    for _ in range(3):
        moved = (walk @ expected)[~alone]
        expected[~alone] = (moved - moved.mean(axis=0)) / moved.std(axis=0)
    parts = [(values[:6], offsets[:3]), (values[6:], offsets[2:] - 6)]
    before = values.copy()
    monkeypatch.setattr(item_codes, "STEPS", 3)
    found = smoothed(lambda: iter(parts), 10, 2, np.random.default_rng(0))
    np.testing.assert_allclose(found, expected[2:], atol=1e-5)
    np.testing.assert_array_equal(values, before)


def test_learned_codes_cut_the_catalogue_into_equal_parts_that_groups_share():
    rng = np.random.default_rng(0)
    log = [list(rng.integers(2, 12, 4) + 10 * (number % 2)) for number in range(400)]
    codes = make_codes("jpq", sessions_of(log, 20).items, 4, 2, sessions_of(log, 20)).codes
    assert codes.dtype == np.uint8 and codes.shape == (20, 4)
    halves = [code.tolist() in ([0] * 10 + [1] * 10, [1] * 10 + [0] * 10) for code in codes.T]  # which share no session
    assert sum(halves) >= 3  # the random numbers of two groups may be near each other by chance
    cut = make_codes("jpq", sessions_of(log, 20).items, 4, 4, sessions_of(log, 20)).codes
    assert all((np.bincount(column, minlength=4) == 5).all() for column in cut.T)
    assert len(np.unique(cut, axis=0)) > 8  # each code has its own borders within a half


def halved(rows, points, level, levels):
    """The tree by recursion: rows are halved by one column after the other, the larger half first."""
    rows = sorted(rows, key=lambda row: points[row, level % points.shape[1]])
    if level == levels or len(rows) < 2:
        return sorted(rows, key=lambda row: points[row, 0])
    middle = (len(rows) + 1) // 2
    return [row for half in (rows[:middle], rows[middle:]) for row in halved(half, points, level + 1, levels)]


@pytest.mark.parametrize(
    "count, columns, parts", [(37, 3, 8), (64, 2, 16), (20, 1, 4), (5, 4, 9), (1, 2, 4), (9, 2, 1)]
)
def test_the_order_of_a_tree_is_that_of_halving_again_and_again(count, columns, parts):
    points = np.random.default_rng(count).normal(size=(count, columns))
    levels = int(np.ceil(np.log2(parts)))
    assert tree_order(points, parts).tolist() == halved(range(count), points, 0, levels)
    if columns == 1:
        np.testing.assert_array_equal(tree_order(points, parts), np.argsort(points[:, 0]))


def test_an_empty_tree_has_no_order():
    assert len(tree_order(np.zeros((0, 4)), 8)) == 0


def test_codes_are_shared_within_many_small_groups():
    rng = np.random.default_rng(0)
    log = [list(rng.integers(2, 12, 4) + 10 * (number % 40)) for number in range(8000)]  # 40 groups, none shared
    sessions, group = sessions_of(log, 400), np.arange(400) // 10
    codes = make_codes("jpq", sessions.items, 4, 40, sessions).codes
    alike = (codes[:, None] == codes[None]).mean(axis=2) - np.eye(400)
    assert alike[group[:, None] == group[None]].sum() > 0.4 * alike.sum()  # by chance 1 of 40


def test_the_memory_of_codes_is_bounded(monkeypatch):
    rng = np.random.default_rng(0)
    sessions = sessions_of([list(rng.integers(2, 42, 4)) for _ in range(200)], 40)
    asked = []
    monkeypatch.setattr(item_codes, "AT_A_TIME", 2 * item_codes.COLUMNS * sessions.items.size)
    monkeypatch.setattr(item_codes, "smoothed", lambda *given: asked.append(given[2]) or smoothed(*given))
    codes = make_codes("jpq", sessions.items, 5, 8, sessions).codes
    assert asked == [2 * item_codes.COLUMNS, 2 * item_codes.COLUMNS, item_codes.COLUMNS]
    assert all((np.bincount(column, minlength=8) == 5).all() for column in codes.T)


def test_frequent_items_have_values_of_their_own_beside_those_that_the_others_share():
    rng = np.random.default_rng(0)
    sessions = sessions_of([list(rng.integers(2, 602, 4)) for _ in range(300)], 600)
    codes = make_codes("jpq", sessions.items, 4, 300, sessions).codes.astype(int)
    order = sorted(range(600), key=lambda row: -sessions.items.counts[row])  # those of a refit are not in this order
    np.testing.assert_array_equal(codes[order[:44]], np.repeat(np.arange(44)[:, None], 4, axis=1))
    assert codes[order[44:]].min() == 44 and all(len(np.unique(column)) == 256 for column in codes[order[44:]].T)
    few = make_codes("jpq", sessions_of([[2, 3, 4], [3, 4]], 3).items, 4, 1024, sessions_of([[2, 3, 4], [3, 4]], 3))
    assert few.codes[:, 0].tolist() == [2, 0, 1]


def test_a_million_items_take_a_twentieth_of_the_full_table():
    count, values = shape_of("jpq", range(1_000_000), 128, None, None)
    bytes_of = count * np.dtype(dtype_of(values)).itemsize * 1_000_000 + 4 * values * 128 + 4_000_000
    assert (count, values) == (8, 10_240) and 4 * 1_000_000 * 129 / bytes_of >= 20
    assert shape_of("jpq", range(20_000), 128, None, None) == (8, 5_000)


def test_pairs_of_quotient_and_remainder_never_repeat():
    with pytest.warns(UserWarning, match="collapse"):
        codes = make_codes("qr", NAMES, *shape_of("qr", NAMES, 8, None, None)).codes
    assert codes.shape == (500, 2) and codes.max() < 23
    assert len({tuple(pair) for pair in codes.tolist()}) == 500


def test_hashes_follow_from_the_id_alone_and_those_of_bloom_are_distinct():
    codes = codes_of_ids("bloom", NAMES.ids, 4, 6)
    assert all(len(set(row)) == 4 for row in codes.tolist())
    np.testing.assert_array_equal(codes_of_ids("bloom", NAMES.ids[7:9], 4, 6), codes[7:9])
    assert np.bincount(codes_of_ids("hashed", NAMES.ids, 1, 10)[:, 0], minlength=10).min() > 20


def test_characters_are_the_last_bytes_of_an_id():
    codes = codes_of_ids("chars", ["ab", "é", "abcd"], 3, 256)
    assert codes.tolist() == [[97, 98, 0], [0xC3, 0xA9, 0], [98, 99, 100]]
    assert shape_of("chars", NAMES, 8, None, None) == (8, 256)
    with pytest.warns(UserWarning, match="items_as='chars' reads 1 bytes of an id: 490 items"):
        make_codes("chars", NAMES, 1, 256)


@pytest.mark.parametrize(
    ("kind", "width", "codes", "values", "expected"),
    [
        ("jpq", 128, None, None, (8, 256)),
        ("jpq", 100, None, None, (5, 256)),
        ("jpq", 100, 10, 64, (10, 64)),
        ("hashed", 100, None, None, (1, 64)),
        ("bloom", 100, None, 30, (3, 30)),
        ("qr", 100, None, None, (2, 23)),
    ],
)
def test_sizes_follow_the_kind_the_width_and_the_catalogue(kind, width, codes, values, expected):
    assert shape_of(kind, NAMES, width, codes, values) == expected


@pytest.mark.parametrize(
    ("kind", "width", "codes", "values", "words"),
    [
        ("jpq", 100, 8, None, "codes=8: must divide the width of the item vectors, 100, .* e.g. 4, 5, 10"),
        ("jpq", 4, 8, None, "codes=8: must divide the width of the item vectors, 4"),
        ("jpq", 97, None, None, "codes=None: none of 4 to 8 divides the width of the item vectors, 97; .* e.g. 104"),
        ("hashed", 100, 2, None, "codes=2: must be 1 with items_as='hashed'"),
        ("qr", 100, None, 22, "code_values=22: must be at least 23, the square root of the 500 items"),
        ("bloom", 100, 9, 4, "codes=9: must be at most 4, the rows of the table"),
    ],
)
def test_sizes_that_do_not_fit_are_named(kind, width, codes, values, words):
    with pytest.raises(InputError, match=words):
        shape_of(kind, NAMES, width, codes, values)


def test_codes_of_another_catalogue_are_refused():
    codes = np.zeros((500, 2), np.uint8)
    with pytest.raises(InputError, match="codes: must be those of this vocabulary, .*; they were made for other"):
        ItemCodes("jpq", codes, 4, "other").check(NAMES)
    with pytest.raises(InputError, match="codes: must have a row for each of the 500 items, not 499"):
        ItemCodes("jpq", codes[1:], 4, NAMES.fingerprint).check(NAMES)
    with pytest.raises(InputError, match="codes: must be from 0 to 3, below values=4; they are from 7 to 7"):
        ItemCodes("jpq", codes + 7, 4, "")
    with pytest.raises(InputError, match="items_as='jpq': must be learned from a log"):
        make_codes("jpq", NAMES, 4, 256)
