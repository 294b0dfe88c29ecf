import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession import evaluation
from tfrecsession.batches import layout
from tfrecsession.batches.batch import Reads
from tfrecsession.layers import blocks


@pytest.mark.parametrize("kind", ["item_knn", "gru4rec"])
def test_equal_events_are_ranked_once_and_share_the_rank(shop, kind):
    if kind == "gru4rec":
        model = trs.models.GRU4Rec(shop.items, units=[8])
    else:
        model = trs.models.ItemKNN(shop.items)
        model.fit(shop.train)
    calls = []
    inner = model.target_ranks
    model.target_ranks = lambda batch, targets, best=0: calls.append((targets > 0).sum()) or inner(batch, targets, best)
    scored = evaluation.evaluate(model, shop.test)
    assert sum(calls) < scored.events == shop.test.scored_events
    calls.clear()
    model.reads = Reads(context=("times",))  # each event by itself
    again = evaluation.evaluate(model, shop.test)
    assert sum(calls) == scored.events and (again.ranks != scored.ranks).mean() < 1e-3

    expected = {}
    for laid in layout.every_event(shop.test.values, shop.test.offsets):
        expected |= dict(zip(laid.event[laid.targets > 0], inner(laid.batch, laid.targets)[0], strict=True))
    events = sorted(expected)
    assert scored.event.tolist() == events
    differs = scored.ranks != [expected[event] for event in events]
    assert differs.mean() < 1e-3  # two items may be swapped by the last bit of their scores
    np.testing.assert_allclose(
        scored.metrics["recall@20"], np.mean([expected[event] <= 20 for event in events]), atol=1e-3
    )


@pytest.mark.parametrize("kind", ["popularity", "item_knn", "gru4rec"])
@pytest.mark.parametrize("block_bytes", [4 * 202 * 3, 256 << 20])
def test_ranks_and_lists_are_those_of_the_scores(shop, kind, block_bytes, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", block_bytes)  # 3 events at a time, and all at once
    model = trs.models.by_name(kind)(shop.items)
    if kind != "gru4rec":
        model.fit(shop.train)
    laid = next(layout.every_event(shop.test.values, shop.test.offsets, cells=256))
    mask = laid.targets > 0
    scores = np.asarray(model.score_all(np.asarray(model.encode(laid.batch))[mask]))
    targets = laid.targets[mask]
    ranks, lists = model.target_ranks(laid.batch, laid.targets, best=7)
    expected = [(row[2:] >= row[target]).sum() for row, target in zip(scores, targets, strict=True)]
    # a product of other rows may differ in the last bit of a score and swap two items
    assert (ranks == expected).mean() > 0.99 and ranks.dtype == np.int32
    expected = [2 + np.lexsort((np.arange(len(row) - 2), -row[2:]))[:7] for row in scores]
    assert (lists == expected).mean() > 0.99 and lists.dtype == np.int32
    alone, none = model.target_ranks(laid.batch, laid.targets)
    assert (alone == ranks).mean() > 0.99 and none.shape == (len(ranks), 0)
