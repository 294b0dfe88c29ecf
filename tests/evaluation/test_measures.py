import json

import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession import InputError, evaluation
from tfrecsession.batches import Sessions
from tfrecsession.metrics.beyond_accuracy import average_precision, beyond_accuracy, hits_of_the_rest, precision
from tfrecsession.sessions.store import SessionArrays


@pytest.fixture(scope="module")
def knn(shop):
    model = trs.models.ItemKNN(shop.items)
    model.fit(shop.train)
    return model


@pytest.fixture(scope="module")
def scored(knn, shop):
    splits = (shop.train, shop.validation)
    return evaluation.evaluate(knn, shop.test, (5, 20), beyond_accuracy=True, earlier=splits)


def test_metrics_are_means_over_the_events(scored, shop):
    ranks = scored.ranks.astype(float)
    hits, items = hits_of_the_rest(scored.lists, shop.test.values, shop.test.offsets, scored.event)
    for k in (5, 20):
        expected = {
            "recall": (ranks <= k).mean(),
            "mrr": np.where(ranks <= k, 1 / ranks, 0).mean(),
            "ndcg": np.where(ranks <= k, 1 / np.log2(ranks + 1), 0).mean(),
            "precision": precision(hits, k).mean(),
            "map": average_precision(hits, items, k).mean(),
        }
        for name, value in expected.items():
            assert scored.metrics[f"{name}@{k}"] == pytest.approx(value)
            low, high = scored.intervals[f"{name}@{k}"]
            assert low < value < high and high - low < 0.15
        for name, value in beyond_accuracy(scored.lists, shop.items.counts, k).items():
            assert scored.metrics[name] == value
            if not name.startswith("gini"):
                low, high = scored.intervals[name]
                assert low < value < high
    assert scored.metrics.keys() - scored.intervals.keys() == {"gini@5", "gini@20"}


def test_lists_are_what_the_model_recommends(knn, scored, shop):
    assert scored.lists.shape == (scored.events, 20) and scored.lists.dtype == np.int32
    for row in range(0, scored.events, 97):
        session = np.searchsorted(shop.test.offsets, scored.event[row], side="right") - 1
        history = shop.test.values[shop.test.offsets[session] : scored.event[row]]
        recommended = knn.recommend([shop.items.decode(history)], k=20).items[0]
        assert shop.items.decode(scored.lists[row]).tolist() == recommended.tolist()
    target = shop.test.values[scored.event]
    listed = (scored.lists == target[:, None]).any(axis=1)
    assert listed[scored.ranks <= 20].all()  # ties count against the model in the rank, not in the list


def test_lists_change_no_rank_and_are_optional(knn, scored, shop):
    plain = evaluation.evaluate(knn, shop.test, (5, 20))
    assert plain.lists is None and plain.ranks.tolist() == scored.ranks.tolist()
    assert plain.metrics == {name: value for name, value in scored.metrics.items() if name in plain.metrics}
    assert {name.partition("@")[0] for name in plain.metrics} == {"recall", "mrr", "ndcg"}
    assert plain.intervals["mrr@20"] == pytest.approx(scored.intervals["mrr@20"])  # the same draws


def test_a_slice_is_the_mean_over_its_events(scored, shop):
    cuts = evaluation.slicings(shop.test, scored.event, (shop.train, shop.validation))
    assert list(scored.slices) == list(cuts)
    assert {"position", "history_length", "popularity_decile", "in_training", "in_session"} <= set(cuts)
    for name, cut in cuts.items():
        for number, label in enumerate(cut.labels):
            mask = cut.number == number
            row = scored.slices[name][label]
            assert row["events"] == mask.sum()
            if not mask.any():
                assert [row[f"{metric}@20"] for metric in ("recall", "mrr", "ndcg")] == [None] * 3
                assert row["intervals"] == dict.fromkeys(["recall@20", "mrr@20", "ndcg@20"])
                continue
            expected = evaluation.metrics_of(scored.ranks[mask], (20,))
            assert {metric: row[metric] for metric in expected} == pytest.approx(expected)
            if row["sessions"] > 1:
                low, high = row["intervals"]["mrr@20"]
                assert low <= row["mrr@20"] <= high
    assert scored.slices["in_training"]["new"]["events"] == 0  # unknown items were dropped
    json.dumps([scored.metrics, scored.intervals, scored.slices], allow_nan=False)


