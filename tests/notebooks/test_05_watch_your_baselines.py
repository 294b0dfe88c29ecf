"""Intervals, tests that know how many they are, and when a network pays."""

import pytest


@pytest.mark.slow  # left to `make notebooks`
def test_baselines_under_one_protocol(run, tmp_path):
    told = run(
        "05_watch_your_baselines",
        ITEMS=150,
        SESSIONS=2000,
        UNITS=16,
        EPOCHS=2,
        IGNORANT=4,
        SHARES=[0.3],
        MODELS=["popularity", "sequential_rules", "gru4rec"],
    )
    mrr = told.table["mrr@20"]
    assert told.bounds["chance"]["mrr@20"] < mrr["popularity"] < mrr["gru4rec"] < told.bounds["ceiling"]["mrr@20"]
    assert {pair["best"] for pair in told.pairs} == {mrr.idxmax()}
    assert next(pair for pair in told.pairs if pair["model"] == "popularity")["p_holm"] < 0.01
    assert (told.adjusted >= told.chances).all() and told.adjusted.max() > told.chances.min()
    assert dict(zip(told.growing.model, told.growing.mrr, strict=True))["sequential_rules"] < mrr["sequential_rules"]
    assert (tmp_path / told.report / "report.html").exists()
