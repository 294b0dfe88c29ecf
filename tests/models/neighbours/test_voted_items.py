"""Recommendations of session neighbours from the items that get votes, against scores of all items."""

import numpy as np
import pytest
import tensorflow as tf

from tests.export.strings import strings, text
from tests.models.neighbours.test_neighbours import log
from tfrecsession.models import SKNN, STAN, VSKNN, VSTAN
from tfrecsession.models.neighbours.session_neighbours import NeighbourModel
from tfrecsession.recommender.top_items import TopItems

ITEMS = 40


def fitted(kind):
    rng = np.random.default_rng(0)
    # items 30 and above are in no session, ids are not in the order of their counts
    train = log([rng.integers(2, 32, rng.integers(1, 7)).astype(np.int32) for _ in range(60)], size=ITEMS)
    model = kind(train.items, neighbours=8, recent=20)
    model.fit(train)
    return model


@pytest.fixture(scope="module")
def model():
    return fitted(VSKNN)


def both(model, monkeypatch, ids, k, **filters):
    """Returns the answers of the model, and those from scores of all items."""
    arrays = {name: tf.constant(rows, tf.int32) for name, rows in filters.items() if name != "exclude_seen"}
    seen = filters.get("exclude_seen", False)
    returned = model.answer(tf.constant(ids, tf.int32), k, seen, **arrays)
    with monkeypatch.context() as patch:
        patch.setattr(NeighbourModel, "find", TopItems.find)
        expected = model.answer(tf.constant(ids, tf.int32), k, seen, **arrays)
    return returned, expected


HISTORIES = [[2, 9, 4], [0, 0, 0], [31, 31, 7], [1, 0, 1], [39, 0, 0], [5, 5, 6]]  # also popular items, and no votes


@pytest.mark.parametrize("k", [1, 6, ITEMS])
@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"exclude_seen": True},
        {"exclude": [[2, 3, 4, 5, 0], [2, 3, 0, 0, 0], [1, 1, 1, 1, 1], [7, 8, 9, 10, 11], [2] * 5, [0] * 5]},
        {
            "only": [[9, 30, 41, 9], [40, 2, 0, 0], [0] * 4, [1] * 4, [2, 3, 1, 0], [41, 40, 39, 38]],
            "exclude_seen": True,
        },
        {"only": [[0]] * 6, "exclude": [list(range(2, 42))] * 6},
    ],
)
def test_answers_are_those_from_scores_of_all_items(model, monkeypatch, k, filters):
    (items, scores), (expected, exact) = both(model, monkeypatch, HISTORIES, k, **filters)
    np.testing.assert_array_equal(items, expected)
    np.testing.assert_array_equal(scores, exact)


@pytest.mark.parametrize("kind", [SKNN, STAN, VSTAN])
def test_the_other_kinds(kind, monkeypatch):
    model = fitted(kind)
    (items, scores), (expected, exact) = both(model, monkeypatch, HISTORIES, 9, exclude_seen=True)
    np.testing.assert_array_equal(items, expected)
    np.testing.assert_array_equal(scores, exact)


def test_an_export_scores_no_other_items(model, monkeypatch, tmp_path):
    path = model.export(tmp_path / "1", k=5)
    histories = [["i3", "i9"], [], ["no-such-item"], ["i29"]]
    signatures = tf.saved_model.load(str(path)).signatures
    monkeypatch.setattr(NeighbourModel, "score_all", None)  # not called
    expected = model.recommend(histories, k=5)
    answer = signatures["serving_default"](items=strings(histories))
    assert text(answer["items"]) == expected.items.tolist()
    np.testing.assert_array_equal(answer["scores"], expected.scores)
    exclude, only = [["i3"], ["i0"], [], ["i29"]], [["i3", "i9", "i39"], [], ["i7"], []]
    answer = signatures["recommend_filtered"](items=strings(histories), exclude=strings(exclude), only=strings(only))
    expected = model.recommend(histories, k=5, exclude=exclude, only=only)
    assert text(answer["items"]) == expected.items.tolist()
    assert signatures["serving_default"](items=tf.zeros((0, 3), tf.string))["items"].shape == (0, 5)