def test_without_slices_and_draws(knn, shop):
    bare = evaluation.evaluate(knn, shop.test, slices=False, draws=0)
    assert bare.slices == {} and bare.intervals == {} and bare.metrics["mrr@20"] > 0
    table = evaluation.evaluate(knn, shop.test, draws=0).slices["position"]["2"]
    assert table["mrr@20"] > 0 and table["intervals"] == {}


def test_the_ceiling_has_intervals_and_slices_too(shop):
    top = evaluation.ceiling(shop.info["shop"], shop.test, (20,))
    assert top.metrics == pytest.approx(evaluation.metrics_of(top.ranks, (20,)))
    assert top.intervals["recall@20"][0] < top.metrics["recall@20"] and top.slices["position"]["2"]["events"] > 0


def test_a_model_and_the_ceiling_on_the_same_events(knn, shop):
    top = evaluation.ceiling(shop.info["shop"], shop.test, (20,))
    ours = evaluation.evaluate(knn, shop.test)
    found = evaluation.paired(top, ours, shop.test, "recall@20")
    assert found.difference > 0 and found.p_value < 0.01


def with_unknown_items(shop, sessions, role="validation"):
    values, offsets = np.concatenate(sessions), np.cumsum([0, *map(len, sessions)])
    return Sessions(SessionArrays(shop.items, values, offsets), role)


def test_a_split_without_known_targets(knn, shop):
    with pytest.raises(InputError, match="validation split has 3 events .* item of none"):
        evaluation.evaluate(knn, with_unknown_items(shop, [[5, 1, 1], [1, 1]]))


def test_unknown_targets_are_misses_and_a_slice(knn, shop):
    found = evaluation.evaluate(knn, with_unknown_items(shop, [[5, 1, 7], [9, 1]]))
    new = found.slices["in_training"]["new"]
    assert (new["events"], new["sessions"], new["recall@20"]) == (2, 2, 0.0)
    assert (found.ranks > len(shop.items)).sum() == 2


def test_no_event_to_score(knn, shop):
    with pytest.raises(InputError, match="validation split has no event"):
        evaluation.evaluate(knn, with_unknown_items(shop, [[5], [7]]))


@pytest.mark.parametrize("k", [(), 20, None, (5, 0), (-1,), (2.5,), (10**6,)])
def test_invalid_list_lengths(knn, shop, k):
    with pytest.raises(InputError, match="k="):
        evaluation.evaluate(knn, shop.test, k)


def test_splits_have_different_fingerprints(shop):
    from tfrecsession.evaluation.measures import fingerprint

    prints = {fingerprint(split) for split in (shop.train, shop.validation, shop.test)}
    assert len(prints) == 3 and fingerprint(shop.test) in prints


def test_event_types_of_a_log(tmp_path):
    import pyarrow as pa

    rng = np.random.default_rng(0)
    table = pa.table(
        {
            "session": np.repeat(np.arange(200), 4),
            "item": [f"i{number}" for number in rng.integers(0, 12, 800)],
            "time": 1_700_000_000 + np.arange(800) * 500,
            "kind": rng.choice(["view", "view", "view", "buy"], 800),
        }
    )
    trs.prepare(table, tmp_path / "data", event="kind", test_span="1d", validation_span="0d")
    data = trs.load(tmp_path / "data")
    model = trs.models.Popularity(data.items)
    model.fit(data.train)
    found = evaluation.evaluate(model, data.test, (5,))
    kinds = data.test.column("event")[found.event]
    assert list(found.slices["event_type"]) == ["view", "buy"]
    for kind, row in found.slices["event_type"].items():
        assert row["events"] == (kinds == kind).sum()
        assert row["recall@5"] == pytest.approx((found.ranks[kinds == kind] <= 5).mean())
