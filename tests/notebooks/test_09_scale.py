"""Spark, workers, kill -9."""

import numpy as np
import pytest

SMALL = {"ITEMS": 60, "SESSIONS": 500, "EPOCHS": 30}


def check(told):
    assert told.one.shape == told.several.shape and told.apart == np.abs(told.one - told.several).max() < 1e-3
    assert told.same
    assert 10 <= told.epoch < 30 and told.killed["epoch"] == list(range(1, 31))
    assert not told.unfinished.exists()


@pytest.mark.slow  # left to `make notebooks`: many processes; workers and kills have tests of their own
def test_workers_agree_and_a_killed_training_ends_alike(run):
    told = run("09_scale", SPARK=False, **SMALL)
    check(told)
    assert told.missing == "SPARK is False" and list(told.prepared) == ["duckdb"]


@pytest.mark.slow  # left to `make notebooks`
def test_with_spark_on_a_log_of_ones_own(run, tmp_path, capsys):
    from tfrecsession.events.shop.shop import Shop

    Shop(items=60, sessions=500, seed=2).write_parquet(tmp_path / "clicks.parquet")
    told = run("09_scale", EVENTS="clicks.parquet", COLUMNS={"min_item_support": 3}, **SMALL)
    check(told)
    if told.missing:
        assert "Spark was left out" in capsys.readouterr().out
        pytest.skip(told.missing)
    assert told.prepared["spark"][1].fingerprint == told.prepared["duckdb"][1].fingerprint
