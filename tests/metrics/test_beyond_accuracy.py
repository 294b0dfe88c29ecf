import numpy as np
import pytest

from tfrecsession.metrics.beyond_accuracy import average_precision, beyond_accuracy, hits_of_the_rest, precision


def slow(lists, sessions, k):
    """Returns precision@k and AP@k of every target by definition, one at a time."""
    precisions, averages, row = [], [], 0
    for session in sessions:
        for place in range(1, len(session)):
            rest = set(session[place:])
            shown = [item for item in lists[row][:k] if item > 1]
            precisions.append(len(rest & set(shown)) / k)
            hits = [item in rest for item in lists[row][:k]]
            hits = [hit and item > 1 for hit, item in zip(hits, lists[row][:k], strict=True)]
            at_hits = [sum(hits[: p + 1]) / (p + 1) for p in range(len(hits)) if hits[p]]
            averages.append(sum(at_hits) / min(k, len(rest)))
            row += 1
    return precisions, averages


def flat(sessions):
    values = np.concatenate([*map(np.array, sessions), np.zeros(0)]).astype(np.int32)
    offsets = np.cumsum([0, *map(len, sessions)])
    event = np.array([offsets[i] + place for i, session in enumerate(sessions) for place in range(1, len(session))])
    return values, offsets, event.astype(np.int64)


def test_by_hand():
    sessions = [[2, 3, 4, 3]]  # after 2 the rest is {3, 4}, after 3 {4, 3}, after 4 {3}
    lists = np.array([[3, 9, 4], [2, 4, 0], [9, 9, 2]])
    hits, items = hits_of_the_rest(lists, *flat(sessions))
    assert hits.tolist() == [[True, False, True], [False, True, False], [False] * 3]
    assert items.tolist() == [2, 2, 1]
    np.testing.assert_allclose(precision(hits, 3), [2 / 3, 1 / 3, 0])
    np.testing.assert_allclose(average_precision(hits, items, 3), [(1 + 2 / 3) / 2, (1 / 2) / 2, 0])
    np.testing.assert_allclose(average_precision(hits, items, 1), [1, 0, 0])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("k", [1, 3, 6])
def test_equals_one_target_at_a_time(seed, k, monkeypatch):
    from tfrecsession.metrics import beyond_accuracy as module

    monkeypatch.setattr(module, "BLOCK", 7)
    rng = np.random.default_rng(seed)
    size = 9  # few items: repeats in a session, and sessions of unknown items (1)
    sessions = [rng.integers(1, size, rng.integers(1, 12)).tolist() for _ in range(12)]
    values, offsets, event = flat(sessions)
    lists = np.array([rng.permutation(np.arange(2, size))[:6] for _ in event])
    lists[rng.random(len(lists)) < 0.3, 4:] = 0
    hits, items = hits_of_the_rest(lists, values, offsets, event)
    precisions, averages = slow(lists, sessions, k)
    np.testing.assert_allclose(precision(hits, k), precisions)
    np.testing.assert_allclose(average_precision(hits, items, k), averages)


def test_with_one_item_left_the_average_precision_is_the_reciprocal_rank():
    sessions = [[5, 7]] * 4
    lists = np.array([[7, 2, 3], [2, 7, 3], [2, 3, 7], [2, 3, 4]])
    hits, items = hits_of_the_rest(lists, *flat(sessions))
    np.testing.assert_allclose(average_precision(hits, items, 3), [1, 1 / 2, 1 / 3, 0])


def test_catalogue_metrics_by_hand():
    counts = np.array([8, 4, 2, 2])  # of the items 2, 3, 4, 5
    lists = np.array([[2, 3], [2, 4], [2, 0], [2, 3]])
    found = beyond_accuracy(lists, counts, 2)
    assert found["coverage@2"] == 3 / 4
    assert found["popularity@2"] == pytest.approx((4 * 1 + 2 * 4 / 8 + 2 / 8) / 7)
    assert found["novelty@2"] == pytest.approx((4 * 1 + 2 * 2 + 3) / 7)  # -log2 of 8, 4 and 2 of 16
    times = np.array([4, 2, 1, 0])
    pairs = np.abs(times[:, None] - times[None, :]).sum()
    assert found["gini@2"] == pytest.approx(pairs / (2 * len(times) * times.sum()))
    assert beyond_accuracy(lists, counts, 1)["gini@1"] == pytest.approx(1 - 1 / 4)  # one item is always recommended
    all_items = beyond_accuracy(np.array([[2], [3], [4], [5]]), counts, 1)
    assert all_items["gini@1"] == pytest.approx(0) and all_items["coverage@1"] == 1


def test_lists_without_an_item_give_only_coverage():
    assert beyond_accuracy(np.zeros((3, 2), np.int32), np.array([1, 2]), 2) == {"coverage@2": 0.0}
