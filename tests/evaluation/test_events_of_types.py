"""Evaluation of chosen events: the others are input alone."""

import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession import InputError


@pytest.fixture(scope="module")
def data():
    return trs.synthetic_sessions(
        items=40, sessions=800, seed=1, users=60, loyal=0.2, follow=0.4, cart=0.2, purchase=0.2, event="event"
    )


def fitted(name, data):
    if name == "hrnn":
        settings = {"units": [8], "user_units": [8], "negatives": 16}
        return trs.training.build(name, data.items, trs.training.settings_of(name, settings))
    model = trs.models.MODELS[name](data.items)
    model.fit(data.train)
    return model


@pytest.mark.filterwarnings("ignore:.*begin before an earlier one")
@pytest.mark.parametrize("name", ["item_knn", "vsknn", "hrnn"])
def test_ranks_are_those_of_all_events(name, data):
    model = fitted(name, data)
    every = trs.evaluation.evaluate(model, data.test, draws=0)
    chosen = trs.evaluation.evaluate(model, data.test, events=["purchase", "cart"], beyond_accuracy=True, draws=0)
    is_chosen = np.isin(data.test.column("event")[every.event], ["purchase", "cart"])
    assert 0 < is_chosen.sum() < len(is_chosen)
    assert np.array_equal(chosen.event, every.event[is_chosen])
    assert np.array_equal(chosen.ranks, every.ranks[is_chosen])
    only = trs.evaluation.evaluate(model, data.test, events="purchase", draws=0)
    assert only.metrics["recall@20"] == pytest.approx(every.slices["event_type"]["purchase"]["recall@20"])


def test_bad_events(data):
    model = fitted("popularity", data)
    for arguments, sessions, message in (
        ({"events": ["buy"]}, data.test, "events='buy': must be an event type of the test split, one of view"),
        ({"events": []}, data.test, r"events=\[\]: must be a list of event types"),
        ({}, data.test.weighted(target_events=["cart"]), "every event counts once; choose some by events="),
    ):
        with pytest.raises(InputError, match=message):
            trs.evaluation.evaluate(model, sessions, **arguments)
    plain = trs.synthetic_sessions(items=40, sessions=800, seed=1)
    with pytest.raises(InputError, match="events: the log has no event types: prepare it with event=COLUMN"):
        trs.evaluation.evaluate(fitted("popularity", plain), plain.test, events=["cart"])
