"""Notebook 15: rules, reasons and an audit."""

import numpy as np
import pytest

SMALL = {"ITEMS": 100, "SESSIONS": 1200, "EPOCHS": 2, "ASKED": 60}


@pytest.mark.slow  # left to `make notebooks`
def test_rules_hold_and_the_leak_is_found(run):
    notebook = run("15_from_candidates_to_the_list", **SMALL)
    kinds = [notebook.category[item] for item in notebook.answers["at most 2 of a category"].items[0] if item]
    assert max(map(kinds.count, kinds)) <= 2
    assert notebook.answers["the campaign's item first"].items[0][0] == notebook.popular
    first, last = (notebook.traded["mmr"][place][0] for place in (0, -1))
    assert last > first  # more categories
    assert np.median(notebook.losses["the named click"]) > np.median(notebook.losses["another click"])
    assert notebook.audits["the model"].passed and not notebook.audits["the leaking one"].passed


@pytest.mark.slow  # left to `make notebooks`
def test_a_log_in_a_file(run, tmp_path):
    import pyarrow.parquet as pq

    from tfrecsession.events.shop.shop import Shop

    shop = Shop(items=60, sessions=900, seed=2)
    shop.write_parquet(tmp_path / "clicks.parquet")
    pq.write_table(shop.item_table(), tmp_path / "items.parquet")
    columns = {"items": "items.parquet", "items_key": "item", "content": ["category", "price"]}
    notebook = run("15_from_candidates_to_the_list", EVENTS="clicks.parquet", COLUMNS=columns, **SMALL)
    assert notebook.audits["the model"].passed
