"""The context law of the shop: by hand, in plain loops, on a log, and what can be known of it without context."""

import itertools

import numpy as np
import pytest

import tfrecsession as trs
from tests.events.shop.test_oracle import brute_force as without_context
from tests.events.shop.test_oracle import cases, vocabularies
from tfrecsession import InputError, evaluation
from tfrecsession.events.shop.context import HOURLY, STATES, Beliefs, states_of
from tfrecsession.events.shop.shop import DAY, EVENTS, Shop

SHOPS = [
    Shop(items=40, days=4, late=0.3, cart=0.3, context=True),
    Shop(items=40, days=3, late=0.9, seed=2, cart=0.5, context=True),
    Shop(items=40, days=4, late=0.3, seed=6, follow=0.3, taste=0.2, loyal=0.4, context=True),
]
WEIGHTS = 0.7 ** np.arange(8)


def rotated(shop, current, state):
    """The successors of an item, those that are followed most in a state first."""
    shift = state // 3
    return [shop.successors[current][(slot + shift) % 8] for slot in range(8)]


def usual_law(shop, first, current, day, user, state):
    """p(next) without purchases, by the test of the law without context, whose successors are rotated."""
    other = Shop(**{**{name: getattr(shop, name) for name in shop.__dataclass_fields__}, "context": False})
    successors = other.successors.copy()
    successors[current] = rotated(shop, current, state)
    object.__setattr__(other, "__dict__", {**other.__dict__, "successors": successors})
    return without_context(other, first, current, day, user, np.ones(shop.items))


def joint(shop, first, current, day, user, state):
    """float64 [items, 3]: the probability of each next item and type of event, from the module's text."""
    kind = state % 3
    anywhere = np.where(shop.birth[:-1] <= day, shop.weight, 0.0)
    law = usual_law(shop, first, current, day, user, state)
    bought = np.zeros(shop.items)
    if kind == 1:
        bought[current] = 0.6
        law = 0.4 * law
    if kind == 2:
        law = 0.2 * law + 0.8 * anywhere / anywhere.sum()
    return np.stack([law * (1 - shop.cart), law * shop.cart, bought], axis=1)


@pytest.mark.parametrize("shop", SHOPS)
def test_probabilities_and_ranks_are_those_of_the_law(shop):
    rng = np.random.default_rng(0)
    for known in vocabularies(shop):
        first, current, day, user = cases(shop, known, 60)
        states = rng.integers(0, STATES, len(first))
        mixed = rng.dirichlet(np.ones(STATES), len(first))
        events = list(zip(first, current, day, user, strict=True))
        every = np.array([[joint(shop, *event, state).sum(1) for state in range(STATES)] for event in events])
        oracle, target = shop.oracle(known), rng.integers(0, shop.items, len(first))
        for belief, weights in ((states, np.eye(STATES)[states]), (mixed, mixed)):
            laws = np.einsum("es,esi->ei", weights, every) * known
            chance = laws / laws.sum(1, keepdims=True)
            found = oracle.probabilities(first, current, day, user, belief)
            np.testing.assert_allclose(found, chance, atol=1e-12)
            best = np.sort(chance, axis=1)[:, ::-1]
            bar = laws[np.arange(len(target)), target]
            counted = (known & (laws >= bar[:, None] * (1 - 1e-9))).sum(1)
            for k in (1, 5, 20):
                top = oracle.top_mass(first, current, day, k, user, belief)
                np.testing.assert_allclose(top, best[:, :k].sum(1), atol=1e-12)
                ranks = oracle.ranks(first, current, day, target, k, user, belief)
                possible = bar > 0
                assert (ranks[possible] == np.minimum(counted, k + 1)[possible]).all()


