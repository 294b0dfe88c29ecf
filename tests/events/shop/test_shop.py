"""The synthetic shop: its law, the properties of its log, and its spec."""

import hashlib
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from tfrecsession.errors import InputError
from tfrecsession.events.shop import shop as synthetic
from tfrecsession.events.shop.shop import DAY, EVENTS, SCHEMA, Shop
from tfrecsession.events.shop.walks import Walks


class Log:
    """A whole log as arrays; `start` is the row of the first event of each row's session."""

    def __init__(self, shop):
        self.table = shop.reader().read_all()
        self.session, self.user, self.time = (self.table[name].to_numpy() for name in ("session", "user", "time"))
        self.item = shop.index(self.table["item"].combine_chunks())
        self.opens = np.r_[True, self.session[1:] != self.session[:-1]]
        self.start = np.flatnonzero(self.opens)[np.cumsum(self.opens) - 1]
        self.day = shop.day(self.time[self.start])


def next_item_law(shop, first, current, day, own_cluster=None):
    """Returns p(next) from the module's text, one item at a time."""
    items = range(shop.items)
    alive = [j for j in items if shop.birth[j] <= day]
    law = np.zeros(shop.items)
    led = [(0.7**slot, j) for slot, j in enumerate(shop.successors[current]) if j in alive]
    follow = shop.follow if led else 0.0
    for weight, j in led:
        law[j] += follow * weight / sum(weight for weight, _ in led)
    own = [j for j in alive if shop.cluster[j] == shop.cluster[first]]
    for j in own:
        law[j] += (shop.taste + shop.follow - follow) * shop.weight[j] / shop.weight[own].sum()
    loyal = [j for j in alive if shop.cluster[j] == own_cluster] or alive
    for j in loyal:
        law[j] += shop.loyal * shop.weight[j] / shop.weight[loyal].sum()
    for j in alive:
        law[j] += (1 - shop.follow - shop.taste - shop.loyal) * shop.weight[j] / shop.weight[alive].sum()
    return law


@pytest.mark.parametrize("seed", [0, 1])
def test_next_items_are_as_frequent_as_in_the_law(seed):
    shop = Shop(items=40, sessions=150_000, seed=seed, days=3, late=0.3)
    log = Log(shop)
    following = np.flatnonzero(~log.opens)
    clusters = shop.cluster.max() + 1
    cell = (log.day[following] * clusters + shop.cluster[log.item[log.start[following]]]) * 40 + log.item[following - 1]
    seen = np.bincount(cell * 40 + log.item[following], minlength=3 * clusters * 40 * 40).reshape(-1, 40)
    statistic, degrees = 0.0, 0
    for index in np.flatnonzero(seen.sum(1) >= 2000):
        day, cluster, current = index // 40 // clusters, index // 40 % clusters, index % 40
        law = next_item_law(shop, shop.cluster_start[cluster], current, day)
        assert law.sum() == pytest.approx(1.0, abs=1e-12)
        assert not seen[index, law == 0].any()
        expected = law * seen[index].sum()
        counted = expected >= 5
        statistic += ((seen[index] - expected)[counted] ** 2 / expected[counted]).sum()
        degrees += counted.sum() - 1
    assert degrees > 2000
    # A chi-square of n degrees has mean n and variance 2n.
    assert abs(statistic - degrees) < 5 * np.sqrt(2 * degrees)


def test_loyal_steps_are_as_frequent_as_in_the_law():
    """Compares counts with p(next | first, current, day, user); of a user, only the own cluster matters."""
    shop = Shop(items=24, sessions=150_000, users=300, seed=11, days=2, late=0.9, follow=0.3, taste=0.2, loyal=0.4)
    log = Log(shop)
    following = np.flatnonzero(~log.opens)
    own = shop.own_cluster(log.user[following])
    day, first, current = log.day[following], log.item[log.start[following]], log.item[following - 1]
    cell = ((day * 4 + own) * 4 + shop.cluster[first]) * 24 + current
    seen = np.bincount(cell * 24 + log.item[following], minlength=2 * 4 * 4 * 24 * 24).reshape(-1, 24)
    events = np.unique(cell, return_index=True)[1]
    events = events[seen[cell[events]].sum(1) >= 500]
    table = shop.oracle().probabilities(first[events], current[events], day[events], log.user[following[events]])
    statistic, degrees, kinds = 0.0, 0, set()
    for event, chances in zip(events, table, strict=True):
        law = next_item_law(shop, first[event], current[event], day[event], own[event])
        assert chances == pytest.approx(law, abs=1e-12)
        counts = seen[cell[event]]
        assert not counts[law == 0].any()
        expected = law * counts.sum()
        counted = expected >= 5
        statistic += ((counts - expected)[counted] ** 2 / expected[counted]).sum()
        degrees += counted.sum() - 1
        dead = (shop.birth[:-1][shop.cluster == own[event]] > day[event]).all()
        kinds.add("dead" if dead else "same" if own[event] == shop.cluster[first[event]] else "other")
    assert kinds == {"dead", "same", "other"} and degrees > 500
    assert abs(statistic - degrees) < 5 * np.sqrt(2 * degrees)


