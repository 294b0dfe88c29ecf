"""Popularity lift, diversity and calibration of lists, against the definitions event by event."""

import numpy as np
import pyarrow as pa
import pytest

import tfrecsession as trs
from tests.logs import sessions_of
from tfrecsession import InputError
from tfrecsession.evaluation import measure
from tfrecsession.evaluation.each_list import EachList, coverage_interval

RNG = np.random.default_rng(3)
LOG = [[2, 3, 4, 2, 1, 5], [6, 7], [8, 2, 2, 3], [4, 5, 6, 7, 8, 2, 3, 4]]
CATEGORY = ["a", "a", "b", "b", None, "c", "c"]  # of the ids from 2 on


@pytest.fixture(scope="module")
def split():
    split = sessions_of(LOG)
    split.items.content = pa.table({"title": pa.array([f"t {i}" for i in range(7)]), "category": pa.array(CATEGORY)})
    return split


@pytest.fixture(scope="module")
def event(split):
    return np.flatnonzero(np.diff(np.repeat(np.arange(len(split)), np.diff(split.offsets)), prepend=-1) == 0)


@pytest.fixture(scope="module")
def lists(event):
    lists = np.stack([RNG.permutation(np.arange(2, 9))[:4] for _ in event])
    lists[1, 2:], lists[2] = 0, 0  # a short one, and one without an item
    return lists


def history(split, event):
    first = split.offsets[np.searchsorted(split.offsets, event, side="right") - 1]
    return split.values[first:event]


def of_categories(ids):
    names, times = np.unique([str(CATEGORY[i - 2]) if i > 1 else "None" for i in ids], return_counts=True)
    return dict(zip(names.tolist(), times / max(len(ids), 1), strict=True))


@pytest.mark.parametrize("k", [2, 4])
def test_every_list_equals_its_definition(split, event, lists, k):
    found, every = EachList(split, event, lists), slice(0, len(event))
    support = np.maximum(np.concatenate([[0, 0], split.items.counts]), 1)
    for row, (at, listed) in enumerate(zip(event, lists, strict=True)):
        shown, before = [i for i in listed[:k] if i > 1], history(split, at)
        pairs = [(a, b) for n, a in enumerate(shown) for b in shown[n + 1 :]]
        differ = [CATEGORY[a - 2] != CATEGORY[b - 2] for a, b in pairs]
        assert found.diversity(every, k)[row] == pytest.approx(np.mean(differ) if pairs else 0)
        p, q = of_categories(before), of_categories(shown)
        expected = sum(share * np.log(share / (0.99 * q.get(c, 0) + 0.01 * share)) for c, share in p.items())
        assert found.miscalibration(every, k)[row] == pytest.approx(expected)
        lift = np.log2(support[shown].mean() / support[before].mean()) if shown else 0
        assert found.popularity_lift(every, k)[row] == pytest.approx(lift)
        novelty = -np.log2(support[shown] / split.items.counts.sum()).mean() if shown else 0
        assert found.novelty(every, k)[row] == pytest.approx(novelty)


def test_lists_like_the_session_are_calibrated(split):
    event = np.array([3])
    same = EachList(split, event, np.array([[2, 3, 4]]))
    other = EachList(split, event, np.array([[7, 8, 6]]))
    assert same.miscalibration(slice(None), 3)[0] == pytest.approx(0, abs=1e-9)
    assert other.miscalibration(slice(None), 3)[0] == pytest.approx(np.log(100))


def test_they_are_metrics_with_intervals(split, event, lists):
    ranks = np.ones(len(event), np.int32)
    found = measure(split, event, ranks, (2, 4), lists=lists, slices=False, draws=50)
    for name in ("popularity_lift", "diversity", "miscalibration", "coverage", "popularity", "novelty"):
        low, high = found.intervals[f"{name}@4"]
        assert low <= found.metrics[f"{name}@4"] <= high or name in ("popularity", "novelty")
    assert found.metrics["diversity@4"] == pytest.approx(EachList(split, event, lists).diversity(slice(None), 4).mean())
    plain = sessions_of(LOG)
    found = measure(plain, event, ranks, (4,), lists=lists, slices=False, draws=0)
    assert "popularity_lift@4" in found.metrics and "diversity@4" not in found.metrics and not found.intervals
    with pytest.raises(InputError, match="metric='diversity@2': needs items with a category"):
        trs.evaluation.paired(found, found, plain, "diversity@2")


def test_the_interval_of_coverage_is_the_jackknife():
    session = np.array([0, 0, 1, 2, 3])
    lists = np.array([[2, 3], [3, 4], [2, 5], [6, 0], [2, 3]])
    low, high = coverage_interval(lists, session, 10, 2)
    without = [len(np.unique(lists[(session != s)][lists[session != s] > 1])) / 10 for s in range(4)]
    deviation = np.sqrt(3 / 4 * ((np.array(without) - np.mean(without)) ** 2).sum())
    assert (low, high) == (pytest.approx(0.5 - 1.96 * deviation), pytest.approx(0.5 + 1.96 * deviation))
    assert coverage_interval(lists[:2], session[:2], 10, 2) is None
