"""Notebook 16: a model of one's own."""

import pytest

SMALL = {"ITEMS": 80, "SESSIONS": 900, "EPOCHS": 2, "UNITS": 32}


@pytest.mark.slow  # left to `make notebooks`
def test_the_audit_passes_the_model_and_not_the_one_without_mask(run, tmp_path):
    notebook = run("16_your_own_model", **SMALL)
    assert notebook.audits["own"].passed and not notebook.audits["forgetful"].passed
    assert notebook.found["own"].metrics["mrr@20"] > notebook.found["popularity"].metrics["mrr@20"]
    assert (tmp_path / "own.keras").exists() and notebook.answers.shape == (3, 5)


@pytest.mark.slow  # left to `make notebooks`
def test_a_log_in_a_file(run, tmp_path):
    from tfrecsession.events.shop.shop import Shop

    Shop(items=60, sessions=800, seed=2).write_parquet(tmp_path / "clicks.parquet")
    notebook = run("16_your_own_model", EVENTS="clicks.parquet", **SMALL)
    assert notebook.audits["own"].passed
