"""Candidate lists (`only`): the same items as from the masked catalogue, at the cost of the list."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfrecsession import training

K = 6
SETTINGS = {
    "gru4rec": {"units": [8], "epochs": 1},  # with biases
    "als": {"factors": 8, "sweeps": 2},
    "session_aggregation": {"dim": 8},
}


@pytest.fixture(scope="module", params=list(SETTINGS))
def model(request, shop):
    keras.utils.set_random_seed(0)
    settings = training.settings_of(request.param, SETTINGS[request.param])
    model = training.build(request.param, shop.items, settings)
    training.fit(model, shop, settings, seed=0)
    return model


HISTORIES = [[7, 1, 9, 7], [30, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0]]  # the last two without a known item
ONLY = [[9, 50, 50, 9, 60], [1, 0, 0, 1, 0], [80, 3, 0, 1, 5], [4, 100, 0, 2, 0]]  # the second: unknown ids alone
EXCLUDE = [[60, 0], [0, 1], [3, 3], [0, 0]]


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_candidates_are_ranked_as_among_all_items(model, exclude_seen, monkeypatch):
    histories, only, exclude = (tf.constant(rows) for rows in (HISTORIES, ONLY, EXCLUDE))
    allowed = np.zeros((4, model.size), bool)
    for row, chosen in enumerate(ONLY):
        allowed[row, chosen] = True
    expected = model.answer(histories, K, exclude_seen, allowed, exclude)
    monkeypatch.setattr(type(model), "score_all", None)  # must not be called
    ids, scores = model.answer(histories, K, exclude_seen, exclude=exclude, only=only)
    np.testing.assert_array_equal(ids, expected[0])
    np.testing.assert_allclose(scores, expected[1], rtol=1e-5, atol=1e-6)
    left = [{9, 50} - ({9} if exclude_seen else set()), set(), {80, 5}, {4, 100, 2}]
    assert [set(row) - {0} for row in ids.numpy().tolist()] == left


def test_many_candidates_or_a_row_without_are_scored_among_all(model):
    history = tf.constant([[7, 9], [30, 0]])
    many = np.zeros((2, 100), np.int32)
    many[0] = np.arange(60, 160)
    many[1, :4] = 2, 3, 4, 5
    ids, _ = model.answer(history, K, only=tf.constant(many))
    assert set(ids[1].numpy()) == {2, 3, 4, 5, 0} and ids[0].numpy().min() >= 60
    many[0] = 0
    ids, scores = model.answer(history, K, only=tf.constant(many))
    expected = model.answer(history[:1], K)
    np.testing.assert_array_equal(ids[:1], expected[0])
    np.testing.assert_allclose(scores[:1], expected[1], rtol=1e-5, atol=1e-6)
