"""Notebook 11: content, and a new item in a running server."""

import numpy as np
import pytest


@pytest.mark.slow  # left to `make notebooks`
def test_new_items_are_found_by_content_and_go_live(run):
    pytest.importorskip("aiohttp", reason="the server needs pip install 'tfrecsession[serving]'")
    notebook = run("11_content_and_cold_items", ITEMS=150, SESSIONS=1500, EPOCHS=5)
    seen, new = ({name: float(np.mean(hit[part])) for name, hit in notebook.recall.items()} for part in notebook.parts)
    assert new["ids alone"] < 0.1 < new["ids and content"] and seen["ids and content"] > 0.4
    assert notebook.added == ["brand-new"] and notebook.path.name == "2" and notebook.share["brand-new"] > 0


@pytest.mark.slow  # left to `make notebooks`
def test_a_log_in_a_file(run, tmp_path):
    import pyarrow.parquet as pq

    from tfrecsession.events.shop.shop import Shop

    pytest.importorskip("aiohttp", reason="the server needs pip install 'tfrecsession[serving]'")
    shop = Shop(items=60, sessions=700, seed=2)
    shop.write_parquet(tmp_path / "clicks.parquet")
    pq.write_table(shop.item_table(), tmp_path / "items.parquet")
    columns = {"items": "items.parquet", "items_key": "item", "content": ["title", "price"], "unseen_items": "add"}
    notebook = run(
        "11_content_and_cold_items", EVENTS="clicks.parquet", COLUMNS=columns, CONTENT=["title", "price"], EPOCHS=1
    )
    assert "ceiling" not in notebook.recall and notebook.added == ["brand-new"]
