"""Notebook 9: Spark, several workers, a killed training."""

import numpy as np
import pytest

SMALL = {"ITEMS": 60, "SESSIONS": 500, "EPOCHS": 30}


def check(notebook):
    assert (
        notebook.one.shape == notebook.several.shape
        and notebook.apart == np.abs(notebook.one - notebook.several).max() < 1e-3
    )
    assert notebook.same
    assert 10 <= notebook.epoch < 30 and notebook.killed["epoch"] == list(range(1, 31))
    assert not notebook.unfinished.exists()


@pytest.mark.slow  # left to `make notebooks`: many processes; other tests cover workers and kills
def test_workers_agree_and_a_killed_training_resumes_exactly(run):
    notebook = run("09_scale", SPARK=False, **SMALL)
    check(notebook)
    assert notebook.missing == "SPARK is False" and list(notebook.prepared) == ["duckdb"]


@pytest.mark.slow  # left to `make notebooks`
def test_with_spark_on_a_log_in_a_file(run, tmp_path, capsys):
    from tfrecsession.events.shop.shop import Shop

    Shop(items=60, sessions=500, seed=2).write_parquet(tmp_path / "clicks.parquet")
    notebook = run("09_scale", EVENTS="clicks.parquet", COLUMNS={"min_item_support": 3}, **SMALL)
    check(notebook)
    if notebook.missing:
        assert "Spark was left out" in capsys.readouterr().out
        pytest.skip(notebook.missing)
    assert notebook.prepared["spark"][1].fingerprint == notebook.prepared["duckdb"][1].fingerprint