def test_own_clusters_are_uniform_and_independent_of_tastes():
    shop = Shop(items=1000, sessions=20_000, seed=3, follow=0.2, loyal=0.3)
    users = np.arange(40_000)
    own, home = shop.own_cluster(users), Walks(shop)._home(users)
    assert np.bincount(own, minlength=10) == pytest.approx(4000, abs=300)
    expected = np.outer(np.bincount(home, minlength=10), np.bincount(own, minlength=10)) / 40_000
    together = np.bincount(home * 10 + own, minlength=100).reshape(10, 10)
    assert ((together - expected) ** 2 / expected).sum() < 81 + 5 * np.sqrt(2 * 81)
    assert (own != Shop(items=1000, seed=4).own_cluster(users)).mean() > 0.8


def test_popularity_is_zipf():
    plain = Shop(items=500, sessions=200_000, follow=0.0, taste=0.0, home=0.0, late=0.0, days=1)
    counts = np.sort(np.bincount(Log(plain).item, minlength=500))[::-1]
    share = np.arange(1, 501) ** -0.8 / (np.arange(1, 501) ** -0.8).sum()
    assert np.abs(counts[:20] / counts.sum() / share[:20] - 1).max() < 0.05
    assert np.abs(counts[:400] / counts.sum() / share[:400] - 1).max() < 0.15

    counts = np.sort(np.bincount(Log(Shop(sessions=50_000)).item, minlength=1000))[::-1]
    ranks = np.arange(1, 301)
    slope = np.polyfit(np.log(ranks), np.log(counts[:300]), 1)[0]
    assert -1.0 < slope < -0.6


def test_late_items_wait_for_their_birth():
    shop = Shop(items=1000, sessions=60_000, days=8)
    birth = shop.birth[:-1]
    assert (birth > 0).sum() == 100
    assert (birth == 7).sum() >= 10
    log = Log(shop)
    assert (birth[log.item] <= log.day).all()
    sold_at_once = [np.isin(np.flatnonzero(birth == day), log.item[log.day == day]).mean() for day in range(1, 8)]
    assert min(sold_at_once) > 0.9


def test_users_have_lasting_and_passing_tastes():
    shop = Shop(items=2000, sessions=60_000, users=2000, late=0.0)
    log = Log(shop)
    users, taste = log.user[log.opens], shop.cluster[log.item[log.opens]]
    share = [
        np.bincount(taste[users == user]).max() / (users == user).sum()
        for user in np.unique(users)[:100]
        if (users == user).sum() >= 40
    ]
    assert len(share) > 50
    # 0.7 of the sessions begin in the home cluster, and a few of the others by chance.
    assert 0.68 < np.mean(share) < 0.8
    homes = {np.bincount(taste[users == user]).argmax() for user in range(100)}
    assert len(homes) > 8


