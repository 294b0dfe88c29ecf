"""Items of the catalogue without an event in training: they come last, or, with content, by what they share."""

import keras
import numpy as np
import pyarrow as pa
import pytest

import tfrecsession as trs
from tests.training.test_growing import OLD, log
from tfrecsession.layers.items.item_embedding import UNSEEN_BIAS
from tfrecsession.sessions.content_columns import ContentColumns
from tfrecsession.sessions.vocabulary import Items

UNSEEN = [f"later{number}" for number in range(12)]
SMALL = {"epochs": 2, "rows": 8, "steps": 8, "negatives": 16}


def prepared(folder, names, seed):
    items = [*OLD, *UNSEEN]
    table = pa.table({"item": items, "kind": [name[0] for name in items]})
    options = {"items": table, "unseen_items": "add", "test_span": "20%", "validation_span": "0d"}
    trs.prepare(log(names, 120, seed), folder, **options)
    return trs.load(folder)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("unseen") / "data", OLD, 1)


def trained(data, name="gru4rec", **given):
    keras.utils.set_random_seed(1)
    settings = trs.training.settings_of(name, SMALL | given)
    model = trs.training.build(name, data.items, settings)
    trs.training.fit(model, data, settings)
    return model


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("gru4rec", {"units": [6]}),
        ("gru4rec", {"units": [6], "items_as": "hashed"}),
        ("gru4rec", {"units": [6], "content": ["kind"], "content_side": "input"}),
        ("sasrec", {"dim": 6}),
    ],
)
def test_without_content_they_come_last(data, name, settings):
    model = trained(data, name, **settings)
    ranked = model.recommend([["a0", "a1"], ["c3"]], k=len(data.items)).items
    seen = len(data.items) - len(UNSEEN)
    assert all({*row[seen:]} == {*UNSEEN} for row in ranked)


def test_a_trend_or_all_items_as_negatives_tell_their_scores(data):
    for settings in ({"trend": [1.0]}, {"negatives": None}):
        model = trs.models.GRU4Rec(data.items, units=[6], **settings)
        assert (model.output_items.biases.numpy() == 0).all()


def test_with_content_they_are_ranked_by_it(data):
    model = trained(data, units=[6], content=["kind"])
    scores = model.score_vectors(np.arange(2, model.size)).numpy()[data.items.counts == 0]  # all of one kind
    assert (scores[:, -1] != UNSEEN_BIAS).all()
    np.testing.assert_allclose(scores, np.broadcast_to(scores[0], scores.shape), rtol=1e-5)


def test_values_of_a_single_item_are_unknown():
    table = pa.table({"tags": [["x", "mine"], ["x", "y"], ["y"], ["new"]], "brand": ["p", "p", "q", "p"]})
    items = Items(["a", "b", "c", "d"], [3, 2, 1, 0], table)
    tags, brand = ContentColumns.learn(items, ["tags:list", "brand:category"]).columns
    assert (set(tags.values), brand.values) == ({"x", "y"}, ("p",))
    codes = tags.encode(table["tags"].to_pylist())["tags"]
    assert codes[0].tolist() == [2 + tags.values.index("x"), 1]  # as a new item's own value reads
    assert codes[3].tolist() == [1, 0]
    alone = Items(["a", "b"], [2, 1], pa.table({"brand": ["p", "q"]}))
    assert set(ContentColumns.learn(alone, ["brand:category"]).columns[0].values) == {"p", "q"}  # all are of one item


def test_an_item_that_gets_its_first_events_starts_from_its_neighbours(data, tmp_path):
    model = trained(data, units=[6])
    newer = prepared(tmp_path / "data", [*OLD[:6], UNSEEN[0]], 2)
    grown = trs.training.grow(model, newer)

    def rows(of, names):
        return of.score_vectors(of.items.encode(names)).numpy()

    assert newer.items.counts[newer.items.encode(UNSEEN[:1])[0] - 2] > 0
    np.testing.assert_array_equal(rows(grown, OLD), rows(model, OLD))
    np.testing.assert_array_equal(rows(grown, UNSEEN[1:]), rows(model, UNSEEN[1:]))  # still without an event
    first = rows(grown, UNSEEN[:1])[0]
    near = rows(model, OLD[:6])
    assert first[-1] != UNSEEN_BIAS
    assert (first >= near.min(axis=0) - 1e-6).all() and (first <= near.max(axis=0) + 1e-6).all()  # a mean of them
    started = trs.training.grow(model, newer, start="mean")
    known = model.items.counts > 0
    mean = rows(model, model.items.ids[known])[:, -1].mean()
    assert rows(started, UNSEEN[:1])[0, -1] == pytest.approx(mean, abs=0.1)  # not of the biases of unseen items
