"""The reasons of every model pass the deletion test: an item loses most without the event that is named."""

import numpy as np
import pytest


def histories_of(data, count=24, length=5):
    """Returns the beginnings of test sessions of several items, int32 [count, length]."""
    sessions = [data.test[session][:length] for session in range(len(data.test))]
    several = [session for session in sessions if len(session) == length and len(set(session.tolist())) > 2]
    return np.stack(several[:count])


@pytest.mark.shared
def test_an_item_loses_most_without_its_reason(name, fitted, data):
    model, ids = fitted(name), histories_of(data)
    found = model.explain([data.items.decode(row) for row in ids], k=3, reasons=ids.shape[1])
    items = data.items.encode(found.items.ravel()).reshape(found.items.shape)
    events, adds_up = np.arange(ids.shape[1]), model.parts_of_events(ids, items) is not None

    def scores(ids):
        every = np.asarray(model.scores_after(ids))[:, 2:]
        own = np.take_along_axis(every, items - 2, axis=1)
        # a table of counts scores all items higher after a more popular one: what counts is where an item stands
        return (own - every.mean(axis=1, keepdims=True)) / every.std(axis=1, keepdims=True) if adds_up else own

    whole = np.take_along_axis(np.asarray(model.scores_after(ids))[:, 2:], items - 2, axis=1)
    np.testing.assert_allclose(found.scores, whole, rtol=1e-4, atol=1e-5)
    lost = scores(ids)[..., None] - np.stack([scores(np.where(events == event, 0, ids)) for event in events], axis=-1)
    named = np.take_along_axis(lost, found.events[..., :1], axis=2)[..., 0]  # (histories, 3)
    others = (lost.sum(axis=2) - named) / (len(events) - 1)
    assert (np.sort(found.events, axis=2) == events).all() and (np.diff(found.weights, axis=2) <= 0).all()
    assert named.mean() > others.mean() or not lost.any()  # popularity reads no history


@pytest.mark.shared
def test_content_is_what_a_score_loses_without_it(name, fitted, data):
    """An item whose column is emptied has the score without the part of the column."""
    model, ids = fitted(name), histories_of(data, 4)
    columns = getattr(model, "content", None) and model.explained_content
    if not columns or getattr(model, "item_content", None) is None:
        return  # tests/recommender/test_content_reasons.py has those that hold content otherwise
    item = np.setdiff1d(np.arange(2, model.size), ids)[5]
    histories = [data.items.decode(row) for row in ids]
    found = model.explain(histories, [[data.items.ids[item - 2]]] * len(ids))
    for column in columns:
        weights = {key: model.item_content.stored[key] for key in column.tensors()}
        before = {key: weight.numpy() for key, weight in weights.items()}
        for key, weight in weights.items():
            weight.assign(np.where((np.arange(model.size) == item)[:, None], 0, before[key]))
        model.settle(force=True)
        left = np.asarray(model.scores_after(ids))[:, item]
        for key, weight in weights.items():
            weight.assign(before[key])
        lost = found.scores[:, 0] - left
        np.testing.assert_allclose(found.features[f"item/{column.name}"][:, 0], lost, rtol=1e-3, atol=1e-4)
    model.settle(force=True)
