"""Notebook 13: by hand, and by a search."""

import pytest

SMALL = {"ITEMS": 60, "SESSIONS": 1000, "EPOCHS": 2, "BUDGET": "5s"}


@pytest.mark.slow  # left to `make notebooks`
def test_repeats_help_on_a_log_that_repeats(run, tmp_path):
    notebook = run("13_the_best_model_for_your_log", **SMALL)
    returning = {name: each.slices["in_session"]["returning"]["mrr@20"] for name, each in notebook.found.items()}
    assert returning["gru4rec, repeats"] > returning["gru4rec"]
    assert notebook.result["leaderboard"] and notebook.result["metrics"]["recall@20"] > 0.2


@pytest.mark.slow  # left to `make notebooks`
def test_a_log_in_a_file(run, tmp_path):
    from tfrecsession.events.shop.shop import Shop

    Shop(items=60, sessions=800, seed=2).write_parquet(tmp_path / "clicks.parquet")
    notebook = run("13_the_best_model_for_your_log", EVENTS="clicks.parquet", **SMALL)
    assert notebook.result["model"]
