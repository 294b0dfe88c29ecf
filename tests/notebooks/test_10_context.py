"""Notebook 10: context and purchases."""

import pytest

SMALL = {"ITEMS": 40, "SESSIONS": 2500, "EPOCHS": 3}


@pytest.mark.slow  # left to `make notebooks`
def test_the_kind_of_the_last_event_tells_a_purchase(run):
    notebook = run("10_context", **SMALL)
    scores = {name: each.metrics["mrr@5"] for name, each in notebook.found.items()}
    assert scores["all of them"] > scores["items alone"]
    assert scores["items alone"] < notebook.bounds["best with context"]["mrr@5"]
    assert notebook.again["cart"] > max(notebook.again["view"], notebook.again["purchase"])
    assert notebook.served.keys() == {"morning", "evening"} and notebook.bought.keys() >= {"purchases alone"}


@pytest.mark.slow  # left to `make notebooks`
def test_a_log_in_a_file(run, tmp_path):
    from tfrecsession.events.shop.shop import Shop

    Shop(items=40, sessions=600, seed=2).write_parquet(tmp_path / "clicks.parquet")
    columns = {"event": "event"}
    notebook = run(
        "10_context", EVENTS="clicks.parquet", COLUMNS=columns, CONTEXT=["event", "gap"], REQUEST=["hour"], **SMALL
    )
    assert not notebook.bounds and "gap" in notebook.found
