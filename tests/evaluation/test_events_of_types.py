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


@pytest.mark.slow
def test_a_comparison_scores_the_chosen_events(tmp_path, monkeypatch, capsys):
    """`compare --events` gives the scores of `evaluate(events=...)`, and mixes them with no others."""
    from tfrecsession.cli import main
    from tfrecsession.evaluation import cost

    monkeypatch.setattr(cost, "HISTORIES", 3)
    shop = "synthetic:items=40,sessions=300,seed=1,cart=0.2,purchase=0.2"
    folder, out = str(tmp_path / "data"), tmp_path / "out"
    assert main(["prepare", shop, "--out", folder, "--event", "event"]) == 0
    command = ["compare", folder, "--models", "popularity,item_knn", "--out", str(out), "--k", "5"]
    assert main([*command, "--events", "purchase,cart"]) == 0
    assert "targets purchase, cart only" in capsys.readouterr().out
    results = trs.evaluation.read_results(out)[0]
    data = trs.load(folder)
    model = trs.models.Popularity(data.items)
    model.fit(data.train)
    scored = trs.evaluation.evaluate(model, data.test, (5,), events=["purchase", "cart"])
    (row,) = [row for row in results["models"] if row["model"] == "popularity"]
    assert row["metrics"]["recall@5"] == pytest.approx(scored.metrics["recall@5"])
    assert results["protocol"]["events"] == row["events"] == scored.events < data.test.scored_events
    assert results["protocol"]["event_types"] == ["purchase", "cart"]
    assert [bound["model"] for bound in results["bounds"]] == ["chance"]
    assert set(row["slices"]["event_type"]) == {"purchase", "cart"}
    page = (out / "report.html").read_text()
    assert "events of the type purchase or cart, each ranked" in page and "By event type of the target" in page
    assert main(command) == 2
    assert "reports scores of events purchase, cart, and this comparison is of all events" in capsys.readouterr().err
    assert main([*command[:-4], "--out", str(tmp_path / "two"), "--events", "buy"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --events buy: must be an event type of the test split, one of view, cart")
    assert main([*command, "--overwrite"]) == 0
    assert "event_types" not in trs.evaluation.read_results(out)[0]["protocol"]
