"""Notebook 14: steps, tables and indexes by the size of the catalogue."""

import pytest

SMALL = {
    "SIZES": [500, 3000],
    "SESSIONS": 300,
    "STEPS": 2,
    "TABLE_ITEMS": 80,
    "TABLE_SESSIONS": 500,
    "EPOCHS": 1,
    "QUESTIONS": 5,
}


@pytest.mark.slow  # left to `make notebooks`
def test_all_three_costs_are_measured(run):
    notebook = run("14_a_million_items", **SMALL)
    assert list(notebook.logs) == [500, 3000] and all(len(times) == 2 for times in notebook.steps.values())
    numbers = {name: size for name, (size, _) in notebook.tables.items()}
    assert numbers["hashed"] < numbers["full"]
    assert notebook.recall["exact"] == 1 and min(notebook.recall.values()) > 0.5


@pytest.mark.slow  # left to `make notebooks`
def test_a_log_in_a_file(run, tmp_path):
    from tfrecsession.events.shop.shop import Shop

    Shop(items=60, sessions=800, seed=2).write_parquet(tmp_path / "clicks.parquet")
    notebook = run("14_a_million_items", EVENTS="clicks.parquet", **SMALL)
    assert len(notebook.logs) == 1
