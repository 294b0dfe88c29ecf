"""Notebook 5: intervals, corrected tests, and when a network pays."""

import pytest


@pytest.mark.slow  # left to `make notebooks`
def test_baselines_under_one_protocol(run, tmp_path):
    notebook = run(
        "05_watch_your_baselines",
        ITEMS=150,
        SESSIONS=2000,
        UNITS=16,
        EPOCHS=2,
        IGNORANT=4,
        SHARES=[0.3],
        MODELS=["popularity", "sequential_rules", "gru4rec"],
    )
    mrr = notebook.table["mrr@20"]
    assert (
        notebook.bounds["chance"]["mrr@20"] < mrr["popularity"] < mrr["gru4rec"] < notebook.bounds["ceiling"]["mrr@20"]
    )
    assert {pair["best"] for pair in notebook.pairs} == {mrr.idxmax()}
    assert next(pair for pair in notebook.pairs if pair["model"] == "popularity")["p_holm"] < 0.01
    assert (notebook.adjusted >= notebook.chances).all() and notebook.adjusted.max() > notebook.chances.min()
    assert (
        dict(zip(notebook.growing.model, notebook.growing.mrr, strict=True))["sequential_rules"]
        < mrr["sequential_rules"]
    )
    assert (tmp_path / notebook.report / "report.html").exists()
