from types import SimpleNamespace

import numpy as np
import pytest

from tfrecsession import InputError
from tfrecsession.models import ItemKNN


def similarities(shop, shrinkage, alpha, itself=0.0):
    """Computes the similarities of all items, one pair of events after the other: float [size, size]."""
    size = len(shop.items) + 2
    together, support = np.zeros((size, size)), np.zeros(size)
    for session in (shop.train[s] for s in range(len(shop.train))):
        np.add.at(support, session, 1)
        for a in session:
            for b in session:
                together[a, b] += a != b
    together += np.diag(itself * support)
    support = np.maximum(support + shrinkage, 1e-300)
    return together / (support[:, None] ** alpha * support[None, :] ** (1 - alpha))


@pytest.mark.parametrize(("shrinkage", "alpha", "itself"), [(20.0, 0.5, 0.5), (0.0, 0.5, 1.0), (5.0, 0.75, 0.0)])
def test_equals_the_formula(shop, shrinkage, alpha, itself):
    model = ItemKNN(shop.items, neighbours=len(shop.items), shrinkage=shrinkage, alpha=alpha, itself=itself)
    model.fit(shop.train)
    expected = similarities(shop, shrinkage, alpha, itself)[2:, 2:]
    ids = np.arange(2, len(shop.items) + 2)[:, None]
    np.testing.assert_allclose(np.asarray(model.score_all(ids))[:, 2:], expected, rtol=1e-4, atol=1e-7)


def test_keeps_the_nearest_neighbours_only(shop):
    whole, few = (ItemKNN(shop.items, neighbours=n) for n in (len(shop.items), 7))
    for model in (whole, few):
        model.fit(shop.train)
    np.testing.assert_array_equal(whole.table.ids.numpy()[:, :7], few.table.ids.numpy())
    assert (np.diff(few.table.strengths.numpy(), axis=1) <= 0).all()


def test_the_mean_reads_the_whole_window(shop):
    model = ItemKNN(shop.items, neighbours=len(shop.items), history="mean", window=3)
    model.fit(shop.train)
    sim = similarities(shop, 20.0, 0.5)[:, 2:]
    names = [list(shop.items.decode(np.array(ids))) for ids in ([4, 9, 30], [8, 4, 9, 30])]
    expected = np.sort(sim[[4, 9, 30]].mean(axis=0))[::-1][:5]  # the fourth newest event is outside the window
    np.testing.assert_allclose(model.recommend(names, k=5).scores, [expected, expected], rtol=1e-4)


@pytest.mark.parametrize("itself", [0.0, 1.0])
def test_similar_items_are_the_neighbours(shop, itself):
    model = ItemKNN(shop.items, itself=itself)
    model.fit(shop.train)
    similar = model.similar_items([shop.items.ids[0]], k=4)
    ids = model.table.ids.numpy()[2]
    assert similar.items[0].tolist() == shop.items.decode(ids[ids != 2][:4]).tolist()


def test_items_are_similar_to_themselves_where_sessions_repeat_them():
    rule = ItemKNN.log_defaults["itself"]
    assert rule(SimpleNamespace(repeats=0.3), {}) == (1.0, "sessions repeat an item in 30% of their later events")
    assert rule(SimpleNamespace(repeats=0.05), {}) is None


@pytest.mark.parametrize(
    ("argument", "value", "expected"),
    [
        ("history", "first", "one of last, mean"),
        ("shrinkage", -1, "a number, at least 0"),
        ("alpha", "half", "a number"),
        ("itself", -1, "a number, at least 0"),
    ],
)
def test_bad_arguments(shop, argument, value, expected):
    with pytest.raises(InputError, match=f"^{argument}={value!r}: must be {expected}"):
        ItemKNN(shop.items, **{argument: value})
