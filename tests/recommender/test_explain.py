"""Reasons of recommendations: exact parts add up to the score, the others are what a score loses without an event."""

import numpy as np
import pytest

import tfrecsession as trs
from tests.logs import sessions_of
from tfrecsession import InputError

LOG = [[2, 3, 4, 2], [3, 4, 4, 5], [5, 6, 7, 2], [8, 3, 2], [2, 8, 5], [4, 5, 3]] * 3
SUMS = {
    "item_knn": {"history": "linear", "window": 3},
    "sequential_rules": {"history": "mean"},
    "markov": {},
    "session_aggregation": {"dim": 8},
    "slist": {},
    "slist-whole": {"neighbours": None},
    "als": {"factors": 3, "regularization": 0.1},
    "als-repeats": {"factors": 3, "alpha": 2.0, "window": 4},
}


@pytest.fixture(scope="module")
def sessions():
    return sessions_of(LOG, times=np.arange(sum(map(len, LOG))) / 50)


def fitted(name, sessions):
    model = trs.models.MODELS[name.partition("-")[0]](sessions.items, **SUMS.get(name, {}))
    model.fit(sessions)
    return model


HISTORIES = [["i3", "unknown", "i4", "i3", "i8"], ["i5"], [], ["", "i2", "i6"]]


@pytest.mark.parametrize("name", SUMS)
def test_parts_add_up_to_the_score(name, sessions):
    model = fitted(name, sessions)
    found = model.explain(HISTORIES, [["i5", "i3"], ["i2", "i4"], ["i2", "i3"], ["i8", "i2"]], reasons=6)
    np.testing.assert_allclose(found.weights.sum(axis=2)[[0, 1, 3]], found.scores[[0, 1, 3]], rtol=2e-4, atol=2e-5)
    assert sorted(filter(None, found.because[0, 0])) == ["i3", "i3", "i4", "i8"]
    assert sorted(found.events[0, 0]) == [-1, -1, 0, 2, 3, 4] and (np.diff(found.weights[0, 0, :4]) <= 0).all()
    assert (found.events[2] == -1).all() and not found.weights[2].any()
    assert sorted(found.events[3, 0]) == [-1, -1, -1, -1, 1, 2]


def test_parts_of_als_are_those_of_one_item(sessions):
    model = fitted("als-repeats", sessions)
    whole = model.explain([["i3", "i4", "i3", "i8"]], [["i5"]], reasons=4)
    parts = {}
    for item, weight in zip(whole.because[0, 0], whole.weights[0, 0], strict=True):
        parts[item] = parts.get(item, 0) + weight
    for item, part in model.explain(["i3", "i4", "i3", "i8"], "i5"):
        assert parts[item] == pytest.approx(part, rel=1e-3, abs=1e-5)
    assert model.explain(history=["i3"], item="i5") == model.explain(["i3"], "i5")
    assert model.explain(histories=[["i3"]]).items.shape == (1, 5)


def test_other_models_lose_the_score_of_an_event(sessions):
    model = fitted("vstan", sessions)
    history = ["i3", "i4", "i8"]
    found = model.explain([history, history[:1]], k=3, reasons=3)
    assert found.items.tolist() == model.recommend([history, history[:1]], k=3).items.tolist()
    np.testing.assert_allclose(found.weights[1, :, 0], found.scores[1])  # the only event carries all
    everything = len(sessions.items)
    for rank, (item, score) in enumerate(zip(found.items[0], found.scores[0], strict=True)):
        for event, weight in zip(found.events[0, rank], found.weights[0, rank], strict=True):
            left = model.recommend([history[:event] + history[event + 1 :]], k=everything)
            assert weight == pytest.approx(score - left.scores[0][left.items[0] == item][0], rel=1e-3, abs=1e-3)


