"""Notebook 4: sampling loses little, and the network beats popularity."""

import pytest


@pytest.mark.slow  # left to `make notebooks`
def test_losses_negatives_and_the_baseline(run):
    notebook = run(
        "04_gru4rec",
        ITEMS=200,
        SESSIONS=1200,
        UNITS=24,
        EPOCHS=2,
        COUNTS=[64],
        LOSSES=["CrossEntropy"],
        SIZES=[500],
        ALPHAS=[0.5],
    )
    last = {which: curve["recall@20"].iloc[-1] for which, curve in notebook.by_loss.items()}
    assert abs(notebook.full["recall@20"].iloc[-1] - last["CrossEntropy", 64]) < 0.1
    assert list(notebook.steps.index) == [500] and (notebook.steps > 0).all(axis=None)
    popular = {logq: next(iter(tenths.values())) for logq, tenths in notebook.tenths.items()}
    assert popular[1.0] > popular[0.0]  # without the correction items sampled often are pushed down
    scores = notebook.final_scores["recall@20"]
    assert scores["popularity"] < scores.iloc[0] < scores["ceiling"]
