"""HRNN remembers who returns."""

import numpy as np
import pytest

SMALL = {"ITEMS": 100, "USERS": 120, "SESSIONS": 1500, "EPOCHS": 2, "ASKED": 20}


@pytest.mark.slow  # left to `make notebooks`
def test_who_is_shown_a_persons_past_moves_to_the_persons_taste(run):
    told = run("07_returning_visitors", **SMALL)
    assert (told.past > 0).mean() > 0.5
    assert told.found["HRNN"].metrics["recall@20"] < told.found["ceiling"].metrics["recall@20"]
    session_alone = told.shares["GRU4Rec"]
    assert session_alone == [session_alone[0]] * len(session_alone)  # it is shown nothing of the past
    for name in ("GRU4Rec, joined", "HRNN"):
        assert len(set(told.shares[name])) > 1 and np.ptp(told.shares[name]) < 1
    assert told.kept.shape == (1, 64) and told.kept.any()


@pytest.mark.slow  # left to `make notebooks`
def test_a_log_of_ones_own(run, tmp_path):
    from tfrecsession.events.shop.shop import Shop

    Shop(items=60, sessions=800, users=90, seed=2).write_parquet(tmp_path / "clicks.parquet")
    columns = {"item": "item", "time": "time", "session": "session", "user": "user"}
    told = run("07_returning_visitors", EVENTS="clicks.parquet", COLUMNS=columns, **SMALL)
    assert "ceiling" not in told.found and told.found["HRNN"].slices["past_sessions"]