def test_the_log_is_complete_and_in_order(monkeypatch):
    monkeypatch.setattr(synthetic, "CHUNK", 700)
    shop = Shop(items=300, sessions=20_000, days=4, seed=5, start="2025-03-09")
    log = Log(shop)
    assert log.table.schema == SCHEMA
    assert log.table.num_rows > 0
    assert (log.session[log.opens] == np.arange(20_000)).all()
    assert (np.diff(log.time[log.opens]) >= 0).all()
    assert (np.diff(log.time)[~log.opens[1:]] > 0).all()
    assert (log.user == log.user[log.start]).all()
    assert (log.user >= 0).all() and (log.user < 20_000 // 3).all()
    assert (np.bincount(log.day[log.opens]) == 5000).all()
    assert log.time[0] // DAY == np.datetime64("2025-03-09", "D").astype(int)
    hours = np.bincount(log.time[log.opens] % DAY // (DAY // 24), minlength=24)
    assert hours.min() > 0 and hours[20] > 10 * hours[3]


def test_lengths_times_and_event_types_are_plausible():
    shop = Shop(sessions=50_000)
    log = Log(shop)
    lengths = np.bincount(log.session)
    assert lengths.min() == 2 and 100 < lengths.max() <= 200
    assert 4.5 < lengths.mean() < 5.2
    steps = np.diff(log.time)[~log.opens[1:]] / 1e6
    assert 38 < np.median(steps) < 42 and steps.min() > 0.5 and steps.max() < 30 * 60
    assert np.log(steps).std() == pytest.approx(1.0, abs=0.03)
    events = dict(zip(*np.unique(log.table["event"].to_numpy(), return_counts=True), strict=True))
    assert set(events) == set(EVENTS)
    assert events["cart"] / len(log.item) == pytest.approx(0.08, abs=0.005)
    assert events["purchase"] / len(log.item) == pytest.approx(0.03, abs=0.003)


def test_the_seed_decides_everything():
    arguments = {"items": 200, "sessions": 3000, "days": 3}
    first, again, other = (Shop(**arguments, seed=seed) for seed in (4, 4, 5))
    assert first.reader().read_all().equals(again.reader().read_all())
    assert first.reader().read_all().equals(first.reader().read_all())
    assert first.item_table().equals(again.item_table())
    for column in ("user", "item", "time", "event"):
        assert first.reader().read_all()[column] != other.reader().read_all()[column]
    assert first.item_table() != other.item_table()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [({}, "2301f68332fb5814"), ({"taste": 0.1, "loyal": 0.4}, "f5e533dd47425a8b")],
)
def test_the_log_of_a_seed_never_changes(arguments, expected):
    """Scores in presets and benchmarks belong to this log: a deliberate change means measuring them again."""
    table = Shop(items=300, sessions=2000, seed=1, days=5, **arguments).reader().read_all()
    digest = hashlib.sha256()
    for column in table.column_names:
        digest.update("\n".join(map(str, table[column].to_pylist())).encode())
    assert digest.hexdigest()[:16] == expected


@pytest.mark.parametrize(
    "arguments",
    [
        {"items": 4, "sessions": 500, "days": 1},
        {"items": 4, "sessions": 500, "days": 30, "late": 0.9},
        {"items": 60, "sessions": 3, "days": 20},
        {"items": 60, "sessions": 500, "follow": 1.0, "taste": 0.0},
        {"items": 60, "sessions": 500, "follow": 0.0, "taste": 1.0, "zipf": 0.0},
        {"items": 60, "sessions": 500, "follow": 0.6, "taste": 0.4, "home": 0.0},
        {"items": 60, "sessions": 500, "zipf": 3.0, "users": 1, "cart": 0.0, "purchase": 1.0},
        {"items": 60, "sessions": 1},
        {"items": 4, "sessions": 500, "days": 30, "late": 0.9, "follow": 0.0, "taste": 0.0, "loyal": 1.0},
        {"items": 60, "sessions": 500, "follow": 0.1, "taste": 0.2, "loyal": 0.7},  # 1 but for rounding
    ],
)
def test_extreme_arguments(arguments):
    shop = Shop(**arguments)
    log = Log(shop)
    assert len(np.unique(log.session)) == shop.sessions
    assert (shop.birth[log.item] <= log.day).all()


def test_successors_are_distinct_others_of_the_cluster():
    shop = Shop(items=3000)
    for item, slots in enumerate(shop.successors[::7]):
        item, real = item * 7, slots[slots < shop.items]
        assert len(real) >= 4 and len(set(real)) == len(real) and item not in real
        assert (shop.cluster[real] == shop.cluster[item]).all()


def test_item_table():
    shop = Shop(items=1500, seed=2)
    table = shop.item_table()
    assert table.column_names == ["item", "category", "price", "title"]
    assert (shop.index(table["item"].combine_chunks()) == np.arange(1500)).all()
    category, title = table["category"].to_numpy(), table["title"].to_pylist()
    of_cluster = [set(category[shop.cluster == cluster]) for cluster in range(shop.cluster.max() + 1)]
    assert all(len(names) == 1 for names in of_cluster) and len(set.union(*of_cluster)) == len(of_cluster)
    words = {cluster: set() for cluster in range(len(of_cluster))}
    for cluster, text in zip(shop.cluster, title, strict=True):
        words[cluster] |= set(text.split())
    assert all(len(vocabulary) == 7 for vocabulary in words.values())
    assert len(set.union(*words.values())) == 7 * len(words)
    price = np.log(table["price"].to_numpy())
    within = np.mean([price[shop.cluster == cluster].std() for cluster in words])
    assert 0.35 < within < 0.45 and price.std() > 1.5 * within


def test_the_number_in_a_name_reveals_nothing():
    shop = Shop(items=2000)
    number = np.array([int(name.split("-")[1]) for name in shop.names.to_pylist()])
    assert (np.sort(number) == np.arange(2000)).all()
    for hidden in (shop.weight, shop.cluster, shop.birth[:-1]):
        assert abs(np.corrcoef(number, np.argsort(np.argsort(hidden)))[0, 1]) < 0.08


def test_index_and_day():
    shop = Shop(items=50, start="2026-01-01")
    names = shop.names.to_pylist()
    assert (shop.index(names[::-1]) == np.arange(50)[::-1]).all()
    assert (shop.index(np.array(names, object)) == np.arange(50)).all()
    assert shop.index([]).shape == (0,)
    for name in ("item-50", "item--1", "item-007", "thing-3", "item-", "item-1\n", "item-" + "9" * 30, None):
        with pytest.raises(InputError, match="is not an item"):
            shop.index([names[0], name])
    midnight = np.datetime64("2026-01-03", "us").astype(np.int64)
    assert shop.day([midnight - 1, midnight]).tolist() == [1, 2]


def test_write_parquet(tmp_path):
    shop = Shop(items=100, sessions=2000)
    shop.write_parquet(tmp_path / "log.parquet")
    assert pq.read_table(tmp_path / "log.parquet").equals(shop.reader().read_all())


@pytest.mark.parametrize(
    "shop",
    [
        Shop(),
        Shop(items=70, sessions=9, seed=3, days=2),
        Shop(users=7, start="2025-12-24", zipf=1.1, late=0.25, home=0.1, follow=0.3, taste=0.3, cart=0.0, purchase=1.0),
        Shop(users=500, follow=0.3, taste=0.1, loyal=0.5),
    ],
)
def test_spec_round_trip(shop):
    assert Shop.from_spec(shop.spec) == shop
    assert shop.spec.startswith("synthetic:items=")


def test_spec_defaults():
    assert Shop.from_spec("synthetic:") == Shop()
    assert Shop.from_spec("synthetic:sessions=5_000, seed=1") == Shop(sessions=5000, seed=1)
    assert Shop.from_spec("synthetic:sessions=5_000").users == 1666
    assert Shop(items=50).spec == "synthetic:items=50,sessions=10000,seed=0,days=8"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("item=5", "unknown key 'item', did you mean items.*known keys: items, sessions"),
        ("colour=5", "unknown key 'colour'.*known keys"),
        ("items", "items must be a whole number, not ''.*known keys"),
        ("items=", "items must be a whole number"),
        ("items=ten", "items must be a whole number, not 'ten'"),
        ("items=1.5", "items must be a whole number"),
        ("users=None", "users must be a whole number"),
        ("follow=much", "follow must be a number"),
        ("follow=nan", "follow=nan must be between"),
        ("=5", "unknown key ''"),
        ("items=5,items=6", "items is given twice"),
        ("items=3", "items=3 must be at least 4"),
        ("sessions=0", "sessions=0 must be at least 1"),
        ("seed=-1", "seed=-1 must be at least 0"),
        ("days=0", "days=0 must be at least 1"),
        ("days=40000", "days=40000 must be below"),
        ("users=0", "users=0 must be at least 1"),
        ("late=1", "late=1.0 must be between 0 and 0.9"),
        ("zipf=-1", "zipf=-1.0 must be between 0 and 3"),
        ("loyal=-0.1", "loyal=-0.1 must be between 0 and 1"),
        ("follow=0.8", "must not exceed 1"),
        ("users=500,loyal=0.5", "exceed 1; lower one of follow=0.5, taste=0.35, loyal=0.5"),
        ("cart=0.8,purchase=0.3", "must not exceed 1"),
        ("start=yesterday", "start='yesterday' must be a date"),
    ],
)
def test_bad_specs(spec, message):
    with pytest.raises(InputError, match=message) as caught:
        Shop.from_spec(f"synthetic:{spec}")
    assert "\n" not in str(caught.value)


WITHOUT_THE_REST = """
import sys


class Absent:
    def find_spec(name, path=None, target=None):
        if name in ("tensorflow", "keras", "pandas", "ibis", "duckdb"):
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, Absent)
from tfrecsession.events.shop.shop import Shop

shop = Shop(sessions=50)
items = shop.index(shop.reader().read_all()["item"].combine_chunks())
shop.item_table()
shop.oracle().ranks(items[:1], items[:1], [0], items[1:2])
"""


def test_only_numpy_and_pyarrow_are_needed():
    subprocess.run([sys.executable, "-c", WITHOUT_THE_REST], check=True)
