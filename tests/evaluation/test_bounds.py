import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession import InputError, evaluation


def test_chance_by_hand():
    metrics = evaluation.chance(catalogue=100, events=7, k=(2,)).metrics
    assert metrics == {
        "recall@2": pytest.approx(0.02),
        "mrr@2": pytest.approx((1 + 1 / 2) / 100),
        "ndcg@2": pytest.approx((1 + 1 / np.log2(3)) / 100),
    }


def test_metrics_from_ranks_by_hand():
    metrics = evaluation.metrics_of(np.array([1, 2, 21, 20]), (20,))
    assert metrics["recall@20"] == pytest.approx(3 / 4)
    assert metrics["mrr@20"] == pytest.approx((1 + 1 / 2 + 1 / 20) / 4)
    assert metrics["ndcg@20"] == pytest.approx((1 + 1 / np.log2(3) + 1 / np.log2(21)) / 4)


def test_the_ceiling_scores_every_event_of_the_shop(shop):
    top = evaluation.ceiling(shop.info["shop"], shop.test, (20,))
    assert top.events == shop.test.scored_events
    assert 0.4 < top.metrics["recall@20"] < 1.0


def test_the_ceiling_without_the_popularity_of_new_items():
    data = trs.synthetic_sessions(items=200, sessions=1500, seed=3, late=0.4, described=True, unseen_items="add")
    new = (data.items.counts == 0)[data.test.values - 2]  # by event
    found = {}
    for known in (True, False):
        top = evaluation.ceiling(data.info["shop"], data.test, new_popularity=known)
        hit, is_new = top.ranks <= 20, new[top.event]
        found[known] = hit[is_new].mean(), hit[~is_new].mean()
    assert found[False][0] < found[True][0] - 0.02
    assert found[False][1] > found[True][1] - 0.01  # known items keep their weights
    shop = trs.synthetic_sessions(items=200, sessions=1500, seed=3)
    tops = [evaluation.ceiling(shop.info["shop"], shop.test, new_popularity=known) for known in (True, False)]
    assert (tops[0].ranks == tops[1].ranks).all()  # nothing is new


def test_the_ceiling_uses_the_loyalty_of_users(tmp_path):
    spec = "synthetic:items=300,sessions=3000,users=200,days=4,follow=0.1,taste=0.1,loyal=0.7"
    trs.prepare(spec, tmp_path / "data", test_span="1d", validation_span="0d")
    data = trs.load(tmp_path / "data")
    top = evaluation.ceiling(data.info["shop"], data.test, (20,))
    scores = {}
    for model in (trs.models.Popularity(data.items), trs.models.SessionPopularity(data.items)):
        model.fit(data.train)
        scores[model.name] = evaluation.evaluate(model, data.test).metrics["recall@20"]
    assert max(scores.values()) < 0.75 * top.metrics["recall@20"] < 0.75


def test_ranks_are_aligned_with_events(shop):
    model = trs.models.Popularity(shop.items)
    model.fit(shop.train)
    scored = evaluation.evaluate(model, shop.test)
    targets = shop.test.values[scored.event]
    counts = shop.items.counts
    expected = [(counts >= counts[target - 2]).sum() for target in targets]
    assert scored.ranks.tolist() == expected


def test_k_beyond_the_catalogue(shop):
    model = trs.models.Popularity(shop.items)
    with pytest.raises(InputError, match="k=5000"):
        evaluation.evaluate(model, shop.test, k=(5000,))
