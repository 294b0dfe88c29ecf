"""Tests of the split by users and its two metrics, against loops over users and ranks."""

import functools
import math

import numpy as np
import pytest

import tfrecsession as trs
from tests.models.factorization.test_als import sessions_of
from tfrecsession import InputError
from tfrecsession.evaluation import evaluate_users, hold_out_users
from tfrecsession.evaluation.held_out_users import means_of, scores_of


def by_hand(listed, held, k):
    """Returns Recall@k and NDCG@k of one list of items."""
    hits = [place for place, item in enumerate(listed[:k], 1) if item in held]
    best = sum(1 / math.log2(place + 1) for place in range(1, min(k, len(held)) + 1))
    return len(hits) / min(k, len(held)), sum(1 / math.log2(place + 1) for place in hits) / best


def test_the_metrics_user_by_user():
    random = np.random.default_rng(0)
    lists = np.array([random.permutation(30)[:12] for _ in range(50)])
    held = [set(random.permutation(30)[: random.integers(1, 20)].tolist()) for _ in range(50)]
    hits = np.array([[item in wanted for item in row] for row, wanted in zip(lists, held, strict=True)])
    found = scores_of(hits, np.array([len(wanted) for wanted in held]), recall=(1, 5), ndcg=(3, 12))
    for k in (1, 5):
        expected = [by_hand(row, wanted, k)[0] for row, wanted in zip(lists, held, strict=True)]
        np.testing.assert_allclose(found[f"recall@{k}"], expected)
    for k in (3, 12):
        expected = [by_hand(row, wanted, k)[1] for row, wanted in zip(lists, held, strict=True)]
        np.testing.assert_allclose(found[f"ndcg@{k}"], expected)


def test_means_have_intervals_over_users():
    random = np.random.default_rng(0)
    of_each = {"recall@20": random.random(400), "ndcg@100": np.full(400, 0.25)}
    means, intervals = means_of(of_each, draws=2000, seed=1)
    assert means["recall@20"] == pytest.approx(of_each["recall@20"].mean())
    half = 1.96 * of_each["recall@20"].std() / 20  # the central limit
    low, high = intervals["recall@20"]
    assert low == pytest.approx(means["recall@20"] - half, abs=0.1 * half)
    assert high == pytest.approx(means["recall@20"] + half, abs=0.1 * half)
    assert intervals["ndcg@100"] == pytest.approx([0.25, 0.25])
    assert means_of(of_each, draws=0)[1] == {}
    assert means_of({"ndcg@100": np.array([0.5])})[1] == {"ndcg@100": None}


def test_no_user_is_on_both_sides(shop):
    split = hold_out_users(shop.train, 0.2, seed=3)
    trained = set(split.train.column("user"))
    assert not trained & set(split.users) and len(split.users) + split.dropped > 50
    of_user = {}
    for session, user in enumerate(shop.train.column("user")):
        of_user.setdefault(user, []).extend(shop.items.decode(shop.train[session]).tolist())
    known = set(split.train.items.ids)
    for user, history, held in zip(split.users, split.histories, split.held, strict=True):
        user_items = [item for item in of_user[user] if item in known]
        hidden = set(split.train.items.decode(held))
        assert sorted(history) == sorted(item for item in user_items if item not in hidden)
        assert hidden <= set(user_items) and len(hidden) == int(len(set(user_items)) * 0.2 + 1e-9)
    counts = np.bincount(split.train.values, minlength=split.train.items.size)[2:]
    assert counts.tolist() == split.train.items.counts.tolist() and (np.diff(counts) <= 0).all()
    again, other = hold_out_users(shop.train, 0.2, seed=3), hold_out_users(shop.train, 0.2, seed=4)
    assert again.histories == split.histories and other.users.tolist() != split.users.tolist()


@pytest.mark.parametrize("name", ["popularity", "item_knn", "als"])
def test_any_model_is_evaluated(shop, name):
    split = hold_out_users(shop.train, 0.2, seed=3)
    model = trs.models.MODELS[name](split.train.items)
    model.fit(split.train)
    found = evaluate_users(model, split, recall=(5, 20), ndcg=(10,), draws=50)
    lists = model.recommend(split.histories, k=20, exclude_seen=True).items
    expected = [
        by_hand(split.train.items.encode(row), set(held), 20)[0] for row, held in zip(lists, split.held, strict=True)
    ]
    assert found.metrics["recall@20"] == pytest.approx(np.mean(expected)) and found.users == len(split.users)
    low, high = found.intervals["recall@20"]
    assert low < found.metrics["recall@20"] < high
    assert list(found.metrics) == ["recall@5", "recall@20", "ndcg@10"]
    assert found.metrics["recall@20"] > 1.2 * 20 / len(shop.items)


def test_one_graph_for_histories_of_any_length(shop, monkeypatch):
    split = hold_out_users(shop.train, 0.2, seed=3)
    model = trs.models.Popularity(split.train.items)
    model.fit(split.train)
    at_once = evaluate_users(model, split, recall=(20,), ndcg=(), draws=0)
    traced = []

    @functools.wraps(model.answer)
    def answer(*args, **kwargs):
        traced.append(args)
        return trs.models.Popularity.answer(model, *args, **kwargs)

    monkeypatch.setattr(model, "_answer_graphs", {})
    monkeypatch.setattr(model, "answer", answer)
    monkeypatch.setattr(
        "tfrecsession.evaluation.held_out_users.BLOCK", 7
    )  # blocks of several lengths, the last smaller
    assert evaluate_users(model, split, recall=(20,), ndcg=(), draws=0).metrics == at_once.metrics
    assert len(split.users) > 50 and len(traced) == 1


def test_users_with_too_few_items_are_dropped():
    sessions = sessions_of([[2, 3, 4, 5, 6], [2], [2, 3, 4, 5, 6, 7, 8], [2, 3, 4, 5, 6]])
    split = hold_out_users(sessions, 3, seed=0)
    assert len(split.users) + split.dropped == 3
    assert all(len(held) == 1 and len(history) >= 4 for held, history in zip(split.held, split.histories, strict=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"users": 0}, "users=0: must be"),
        ({"users": 2}, "users=2: must be"),
        ({"users": 1, "held": 0.2}, "held=0.2: none of 1 .* has 5 known items"),
        ({"users": 1, "held": 1.0}, "held=1.0: must be"),
    ],
)
def test_bad_splits(arguments, message):
    with pytest.raises(InputError, match=message):
        hold_out_users(sessions_of([[2, 3], [2, 3]]), **arguments)


def test_a_model_of_another_vocabulary_is_refused(shop):
    split = hold_out_users(shop.train, 0.2, seed=3)
    with pytest.raises(InputError, match="another data set"):
        evaluate_users(trs.models.Popularity(trs.synthetic_sessions(50, 500).items), split)
