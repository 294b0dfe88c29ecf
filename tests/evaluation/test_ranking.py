import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession import evaluation
from tfrecsession.batches import layout


@pytest.mark.parametrize("kind", ["item_knn", "gru4rec"])
def test_events_alike_are_ranked_once_and_all_have_their_rank(shop, kind):
    if kind == "gru4rec":
        model = trs.models.GRU4Rec(shop.items, units=[8])
    else:
        model = trs.models.ItemKNN(shop.items)
        model.fit(shop.train)
    calls = []
    inner = model.target_ranks
    model.target_ranks = lambda batch, targets: calls.append((targets > 0).sum()) or inner(batch, targets)
    scored = evaluation.evaluate(model, shop.test)
    assert sum(calls) < scored.events == shop.test.scored_events
    calls.clear()
    model.history_alone = False
    again = evaluation.evaluate(model, shop.test)
    assert sum(calls) == scored.events and (again.ranks != scored.ranks).mean() < 1e-3

    expected = {}
    for laid in layout.every_event(shop.test.values, shop.test.offsets):
        expected |= dict(zip(laid.event[laid.targets > 0], inner(laid.batch, laid.targets), strict=True))
    events = sorted(expected)
    assert scored.event.tolist() == events
    differs = scored.ranks != [expected[event] for event in events]
    assert differs.mean() < 1e-3  # two items may change places in the last bit of their scores
    np.testing.assert_allclose(
        scored.metrics["recall@20"], np.mean([expected[event] <= 20 for event in events]), atol=1e-3
    )
