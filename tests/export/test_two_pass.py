"""The exact index in two passes: its answers are those of all scores in float32, proven by a bound."""

import argparse
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tests.export.strings import strings, text
from tfrecsession import InputError
from tfrecsession.cli.export_command import export_command
from tfrecsession.export import two_pass_index
from tfrecsession.export.make_index import KINDS
from tfrecsession.export.two_pass_index import TwoPassIndex
from tfrecsession.sessions.vocabulary import Items

K, ITEMS, WIDTH = 5, 3000, 12


def model_of(table, bias, **settings):
    keras.utils.set_random_seed(0)
    items = Items([f"item-{number}" for number in range(len(table) - 2)], np.arange(len(table) - 2, 0, -1))
    model = trs.models.GRU4Rec(items, units=[WIDTH], negatives=trs.negatives.Popularity(8), **settings)
    model.fitted = True
    embedding, biases = sorted(model.output_items.item_variables(), key=lambda variable: -len(variable.shape))
    embedding.assign(table)
    biases.assign(np.reshape(bias, biases.shape))
    return model


def tables():
    rng = np.random.default_rng(0)
    size = ITEMS + 2
    normal = rng.normal(size=(size, WIDTH))
    lengths = rng.lognormal(sigma=2, size=(size, 1))
    return {
        "normal": (normal, rng.normal(size=size)),
        "lengths": (normal * lengths, np.zeros(size)),
        "few directions": (normal * 0.4 ** np.arange(WIDTH), rng.normal(size=size)),
        "near": (normal[:1] + 1e-4 * normal, np.zeros(size)),  # bfloat16 cannot tell them apart
        "equal": (np.ones((size, WIDTH)), np.zeros(size)),
        "below zero": (normal, np.full(size, -500.0)),
    }


@pytest.fixture(scope="module", params=list(tables()))
def model(request):
    return model_of(*tables()[request.param])


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """As small a part of the items is looked at in both passes as of a million."""
    monkeypatch.setattr(two_pass_index, "GROUPS", 8)
    monkeypatch.setattr(two_pass_index, "KEPT", 60)
    monkeypatch.setattr(two_pass_index, "STEP", 4)


ROWS = np.random.default_rng(1).integers(2, ITEMS + 2, (40, 3)).astype(np.int32)


def test_the_answers_are_those_of_all_scores(model):
    index = TwoPassIndex(model, K, ROWS)
    rows = np.concatenate([ROWS, np.zeros((2, 3), np.int32)])  # the last two have no known item
    out = tf.constant([[row, item] for row in range(42) for item in rows[row]], tf.int32)
    allowed = tf.constant(np.random.default_rng(2).random(ITEMS + 2) < 0.3)
    encoded = model.encoded_histories(tf.constant(rows))
    for filters in ((None, None), (out, None), (None, allowed), (out, allowed)):
        items, scores = index.best(*encoded, K, *filters)
        expected, exact = model.scan(*encoded, K, *filters)
        np.testing.assert_array_equal(items, expected)
        np.testing.assert_allclose(scores, exact, rtol=1e-5, atol=1e-5)


def test_no_other_score_is_above_the_limit(model):
    index = TwoPassIndex(model, K, ROWS)
    encoded, _ = model.encoded_histories(tf.constant(ROWS))
    queries = model.queries(encoded)
    ids, bounds = index.candidates(queries, index.searched, index.kept)
    assert ids.shape == (40, 60) and all(len({*row}) == 60 for row in ids.numpy().tolist()) and (ids.numpy() > 1).all()
    vectors = np.asarray(model.score_vectors(tf.range(model.size)), np.float64)
    scores = np.asarray(queries, np.float64) @ vectors.T
    scores[:, :2] = -np.inf
    np.put_along_axis(scores, ids.numpy(), -np.inf, axis=1)
    assert (scores.max(axis=1) <= bounds.limit.numpy()).all()


def test_most_answers_need_one_float32_pass_over_few_items():
    """The limit is near enough that answers of vectors as they are learned pass it."""
    model = model_of(*tables()["normal"])
    index = TwoPassIndex(model, K, ROWS)
    assert index._proven(K, ROWS) > 0.9


