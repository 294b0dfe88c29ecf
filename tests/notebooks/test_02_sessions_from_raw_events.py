"""Notebook 2: filters make the task easier, and a random split inflates the scores of session models."""

import pytest


@pytest.mark.slow
def test_filters_and_random_splits_raise_scores(run):
    notebook = run("02_sessions_from_raw_events", ITEMS=300, SESSIONS=2500, SUPPORTS=[1, 50])
    # sessions cut by the gap agree with those of the log
    assert abs(notebook.info["steps"][2]["sessions"] / notebook.raw.session.nunique() - 1) < 0.05
    assert (notebook.kept["items"].diff().dropna() < 0).all()
    assert (notebook.kept["sequential rules"].diff().dropna() > 0).all()
    assert notebook.unknown["train"].max() == 0 < notebook.unknown["test"].min()
    flattered = notebook.recall["flattered by"]
    assert flattered["sequential rules"] > 0.05 and flattered["item-kNN"] > 0.05
    assert notebook.recall["by time"].idxmin() == "popular of all days"
    assert notebook.recall["at random"].idxmin() == "popular of the last day"
