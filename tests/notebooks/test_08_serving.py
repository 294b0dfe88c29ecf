"""A server beside the notebook."""

import pytest

SMALL = {"ITEMS": 100, "SESSIONS": 1000, "EPOCHS": 1, "QUESTIONS": 24}


@pytest.mark.slow  # left to `make notebooks`
def test_the_server_answers_and_ends(run):
    pytest.importorskip("aiohttp", reason="the server needs pip install 'tfrecsession[serving]'")
    told = run("08_serving", **SMALL)
    assert told.server.returncode == 0
    assert told.answered["items"][0][:5] == told.best.items[0].tolist()
    filtered = told.filtered
    assert not set(filtered["without its first two"]) & set(told.best.items[0][:2])
    assert set(filtered[f"only {told.wanted}"]) <= {*told.shelf, ""}
    assert [one for one in told.step["items"][0] if one not in told.session][:5] == told.expected[:5]
    assert told.states == {1: "AVAILABLE", 2: "AVAILABLE"}
    assert all(len(values) == len(told.grown) and min(values) > 0 for values in told.times.values())


@pytest.mark.slow  # left to `make notebooks`
def test_a_log_of_ones_own(run, tmp_path):
    from tfrecsession.events.shop.shop import Shop

    Shop(items=260, sessions=2500, seed=2).write_parquet(tmp_path / "clicks.parquet")
    told = run("08_serving", EVENTS="clicks.parquet", COLUMNS={"min_item_support": 1}, **SMALL)
    assert told.server.returncode == 0 and set(told.category.values()) == {"popular", "rare"}