def test_vectors_are_shortened_where_answers_are_still_proven():
    def coordinates(name):
        return TwoPassIndex(model_of(*tables()[name]), K, ROWS).settings["coordinates"]

    assert coordinates("few directions") < coordinates("normal") == WIDTH + 1


@pytest.mark.parametrize("name", ["normal", "few directions"])
def test_answers_that_are_not_proven_at_first_need_no_scan(name, monkeypatch):
    monkeypatch.setattr(two_pass_index, "GROUPS", 1)
    monkeypatch.setattr(two_pass_index, "PROVEN", 0.0)
    model = model_of(*tables()[name])
    index = TwoPassIndex(model, K, ROWS)
    encoded = model.encoded_histories(tf.constant(ROWS))
    assert index._proven(K, ROWS) < 0.9
    expected, exact = model.scan(*encoded, K)
    monkeypatch.setattr(type(model), "scan", lambda *_: pytest.fail("all items were scored"))
    items, scores = index.best(*encoded, K)
    np.testing.assert_array_equal(items, expected)
    np.testing.assert_allclose(scores, exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [7, 66, 200])
def test_few_items_and_lists_longer_than_the_candidates(size):
    rng = np.random.default_rng(0)
    model = model_of(rng.normal(size=(size, WIDTH)), rng.normal(size=size))
    index = TwoPassIndex(model, K, np.array([[2, 3]], np.int32))
    encoded = model.encoded_histories(tf.constant([[2, 3], [5, 0]]))
    for k in {1, 5, size - 2}:
        items, scores = index.best(*encoded, k)
        expected, exact = model.scan(*encoded, k)
        np.testing.assert_array_equal(items, expected)
        np.testing.assert_allclose(scores, exact, rtol=1e-5, atol=1e-5)


def test_the_command_line_knows_all_indexes():
    parser = argparse.ArgumentParser()
    export_command(parser.add_subparsers(), argparse.ArgumentParser(add_help=False))
    command = parser._subparsers._group_actions[0].choices["export"]
    (choices,) = (action.choices for action in command._actions if "--index" in action.option_strings)
    assert tuple(choices) == KINDS


def test_an_export(tmp_path):
    model = model_of(*tables()["normal"])
    path = model.export(tmp_path / "gru4rec" / "1", k=K, index="exact-two-pass")
    card = json.loads((path / "assets.extra" / "tfrecsession.json").read_text())
    assert card["index"] == "exact-two-pass" and card["index_settings"] == {
        "groups": 8,
        "candidates": 60,
        "coordinates": 13,
    }
    page = (path / "assets.extra" / "README.md").read_text()
    assert "the 60 items" in page and "loads with TensorFlow alone" in page
    histories = [*([model.items.ids[item - 2] for item in row] for row in ROWS), [], ["no-such-item"]]
    signatures = tf.saved_model.load(str(path)).signatures
    expected = model.recommend(histories, k=K)
    answer = signatures["serving_default"](items=strings(histories))
    assert text(answer["items"]) == expected.items.tolist()
    np.testing.assert_allclose(answer["scores"], expected.scores, rtol=1e-5)
    ids = model.items.ids.tolist()
    filtered = signatures["recommend_filtered"](
        items=strings([[ids[3]], [ids[4]]]), exclude=strings([ids[9:], [""]]), only=strings([[""], [ids[7], ids[8]]])
    )
    returned = text(filtered["items"])
    assert {*returned[0]} < {*ids[:9]} and {*returned[1]} == {ids[7], ids[8], ""}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"repeats": True}, "index='exact-two-pass': must be 'exact' for a model with repeats"),
        ({"trend": [1.0]}, "index='exact-two-pass': must be 'exact' for a model with trend"),
        ({"items_as": "hashed"}, "index='exact-two-pass': must be 'exact' with items_as='hashed'"),
    ],
)
def test_models_that_it_does_not_fit(tmp_path, settings, message):
    items = Items([f"item-{number}" for number in range(60)], np.arange(60, 0, -1))
    model = trs.models.GRU4Rec(items, units=[8], negatives=trs.negatives.Popularity(8), **settings)
    with pytest.raises(InputError, match=message):
        model.export(tmp_path / "1", k=K, index="exact-two-pass")
