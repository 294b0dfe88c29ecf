"""Notebook 6: attention weights of NARM."""

import numpy as np
import pytest

SMALL = {"ITEMS": 100, "SESSIONS": 1500, "EPOCHS": 2, "LOOKED_AT": 20}


@pytest.mark.slow  # left to `make notebooks`
def test_weights_are_shares_of_one_and_both_models_learn(run):
    notebook = run("06_attention", **SMALL)
    assert notebook.weights.shape == (len(notebook.history),) and notebook.weights.sum() == pytest.approx(1, abs=1e-4)
    for share in notebook.shares.values():
        np.testing.assert_allclose(share.sum(axis=1), notebook.PLACES, rtol=1e-4)
    assert len(notebook.shares) == 2  # this log and the control
    assert len(notebook.changed) == notebook.PLACES and 0 < max(notebook.changed) <= 10
    chance = notebook.trs.evaluation.chance(len(notebook.data.items), 1000).metrics["recall@20"]
    assert all(each.metrics["recall@20"] > 1.2 * chance for each in notebook.found.values())
    assert sum(chosen.sum() for chosen in list(notebook.groups.values())[:2]) == notebook.data.test.scored_events


@pytest.mark.slow  # left to `make notebooks`
def test_a_log_in_a_file(run, tmp_path):
    from tfrecsession.events.shop.shop import Shop

    Shop(items=60, sessions=600, seed=2).write_parquet(tmp_path / "clicks.parquet")
    notebook = run("06_attention", EVENTS="clicks.parquet", **SMALL)
    assert notebook.category is None and list(notebook.shares) == ["this log"]
