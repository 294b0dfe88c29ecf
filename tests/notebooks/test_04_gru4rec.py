"""Losses and negatives decide, and the network beats counting."""

import pytest


@pytest.mark.slow  # left to `make notebooks`
def test_losses_negatives_and_the_baseline(run):
    told = run(
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
    last = {which: curve["recall@20"].iloc[-1] for which, curve in told.by_loss.items()}
    assert abs(told.full["recall@20"].iloc[-1] - last["CrossEntropy", 64]) < 0.1
    assert list(told.steps.index) == [500] and (told.steps > 0).all(axis=None)
    popular = {logq: next(iter(tenths.values())) for logq, tenths in told.tenths.items()}
    assert popular[1.0] > popular[0.0]  # without the correction what is drawn often is pushed down
    scores = told.final_scores["recall@20"]
    assert scores["popularity"] < scores.iloc[0] < scores["ceiling"]