def test_ceilings_by_hand():
    """All successors are alive, and every step follows one: recall@1 is the share of the favourite."""
    shop = Shop(items=400, late=0.0, follow=1.0, taste=0.0, cart=0.0, context=True)
    full = np.flatnonzero((shop.successors < shop.items).all(1))[:1]
    days, oracle = np.zeros(1, int), shop.oracle()
    share = WEIGHTS / WEIGHTS.sum()
    for state in range(0, STATES, 3):
        assert oracle.top_mass(full, full, days, 1, belief=np.array([state])) == pytest.approx(share[0])
        favourite = shop.successors[full, state // 3]
        assert oracle.ranks(full, full, days, favourite, belief=np.array([state])).tolist() == [1]
    # visits of 202: night 10, morning 48, afternoon 66, evening 78; two devices each, whose favourites are neighbours
    parts = np.repeat([10, 48, 66, 78], 2) / 404
    slots = [sum(parts[x] * share[(slot - x) % 8] for x in range(8)) for slot in range(8)]
    prior = Beliefs(shop).prior[None]
    assert oracle.top_mass(full, full, days, 1, belief=prior) == pytest.approx(max(slots))
    assert max(slots) < 0.7 * share[0]
    # after a cart the same item is purchased with probability 0.6, whatever is known of the rest
    cart = np.eye(STATES)[[1]]
    assert oracle.ranks(full, full, days, full, belief=cart).tolist() == [1]
    assert oracle.top_mass(full, full, days, 1, belief=cart) == pytest.approx(0.6)


@pytest.mark.slow
@pytest.mark.parametrize("shop", [SHOPS[0], *(pytest.param(shop, marks=pytest.mark.slow) for shop in SHOPS[1:])])
def test_beliefs_are_the_sum_over_all_paths(shop):
    rng = np.random.default_rng(1)
    alive = np.flatnonzero(shop.birth[:-1] == 0)
    for _ in range(4):
        items = list(rng.choice(alive, 1))
        while len(items) < 4:  # a walk that the law can take
            likely = [i for i in shop.successors[items[-1]] if i in alive]
            items.append(rng.choice([items[-1], *likely, rng.choice(alive)]))
        found = Beliefs(shop).of(np.array(items), np.array([0, 4]), np.array([0]), np.array([7]))
        expected = np.zeros((4, STATES))
        parts = np.reshape(HOURLY, (4, 6)).sum(1) / 202
        for shift in range(8):
            for kinds in itertools.product(range(3), repeat=4):
                chance = parts[shift // 2] / 2 * [1 - shop.cart, shop.cart, 0][kinds[0]]
                for step in range(4):
                    if step:
                        law = joint(shop, items[0], items[step - 1], 0, 7, shift * 3 + kinds[step - 1])
                        chance *= law[items[step], kinds[step]]
                    if len(set(kinds[step + 1 :])) < 2 and sum(kinds[step + 1 :]) == 0:  # each path up to here once
                        expected[step, shift * 3 + kinds[step]] += chance
        np.testing.assert_allclose(found, expected / expected.sum(1, keepdims=True), atol=1e-9)


def log_of(shop):
    table = shop.reader().read_all()
    session = table["session"].to_numpy()
    offsets = np.r_[np.flatnonzero(np.r_[True, session[1:] != session[:-1]]), len(session)]
    start = np.repeat(table["time"].to_numpy()[offsets[:-1]], np.diff(offsets))
    kind = np.searchsorted(["cart", "purchase", "view"], table["event"].to_numpy().astype(str))
    kind = np.array([1, 2, 0])[kind]
    device = (table["device"].to_numpy() == "phone").astype(int)
    states = states_of(start % DAY // (DAY // 24), device, kind)
    return table, shop.index(table["item"].combine_chunks()), offsets, shop.day(start), states


def test_the_log_follows_the_law():
    shop = Shop(items=300, sessions=20_000, seed=3, cart=0.25, context=True)
    table, item, offsets, day, states = log_of(shop)
    kind, goes_on = states % 3, np.ones(len(item), bool)
    goes_on[offsets[1:] - 1] = False
    rows = np.flatnonzero(goes_on)
    bought = kind[rows + 1] == 2
    assert (item[rows + 1][bought] == item[rows][bought]).all() and (kind[rows][bought] == 1).all()
    assert bought[kind[rows] == 1].mean() == pytest.approx(0.6, abs=0.01)
    assert (kind[rows + 1][~bought] == 1).mean() == pytest.approx(0.25, abs=0.01)
    assert set(table["event"].to_pylist()) == set(EVENTS)
    assert (table["device"].to_numpy() == "phone").mean() == pytest.approx(0.5, abs=0.02)
    first = np.repeat(item[offsets[:-1]], np.diff(offsets))
    beliefs = Beliefs(shop).of(item, offsets, day[offsets[:-1]])
    found = {}
    for name, belief in (("context", states[rows]), ("items", beliefs[rows])):
        for k in (1, 5, 20):
            given = first[rows], item[rows], day[rows]
            chance = shop.oracle().top_mass(*given, k, belief=belief)
            hits = shop.oracle().ranks(*given, item[rows + 1], k, belief=belief) <= k
            error = np.sqrt((chance * (1 - chance)).sum()) / len(chance)
            assert abs(hits.mean() - chance.mean()) < 4 * error
            found[name, k] = chance.mean()
    assert found["context", 1] > 1.3 * found["items", 1]
    assert found["context", 5] > 1.1 * found["items", 5]
    assert found["context", 20] > found["items", 20]


def test_the_ceiling_of_a_data_set():
    data = trs.synthetic_sessions(items=100, sessions=3000, seed=1, cart=0.25, context=True)
    assert data.info["shop"] == "synthetic:items=100,sessions=3000,seed=1,days=8,cart=0.25,context=True"
    inside = evaluation.ceiling(data.info["shop"], data.test, (1, 20))
    without = evaluation.ceiling(data.info["shop"], data.test, (1, 20), context=False)
    assert inside.metrics["recall@1"] > 1.2 * without.metrics["recall@1"]
    assert inside.metrics["mrr@20"] > 1.1 * without.metrics["mrr@20"]
    blind = trs.synthetic_sessions(items=100, sessions=3000, seed=1, cart=0.25, context=True, event=None)
    found = evaluation.ceiling(blind.info["shop"], blind.test, (1, 20))
    assert found.metrics == without.metrics
    with pytest.raises(InputError, match="context=True: the data set must have the columns event and device"):
        evaluation.ceiling(blind.info["shop"], blind.test, context=True)


def test_arguments():
    shop = Shop(items=40, sessions=10, context=True)
    assert shop.spec.endswith(",context=True") and Shop.from_spec(shop.spec) == shop
    assert Shop.from_spec("synthetic:items=40,sessions=10,context=true") == shop
    assert not Shop.from_spec("synthetic:context=false").context
    with pytest.raises(InputError, match="context must be true or false, not 'maybe'"):
        Shop.from_spec("synthetic:context=maybe")
    with pytest.raises(InputError, match="synthetic: context=1 must be True or False"):
        Shop(context=1)
    with pytest.raises(InputError, match="synthetic: purchase=0.1 is not read with context=True; set cart"):
        Shop(context=True, purchase=0.1)
    with pytest.raises(InputError, match="belief=None: must be states"):
        shop.oracle().ranks([0], [0], [shop.birth[0]], [0])
    with pytest.raises(InputError, match=r"belief: its shape is \[1, 3\], it must be \[1, 24\]"):
        shop.oracle().ranks([0], [0], [shop.birth[0]], [0], belief=[[0.1, 0.2, 0.7]])
