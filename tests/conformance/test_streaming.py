"""One event at a time, from a state, a session is answered as it is from the whole of it."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tests.conformance.descriptors import TABLE, goes_on_from_a_state, packed
from tests.conformance.descriptors import recurrent as is_recurrent
from tfrecsession import InputError

CLICKS = 1000


def walk(data, seed=0, clicks=CLICKS):
    """A session of random items, one in ten of them unknown or no item at all."""
    rng = np.random.default_rng(seed)
    items = rng.choice(data.items.ids, clicks).astype(object)
    items[rng.random(clicks) < 0.05] = "no-such-item"
    items[rng.random(clicks) < 0.05] = ""
    return items.tolist()


def replayed(model, data, clicks):
    """float [clicks, items]: the scores of every item after each click, all from one pass over the known ones."""
    ids = data.items.encode(clicks)
    encoded = model.encode(packed(model, [ids[ids > 1]]))
    scores = [np.asarray(model.score_without_history()), *np.asarray(model.score_all(encoded[0]))]
    return np.stack(scores)[np.cumsum(ids > 1), 2:]


def best_of(data, expected, items, scores):
    """Answers [n, k] to scores [n, items]: the k best scores, and each stands beside its own item."""
    items, scores = np.array(items), np.array(scores)
    ids = data.items.encode(items.ravel()).reshape(items.shape)
    close(scores, np.take_along_axis(expected, ids - 2, axis=1))
    close(scores, np.sort(expected, axis=1)[:, ::-1][:, : scores.shape[1]])


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.long
def test_a_thousand_clicks_equal_the_replay(recurrent, fitted, data):
    """Also in its neighbours' company: sessions that start later."""
    model = fitted(recurrent)
    first, second = walk(data, 1), walk(data, 2)
    second[:7] = ["", "no-such-item"] * 3 + [""]
    third = [""] * 500 + second[500:]
    expected = [replayed(model, data, clicks) for clicks in (first, second, third)]
    np.testing.assert_array_equal(expected[2][499], np.asarray(model.score_without_history())[2:])
    state, answers = model.initial_state(3), []
    for clicks in zip(first, second, third, strict=True):
        best, state = model.advance(clicks, state, k=10)
        answers.append(best)
    for row in range(3):
        best_of(data, expected[row], [best.items[row] for best in answers], [best.scores[row] for best in answers])
    events = state[:, model.events_at].tolist()
    assert events == [(data.items.encode(clicks) > 1).sum() for clicks in (first, second, third)]


def test_an_answer_is_that_of_recommend(recurrent, fitted, data):
    model, history = fitted(recurrent), walk(data, 3, 12)
    state = model.initial_state()
    for number, item in enumerate(history, 1):
        best, state = model.advance([item], state, k=10)
        expected = model.recommend([history[:number]], k=10)
        assert best.items.tolist() == expected.items.tolist()
        close(best.scores, expected.scores)


def test_nothing_known_changes_nothing(recurrent, fitted, data):
    model = fitted(recurrent)
    _, state = model.advance([data.items.ids[3]], model.initial_state(), k=1)
    state = np.tile(state, (2, 1))
    _, after = model.advance(["", "no-such-item"], state, k=1)
    np.testing.assert_array_equal(after, state)
    best, empty = model.advance(["", "no-such-item"], model.initial_state(2), k=5)
    assert not empty.any() and best.items.tolist() == [data.items.ids[:5].tolist()] * 2


def test_rows_are_independent(recurrent, fitted, data):
    model, rng = fitted(recurrent), np.random.default_rng(0)
    state = model.initial_state(5)
    for _ in range(4):
        _, state = model.advance(rng.choice(data.items.ids, 5), state, k=1)
    items = rng.choice(data.items.ids, 5)
    together, after = model.advance(items, state, k=10)
    for row in range(5):
        alone, alone_after = model.advance(items[[row]], state[[row]], k=10)
        assert alone.items[0].tolist() == together.items[row].tolist()
        close(alone_after[0], after[row])
    best, none = model.advance([], model.initial_state(0), k=3)
    assert best.items.shape == (0, 3) and none.shape == (0, state.shape[1])


def test_the_item_just_given_is_left_out(recurrent, fitted, data):
    model, (a, b) = fitted(recurrent), data.items.ids[[3, 8]]
    k = len(data.items)
    _, state = model.advance([a], model.initial_state(), k=1)
    best, _ = model.advance([b], state, k=k, exclude_seen=True)
    assert set(best.items[0]) == {"", *data.items.ids} - {b}


def test_a_bad_state_is_named(recurrent, fitted, data):
    model = fitted(recurrent)
    item, state = data.items.ids[0], model.initial_state()
    for wrong in (state[:, :-1], state[0], model.initial_state(2)):
        with pytest.raises(InputError, match=r"state: its shape is \["):
            model.advance([item], wrong)
    for value in (np.nan, np.inf):
        with pytest.raises(InputError, match="state: it holds NaN"):
            model.advance([item], np.full_like(state, value))
    with pytest.raises(InputError, match="items: must be a list of ids"):
        model.advance(item, state)


@pytest.mark.long
def test_the_export_streams_a_thousand_clicks_in_tensorflow_alone(recurrent, fitted, exported, tensorflow_alone, data):
    model, path = fitted(recurrent), exported(recurrent)
    sessions = walk(data, 4), walk(data, 5)
    answers = tensorflow_alone(path, "advance", list(zip(*sessions, strict=True)))
    for row, session in enumerate(sessions):
        items, scores = zip(*((items[row], scores[row]) for items, scores in answers), strict=True)
        best_of(data, replayed(model, data, session), items, scores)
    card = json.loads((path / "assets.extra" / "tfrecsession.json").read_text())
    assert card["state_width"] == model.initial_state().shape[1]


@pytest.mark.long
def test_the_export_names_a_bad_state(recurrent, fitted, exported, data):
    model = fitted(recurrent)
    loaded = tf.saved_model.load(str(exported(recurrent, exclude_seen=True)))  # the functions live as long as it does
    advance, items = loaded.signatures["advance"], tf.constant(data.items.ids[:2].tolist())
    state = tf.constant(model.initial_state(2))
    answer = advance(items=items, state=state)
    assert not any(item in row for item, row in zip(items.numpy(), answer["items"].numpy(), strict=True))
    for value in (np.nan, np.inf):
        with pytest.raises(tf.errors.InvalidArgumentError, match="state must be finite"):
            advance(items=items, state=tf.fill(state.shape, value))
    with pytest.raises(tf.errors.InvalidArgumentError, match="state: must have one row"):
        advance(items=items, state=state[:1])
    with pytest.raises(tf.errors.InvalidArgumentError, match="tensor state .* not compatible with expected shape"):
        advance(items=items, state=state[:, :-1])
    for expected in (0, 2):
        assert advance(items=items[:expected], state=state[:expected])["state"].shape == (expected, state.shape[1])


@pytest.mark.shared
def test_only_recurrent_models_stream(name, fitted, exported):
    """A model that cannot go on from a state says so, and its export has no such signature."""
    model = fitted(name)
    signatures = tf.saved_model.load(str(exported(name))).signatures
    assert ("advance" in signatures) == goes_on_from_a_state(model) == is_recurrent(TABLE[name])
    if hasattr(model, "initial_state") and not goes_on_from_a_state(model):
        with pytest.raises(InputError, match="recommend with the whole history"):
            model.advance(["item"], np.zeros((1, 1)))
