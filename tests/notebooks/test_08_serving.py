"""Notebook 8: the local server."""

import pytest

SMALL = {"ITEMS": 100, "SESSIONS": 1000, "EPOCHS": 1, "QUESTIONS": 24}


@pytest.mark.slow  # left to `make notebooks`
def test_the_server_answers_and_ends(run):
    pytest.importorskip("aiohttp", reason="the server needs pip install 'tfrecsession[serving]'")
    notebook = run("08_serving", **SMALL)
    assert notebook.server.returncode == 0
    assert notebook.answered["items"][0][:5] == notebook.best.items[0].tolist()
    filtered = notebook.filtered
    assert not set(filtered["without its first two"]) & set(notebook.best.items[0][:2])
    assert set(filtered[f"only {notebook.wanted}"]) <= {*notebook.shelf, ""}
    assert [one for one in notebook.step["items"][0] if one not in notebook.session][:5] == notebook.expected[:5]
    assert notebook.states == {1: "AVAILABLE", 2: "AVAILABLE"}
    assert all(len(values) == len(notebook.grown) and min(values) > 0 for values in notebook.times.values())


@pytest.mark.slow  # left to `make notebooks`
def test_a_log_in_a_file(run, tmp_path):
    from tfrecsession.events.shop.shop import Shop

    Shop(items=260, sessions=2500, seed=2).write_parquet(tmp_path / "clicks.parquet")
    notebook = run("08_serving", EVENTS="clicks.parquet", COLUMNS={"min_item_support": 1}, **SMALL)
    assert notebook.server.returncode == 0 and set(notebook.category.values()) == {"popular", "rare"}
