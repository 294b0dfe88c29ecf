"""The oracle's ranks are those of the law that generated the log, and no other ranking beats them."""

import numpy as np
import pytest

from tfrecsession.errors import InputError
from tfrecsession.events.shop.shop import Shop

SHOPS = [
    Shop(items=40, days=4, late=0.3),
    Shop(items=40, days=4, late=0.3, seed=1, zipf=0.0),  # ties: all weights are equal
    Shop(items=40, days=3, late=0.9, seed=2),  # dead clusters, items without a living successor
    Shop(items=40, days=3, seed=3, follow=1.0, taste=0.0),
    Shop(items=40, days=3, seed=4, follow=0.0, taste=1.0),
    Shop(items=40, days=3, seed=5, follow=0.6, taste=0.4),
    Shop(items=40, days=4, late=0.3, seed=6, follow=0.3, taste=0.2, loyal=0.4),
    Shop(items=40, days=4, late=0.9, seed=7, follow=0.3, taste=0.1, loyal=0.6),  # some own clusters are dead
]


def brute_force(shop, first, current, day, user, known):
    """Returns p(next), given that it is a known item, from the module's text in plain loops."""
    alive = [j for j in range(shop.items) if shop.birth[j] <= day]
    own = [j for j in alive if shop.cluster[j] == shop.cluster[first]]
    loyal = [j for j in alive if shop.cluster[j] == shop.own_cluster([user])[0]] if shop.loyal else []
    slots = {j: 0.7**slot for slot, j in enumerate(shop.successors[current]) if j in alive}
    follow = shop.follow if slots else 0.0
    law = np.zeros(shop.items)
    for j in alive:
        law[j] = (1 - shop.follow - shop.taste - shop.loyal) * shop.weight[j] / sum(shop.weight[alive])
        pool = loyal or alive
        law[j] += shop.loyal * (j in pool) * shop.weight[j] / sum(shop.weight[pool])
        law[j] += (shop.taste + shop.follow - follow) * (j in own) * shop.weight[j] / sum(shop.weight[own])
        law[j] += follow * slots.get(j, 0.0) / (sum(slots.values()) or 1.0)
    assert sum(law) == pytest.approx(1.0, abs=1e-12)
    return law * known / sum(law * known)


def cases(shop, known, count=400):
    """Returns random (first, current, day, user) that the shop can generate, with a known item to come next."""
    random = np.random.default_rng(7)
    found = []
    while len(found) < count:
        day = random.integers(shop.days)
        first, current = random.choice(np.flatnonzero(shop.birth[:-1] <= day), 2)
        alive = (shop.birth[:-1] <= day) & known
        if (alive & (shop.cluster == shop.cluster[first])).any() and alive[shop.successors[current] % shop.items].any():
            found.append((first, current, day, random.integers(50)))
    return np.array(found).T


def vocabularies(shop):
    return [np.ones(shop.items, bool), np.random.default_rng(3).random(shop.items) < 0.6]


@pytest.mark.parametrize("shop", SHOPS)
def test_probabilities_are_the_law(shop):
    for known in vocabularies(shop):
        first, current, day, user = cases(shop, known)
        table = shop.oracle(known).probabilities(first, current, day, user)
        assert table.sum(1) == pytest.approx(1.0, abs=1e-12)
        for row, event in zip(table, zip(first, current, day, user, strict=True), strict=True):
            assert row == pytest.approx(brute_force(shop, *event, known), abs=1e-12)


@pytest.mark.parametrize("shop", SHOPS)
def test_ranks_and_top_mass_are_exact(shop):
    for known in vocabularies(shop):
        first, current, day, user = cases(shop, known)
        target = np.random.default_rng(1).integers(0, shop.items, len(first))
        oracle = shop.oracle(known)
        laws = np.array([brute_force(shop, *event, known) for event in zip(first, current, day, user, strict=True)])
        bar = laws[np.arange(len(target)), target]
        counted = known & (laws >= bar[:, None] * (1 - 1e-9))
        sold = shop.birth[target] <= day
        for k in (1, 5, 20, 40):
            rank = np.where(known[target], np.minimum(counted.sum(1), k + 1), k + 1)
            found = oracle.ranks(first, current, day, target, k, user)
            possible = (bar > 0) & sold
            assert found.dtype == np.int64
            assert (found[possible] == rank[possible]).all()
            assert (found[~known[target]] == k + 1).all()
            best = np.sort(laws, axis=1)[:, ::-1][:, :k].sum(1)
            assert oracle.top_mass(first, current, day, k, user) == pytest.approx(best, abs=1e-12)


def test_the_loyal_cases_cover_every_kind():
    kinds = set()
    for shop in SHOPS[-2:]:
        first, _, day, user = cases(shop, vocabularies(shop)[0])
        own = shop.own_cluster(user)
        dead = [(shop.birth[:-1][shop.cluster == cluster] > now).all() for cluster, now in zip(own, day, strict=True)]
        kinds |= set(zip(dead, own == shop.cluster[first], strict=True))
    assert kinds == {(False, False), (False, True), (True, False)}  # a session's own cluster is always alive


@pytest.mark.parametrize("shares", [{}, {"follow": 0.2, "taste": 0.1, "loyal": 0.6}])
def test_ranks_agree_with_full_scores_in_a_larger_shop(shares):
    shop = Shop(items=5000, days=4, seed=2, **shares)
    known = np.random.default_rng(0).random(5000) < 0.9
    first, current, day, user = cases(shop, known, 300)
    oracle = shop.oracle(known)
    table = oracle.probabilities(first, current, day, user)
    likely = np.argsort(-table, axis=1)
    for rank in (0, 3, 8, 19, 20, 60):
        target = likely[:, rank]
        bar = table[np.arange(300), target][:, None] * (1 - 1e-12)
        expected = (table >= bar).sum(1)
        assert (oracle.ranks(first, current, day, target, 5000, user) == expected).all()
        assert (oracle.ranks(first, current, day, target, user=user) == np.minimum(expected, 21)).all()


