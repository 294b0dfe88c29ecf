"""Notebook 7: HRNN remembers returning users."""

import numpy as np
import pytest

SMALL = {"ITEMS": 100, "USERS": 120, "SESSIONS": 1500, "EPOCHS": 2, "ASKED": 20}


@pytest.mark.slow  # left to `make notebooks`
def test_models_with_memory_react_to_the_users_past(run):
    notebook = run("07_returning_visitors", **SMALL)
    assert (notebook.past > 0).mean() > 0.5
    assert notebook.found["HRNN"].metrics["recall@20"] < notebook.found["ceiling"].metrics["recall@20"]
    session_alone = notebook.shares["GRU4Rec"]
    assert session_alone == [session_alone[0]] * len(session_alone)  # it is given nothing of the past
    for name in ("GRU4Rec, joined", "HRNN"):
        assert len(set(notebook.shares[name])) > 1 and np.ptp(notebook.shares[name]) < 1
    assert notebook.kept.shape == (1, 64) and notebook.kept.any()


@pytest.mark.slow  # left to `make notebooks`
def test_a_log_in_a_file(run, tmp_path):
    from tfrecsession.events.shop.shop import Shop

    Shop(items=60, sessions=800, users=90, seed=2).write_parquet(tmp_path / "clicks.parquet")
    columns = {"item": "item", "time": "time", "session": "session", "user": "user"}
    notebook = run("07_returning_visitors", EVENTS="clicks.parquet", COLUMNS=columns, **SMALL)
    assert "ceiling" not in notebook.found and notebook.found["HRNN"].slices["past_sessions"]
