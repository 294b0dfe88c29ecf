"""Ranks up to a limit, from products in bfloat16: equal to those of all scores in float32."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tfrecsession import InputError
from tfrecsession.layers import rounded_products
from tfrecsession.metrics import conservative_ranks
from tfrecsession.recommender import recommender
from tfrecsession.recommender.first_ranks import FirstRanks

SIZE, WIDTH, EVENTS = 1500, 12, 300


def cases():
    rng = np.random.default_rng(0)
    normal, queries = rng.normal(size=(SIZE, WIDTH)), rng.normal(size=(EVENTS, WIDTH))
    lengths = rng.lognormal(sigma=2, size=(SIZE, 1))
    ones = np.ones((SIZE, 1))
    return {
        "normal": (normal, queries),
        "lengths": (normal * lengths, queries),
        "near": (normal[:1] + 1e-4 * normal, queries),  # bfloat16 cannot tell them apart
        "twice": (np.repeat(normal[::2], 2, axis=0), queries),
        "equal": (np.ones((SIZE, WIDTH)), queries),
        "below zero": (np.concatenate([normal, -500 * ones], axis=1), np.concatenate([queries, ones[:EVENTS]], axis=1)),
        "great": (normal * 1e15, queries * 1e15),
    }


@pytest.mark.parametrize("most", [1, 5, 20])
@pytest.mark.parametrize("name", cases())
def test_ranks_are_those_of_all_scores(name, most):
    vectors, queries = (array.astype(np.float32) for array in cases()[name])
    scores = queries.astype(np.float64) @ vectors.astype(np.float64).T
    best = np.argsort(-scores[:, 2:], axis=1, kind="stable") + 2
    place = np.random.default_rng(1).integers(0, 40, EVENTS)
    targets = best[np.arange(EVENTS), place].astype(np.int32)
    targets[:3] = 1  # unknown
    expected = np.minimum(np.asarray(conservative_ranks(scores, targets)), most + 1)
    ranks = FirstRanks(most, tf.constant(vectors))(tf.constant(queries), tf.constant(targets)).numpy()
    if name in ("near", "great"):  # in float32 scores this near have no sure order
        exact = np.take_along_axis(scores, targets[:, None].astype(int), axis=1)
        room = 1e-6 * np.linalg.norm(queries, axis=1) * np.linalg.norm(vectors, axis=1).max()
        least, largest = ((scores[:, 2:] >= exact + sign * room[:, None]).sum(axis=1) for sign in (1, -1))
        least, largest = (np.where(targets > 1, np.minimum(bound, most + 1), most + 1) for bound in (least, largest))
        assert ((least <= ranks) & (ranks <= largest)).all() and (ranks != expected).mean() < 0.3
    else:
        np.testing.assert_array_equal(ranks, expected)


def test_one_event():
    vectors, queries = (tf.constant(array.astype(np.float32)) for array in cases()["twice"])
    for row in range(20):
        target = tf.constant([int(tf.argmax(tf.linalg.matvec(vectors, queries[row])[2:])) + 2])
        assert FirstRanks(5, vectors)(queries[row : row + 1], target).numpy() == [2]  # its twin counts against it


def test_a_score_that_is_no_number_is_last():
    vectors, queries = (array.astype(np.float32) for array in cases()["normal"])
    queries[1] = np.nan
    ranks = FirstRanks(5, tf.constant(vectors))(tf.constant(queries), tf.fill([EVENTS], 7)).numpy()
    assert ranks[1] == 6


@pytest.mark.parametrize("at_a_time", [64, 100, 1500])
def test_vectors_are_rounded_in_parts(at_a_time, monkeypatch):
    vectors = tf.constant(cases()["lengths"][0].astype(np.float32))
    whole = rounded_products.rounded(vectors, tf.range(SIZE) > 1)
    monkeypatch.setattr(rounded_products, "AT_A_TIME", at_a_time)
    parts = rounded_products.rounded(vectors, tf.range(SIZE) > 1)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(tf.cast(one, tf.float32), tf.cast(other, tf.float32))
    number = tf.tensor_scatter_nd_update(vectors, [[7, 0]], [np.nan])  # in the first part of several
    assert not FirstRanks(5, number).are_numbers()


@pytest.fixture
def every_size(monkeypatch):
    monkeypatch.setattr(FirstRanks, "MANY", 0)
    monkeypatch.setattr(FirstRanks, "APART", 0)
    monkeypatch.setattr(recommender, "multiplies_bfloat16", lambda: True)


@pytest.fixture(scope="module")
def shop():
    return trs.synthetic_sessions(items=300, sessions=1500, seed=0)


@pytest.fixture(scope="module")
def model(shop):
    keras.utils.set_random_seed(0)
    model = trs.models.GRU4Rec(shop.items, units=[16], negatives=trs.negatives.Popularity(32))
    model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0))
    model.fit(shop.train.batches(rows=32, steps=10), epochs=2, verbose=0)
    return model


def test_an_evaluation_has_the_same_metrics(shop, model, every_size):
    whole = trs.evaluation.evaluate(model, shop.test, (5, 20), whole_ranks=True)
    assert whole.ranks_to is None
    scored = trs.evaluation.evaluate(model, shop.test, (5, 20))
    assert scored.ranks_to == 20 and scored.ranks.max() == 21
    np.testing.assert_array_equal(scored.ranks, np.minimum(whole.ranks, 21))
    assert scored.metrics == whole.metrics and scored.intervals == whole.intervals and scored.slices == whole.slices


def test_weights_that_are_no_numbers(shop, model, every_size):
    table = model.output_items.table
    kept = table.numpy()
    table.assign(np.where(np.arange(len(kept))[:, None] == 9, np.nan, kept))
    model._rank_graphs.clear()
    scored = trs.evaluation.evaluate(model, shop.test, (5,), slices=False, draws=0)
    whole = trs.evaluation.evaluate(model, shop.test, (5,), slices=False, draws=0, whole_ranks=True)
    table.assign(kept)
    np.testing.assert_array_equal(np.minimum(scored.ranks, 6), np.minimum(whole.ranks, 6))


def test_a_longer_list_than_was_evaluated(shop, model):
    scored = trs.evaluation.evaluate(model, shop.test, (5,), draws=0)
    with pytest.raises(InputError, match=r"metric='recall@20': a was evaluated for the first 5 places: .* k=\(20,\)"):
        trs.evaluation.paired(scored, scored, shop.test, "recall@20")


def test_a_model_without_a_layer_of_items(shop, every_size):
    model = trs.models.ALS(shop.items, factors=4, sweeps=1)
    model.fit(shop.train)
    scored, whole = (
        trs.evaluation.evaluate(model, shop.test, (5,), slices=False, draws=0, whole_ranks=whole)
        for whole in (False, True)
    )
    np.testing.assert_array_equal(np.minimum(scored.ranks, 6), np.minimum(whole.ranks, 6))
