"""Notebook 12: long-term taste and this session."""

import pytest

SMALL = {"ITEMS": 80, "USERS": 100, "SESSIONS": 1200, "EPOCHS": 2, "UNITS": 32}


@pytest.mark.slow  # left to `make notebooks`
def test_memory_pays_where_users_are_loyal(run):
    notebook = run("12_users", **SMALL)
    assert len(notebook.logs) == 2 and len(notebook.gains) == 6
    loyal, other = ([notebook.gains[label, name].difference for name in notebook.names] for label in notebook.logs)
    assert max(loyal) > max(other)


@pytest.mark.slow  # left to `make notebooks`
def test_a_log_in_a_file(run, tmp_path):
    from tfrecsession.events.shop.shop import Shop

    Shop(items=60, sessions=800, users=90, seed=2).write_parquet(tmp_path / "clicks.parquet")
    columns = {"item": "item", "time": "time", "session": "session", "user": "user"}
    notebook = run("12_users", EVENTS="clicks.parquet", COLUMNS=columns, **SMALL)
    assert list(notebook.logs) == ["your log"]