def test_an_item_not_yet_sold_is_a_miss():
    shop = Shop(items=40, days=4, late=0.5)
    unborn = int(np.flatnonzero(shop.birth[:-1] == 3)[0])
    first = int(np.flatnonzero(shop.birth[:-1] == 0)[0])
    assert shop.oracle().ranks([first, first], [first, first], [0, 3], [unborn, unborn], k=40)[0] == 41
    assert shop.oracle().ranks([first, first], [first, first], [0, 3], [unborn, unborn], k=40)[1] <= 40


def events_of(shop, days):
    """Returns first, current, day, target and user of every event with an event before it, in sessions of `days`."""
    table = shop.reader().read_all()
    session, time = table["session"].to_numpy(), table["time"].to_numpy()
    item = shop.index(table["item"].combine_chunks())
    opens = np.r_[True, session[1:] != session[:-1]]
    start = np.flatnonzero(opens)[np.cumsum(opens) - 1]
    day = shop.day(time[start])
    rows = np.flatnonzero(~opens & np.isin(day, days))
    return item[start[rows]], item[rows - 1], day[rows], item[rows], table["user"].to_numpy()[rows]


def recall(ranks):
    return (ranks <= 20).mean()


LOYAL = {"items": 300, "follow": 0.2, "taste": 0.1, "loyal": 0.6, "seed": 3}


@pytest.mark.parametrize("arguments", [{}, {"items": 3000, "seed": 1}, {"items": 60, "late": 0.5, "seed": 2}, LOYAL])
def test_recall_on_the_log_is_the_expected_one(arguments):
    shop = Shop(sessions=40_000, **arguments)
    known = np.zeros(shop.items, bool)
    known[events_of(shop, range(6))[3]] = True
    first, current, day, target, user = (column[:60_000] for column in events_of(shop, [6, 7]))
    kept = known[target]
    first, current, day, target, user = first[kept], current[kept], day[kept], target[kept], user[kept]
    oracle = shop.oracle(known)
    for k in (1, 5, 20):
        chance = oracle.top_mass(first, current, day, k, user)
        error = np.sqrt((chance * (1 - chance)).sum()) / len(chance)
        hits = oracle.ranks(first, current, day, target, k, user) <= k
        assert abs(hits.mean() - chance.mean()) < 4 * error


def conservative_ranks(scores, target):
    return (scores >= scores[np.arange(len(target)), target][:, None]).sum(1)


def test_no_other_ranking_beats_it():
    shop = Shop(items=500, sessions=60_000)
    first, current, day, target, _ = events_of(shop, range(7))
    bigrams = np.zeros((500, 500))
    np.add.at(bigrams, (current, target), 1)
    by_cluster = np.zeros((shop.cluster.max() + 1, 500))
    np.add.at(by_cluster, (shop.cluster[first], target), 1)
    by_cluster /= by_cluster.sum(1, keepdims=True)
    popularity = np.bincount(target, minlength=500) / len(target)
    known = popularity > 0

    first, current, day, target, _ = events_of(shop, [7])
    kept = known[target]
    first, current, day, target = first[kept], current[kept], day[kept], target[kept]
    best = recall(shop.oracle(known).ranks(first, current, day, target))
    following = bigrams / np.maximum(bigrams.sum(1, keepdims=True), 1)
    rivals = {
        "popularity": np.broadcast_to(popularity, (len(target), 500)),
        "bigram": following[current],
        "bigram and popularity": following[current] + 0.1 * popularity,
        "bigram and cluster": following[current] + 0.3 * by_cluster[shop.cluster[first]],
    }
    scored = {name: recall(conservative_ranks(scores, target)) for name, scores in rivals.items()}
    assert scored["popularity"] < 0.5 * best
    assert scored["popularity"] < scored["bigram"] < scored["bigram and cluster"]
    assert all(score < best for score in scored.values())
    # The best of them knows much of the law: the oracle is a ceiling that models can come near.
    assert scored["bigram and cluster"] > 0.93 * best


@pytest.mark.parametrize(("items", "sessions"), [(1000, 10_000), (10_000, 20_000)])
def test_the_ceiling_leaves_room_on_both_sides(items, sessions):
    shop = Shop(items=items, sessions=sessions)
    first, current, day, target, _ = events_of(shop, range(8))
    ceiling = shop.oracle().top_mass(first, current, day).mean()
    popular = np.argsort(-np.bincount(target, minlength=items))[:20]
    assert 0.65 < ceiling < 0.75
    assert np.isin(target, popular).mean() < 0.3 * ceiling


def test_empty_arguments_give_empty_results():
    oracle = Shop(items=40).oracle()
    assert oracle.ranks([], [], [], []).shape == (0,)
    assert oracle.top_mass([], [], []).shape == (0,)


def test_bad_arguments():
    shop = Shop(items=40, days=4, late=0.5)
    unborn = int(np.flatnonzero(shop.birth[:-1] == 3)[0])
    with pytest.raises(InputError, match="before it is sold"):
        shop.oracle().ranks([unborn], [0], [2], [0])
    with pytest.raises(InputError, match="user=None: must be .* users of .* are loyal"):
        Shop(items=40, taste=0.1, loyal=0.2).oracle().ranks([0], [0], [0], [0])
    for known in (np.ones(39, bool), np.ones(40, int)):
        with pytest.raises(InputError, match="40 booleans"):
            shop.oracle(known)
