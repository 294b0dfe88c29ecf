"""Notebook 1: from a click log to recommendations."""

import pytest


@pytest.mark.slow
def test_gru4rec_lies_between_the_baselines_and_the_ceiling(run, tmp_path):
    notebook = run("01_quickstart", ITEMS=150, SESSIONS=2000, EPOCHS=3)
    recall = {name: metrics["recall@20"] for name, metrics in notebook.scores.items()}
    assert recall["chance"] < recall["popularity"] < recall["GRU4Rec"] < recall["ceiling"]
    names, _ = notebook.answers
    assert names.shape == (3, 5) and not set(names[0]) & set(notebook.session)
    assert (names[1] == names[2]).all()  # neither has a known item: the popular items
    assert (tmp_path / "saved_models/quickstart/1/saved_model.pb").exists()


@pytest.mark.slow  # left to `make notebooks`
def test_a_log_in_a_file(run, tmp_path):
    from tfrecsession.events.shop.shop import Shop

    Shop(items=60, sessions=500, seed=2).write_parquet(tmp_path / "clicks.parquet")
    notebook = run("01_quickstart", EVENTS="clicks.parquet", COLUMNS={"min_item_support": 3}, EPOCHS=1)
    assert notebook.data.info["source"].endswith("clicks.parquet")
    assert (
        "ceiling" not in notebook.scores
        and notebook.scores["GRU4Rec"]["recall@20"] > notebook.scores["chance"]["recall@20"]
    )
