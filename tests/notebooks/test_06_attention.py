"""NARM looks back."""

import numpy as np
import pytest

SMALL = {"ITEMS": 100, "SESSIONS": 1500, "EPOCHS": 2, "LOOKED_AT": 20}


@pytest.mark.slow  # left to `make notebooks`
def test_weights_are_shares_of_one_and_both_models_learn(run):
    told = run("06_attention", **SMALL)
    assert told.weights.shape == (len(told.history),) and told.weights.sum() == pytest.approx(1, abs=1e-4)
    for share in told.shares.values():
        np.testing.assert_allclose(share.sum(axis=1), told.PLACES, rtol=1e-4)
    assert len(told.shares) == 2  # the control beside it
    assert len(told.changed) == told.PLACES and 0 < max(told.changed) <= 10
    chance = told.trs.evaluation.chance(len(told.data.items), 1000).metrics["recall@20"]
    assert all(each.metrics["recall@20"] > 1.2 * chance for each in told.found.values())
    assert sum(chosen.sum() for chosen in list(told.groups.values())[:2]) == told.data.test.scored_events


@pytest.mark.slow  # left to `make notebooks`
def test_a_log_of_ones_own(run, tmp_path):
    from tfrecsession.events.shop.shop import Shop

    Shop(items=60, sessions=600, seed=2).write_parquet(tmp_path / "clicks.parquet")
    told = run("06_attention", EVENTS="clicks.parquet", **SMALL)
    assert told.category is None and list(told.shares) == ["this log"]