def test_one_batch_is_as_many_calls(sessions, monkeypatch):
    model = fitted("sknn", sessions)
    whole = model.explain(HISTORIES, k=2)
    monkeypatch.setattr("tfrecsession.recommender.explain.BLOCK_BYTES", 1)
    for part, again in zip(whole[:5], model.explain(HISTORIES, k=2)[:5], strict=True):
        assert part.tolist() == again.tolist()


def test_the_newest_events_of_a_long_history(sessions):
    found = fitted("session_popularity", sessions).explain([["i2"] * 60 + ["i3"]], [["i3"]], reasons=60)
    assert (found.events[0, 0] >= 0).sum() == 50 and found.because[0, 0, 0] == "i3"


def test_context_is_a_reason():
    data = trs.synthetic_sessions(items=30, sessions=150, seed=1, context=True)
    model = trs.models.GRU4Rec(data.items, units=[6], context=["device", "gap"], request=["device"])
    history = [data.items.ids[:3].tolist(), data.items.ids[4:5].tolist()]
    given = {
        "context": {"device": [["phone"] * 3, ["desktop"]], "time": [[1e9, 1e9 + 60, 1e9 + 90], [1e9]]},
        "request": {"device": ["phone", "phone"]},
    }
    found = model.explain(history, k=2, **given)
    assert set(found.features) == {"context/device", "request/device", "time"}
    items = [[item] for item in found.items[:, 0]]
    without = {"context": {"time": given["context"]["time"]}, "request": given["request"]}
    left = model.explain(history, items, **without).scores
    np.testing.assert_allclose(found.features["context/device"][:, 0], (found.scores[:, :1] - left)[:, 0], atol=1e-5)
    assert found.features["time"][0].any() and model.explain(history, k=2).features == {}
    np.testing.assert_allclose(found.scores, model.recommend(history, k=2, **given).scores, rtol=1e-5, atol=1e-6)


def test_the_repeat_head_says_what_it_copies(sessions):
    model = trs.models.GRU4Rec(sessions.items, units=[4], repeats=True)
    history, items = ["i3", "i4", "unknown", "i3"], ["i3", "i5", "i4"]
    found = model.explain([history], [items], reasons=3)
    joined, _, _ = model._encode_histories(model.items.encode(history)[None])
    _, gate, weights, _ = model.repeat_head.split(joined)
    copies = np.asarray(np.exp(weights[0]) / (1 + np.exp(-gate[0])))  # g a_j of i3, i4, i3, newest first
    p = np.exp(found.scores[0])
    by_event = {3: copies[0] / p[0], 0: copies[2] / p[0]}
    for event, share in zip(found.events[0, 0], found.copied[0, 0], strict=True):
        assert share == pytest.approx(by_event.get(event, 0), rel=1e-4)
    assert not found.copied[0, 1].any() and 0 < found.copied[0, 2].sum() < 1
    assert model.explain([["i3"]], k=1).copied.shape == (1, 1, 3)


@pytest.mark.parametrize(
    "more, message",
    [
        ({"items": [["i2"]]}, "items: must be a list for each of the 4 histories, not 1 lists"),
        ({"items": [["i2"], [], ["i3", "nowhere"], []]}, r"items\[2\]: 'nowhere' must be in the catalogue"),
        ({"reasons": 0}, "reasons=0: must be a whole number"),
        ({"k": 99}, "k=99: must be"),
    ],
)
def test_bad_input(sessions, more, message):
    with pytest.raises(InputError, match=message):
        fitted("item_knn", sessions).explain(HISTORIES, **more)


def test_lists_of_other_lengths(sessions):
    found = fitted("item_knn", sessions).explain(HISTORIES, [["i2"], [], ["i3", "i4"], []])
    assert found.items.tolist() == [["i2", ""], ["", ""], ["i3", "i4"], ["", ""]]
    assert (found.events[1] == -1).all() and not found.weights[1].any() and not found.scores[1].any()
    assert "i2, because of" in repr(found)
