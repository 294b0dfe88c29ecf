"""Notebook 3: vectors beat biases, the rating loss ranks worst, and new users get recommendations."""

import pytest


@pytest.mark.slow
def test_ratings_choices_and_cold_start(run):
    notebook = run(
        "03_matrix_factorization", ITEMS=200, USERS=300, SESSIONS=2500, EPOCHS=3, FACTORS=8, LEARNERS=["ratings", "ALS"]
    )
    rmse = {name: error.rmse for name, error in notebook.errors.items()}
    assert rmse["the truth"] < rmse["ALS"] < rmse["biases alone"] < rmse["mean rating"]
    recall = {name: found.metrics["recall@20"] for name, found in notebook.lists.items()}
    assert recall["ratings"] < recall["popularity"] < recall["ALS"]
    folded = [found.metrics["recall@20"] for found in notebook.folded["ALS"].values()]
    assert folded[-1] > folded[0]
    assert notebook.new_recall["category"] > notebook.new_recall["chance"] + 0.1
