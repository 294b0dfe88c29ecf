"""Weights of events in models: an event of weight 0 moves nothing, one of weight 2 counts as the event twice."""

import keras
import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession import InputError
from tfrecsession.batches import Interactions, Sessions
from tfrecsession.batches.co_occurrence import successions
from tfrecsession.models import MODELS
from tfrecsession.sessions.store import SessionArrays
from tfrecsession.sessions.vocabulary import Items

ITEMS = Items([f"i{number}" for number in range(2, 32)], np.arange(31, 1, -1))
RULES = {
    "association_rules": {},
    "sequential_rules": {},
    "markov": {},
    "item_knn": {},
    "item_knn without shrinkage": {"shrinkage": 0.0, "history": "mean", "alpha": 0.75},
}


def split(sessions, **columns):
    values = np.concatenate([*map(np.array, sessions)]).astype(np.int32)
    columns = {name: np.asarray(column) for name, column in columns.items()}
    return Sessions(SessionArrays(ITEMS, values, np.cumsum([0, *map(len, sessions)]), columns), "train")


def sessions_of(seed=0, count=60):
    rng = np.random.default_rng(seed)
    return [list(rng.integers(2, 32, rng.integers(2, 7))) for _ in range(count)]


def scores(name, train, **settings):
    """Fits a model and returns its scores of all items after some histories."""
    model = MODELS[name.partition(" ")[0]](ITEMS, **settings)
    model.fit(train)
    encoded = np.asarray(model.encode(model.batch_of_histories(np.arange(2, 32, dtype=np.int32).reshape(10, 3))))
    return np.asarray(model.score_all(encoded[:, -1]))[:, 2:]


@pytest.mark.parametrize("name", [*RULES, "popularity"])
def test_sessions_of_weight_0_and_2(name):
    """Weight 0 leaves a session out, weight 2 is the session twice."""
    log, settings = sessions_of(), RULES.get(name, {})
    times = np.random.default_rng(1).choice([0.0, 1.0, 2.0], len(log))
    weight = np.repeat(times, [len(session) for session in log])
    repeated = [session for session, count in zip(log, times, strict=True) for _ in range(int(count))]
    if name in ("association_rules", "item_knn", "item_knn without shrinkage"):
        # every event counts: those that are twice in a session pair with each other too
        repeated = [
            [item for item in session for _ in range(int(count))] for session, count in zip(log, times, strict=True)
        ]
    found = scores(name, split(log, w=weight).weighted(weight="w"), **settings)
    assert found == pytest.approx(scores(name, split([s for s in repeated if s]), **settings), rel=1e-6, abs=1e-9)
    assert found != pytest.approx(scores(name, split(log), **settings), rel=1e-3)


@pytest.mark.parametrize("name", [*RULES, "popularity"])
def test_the_age_of_a_session_counts_once(name):
    """Two sessions, one log 2 decays older: its weight is a half, so the newer one is there twice, up to a factor."""
    log, settings = sessions_of(), RULES.get(name, {})
    settings = settings | ({"shrinkage": 0.0} if name.startswith("item_knn") else {})
    lengths = [len(session) for session in log]
    old = np.arange(len(log)) % 2 == 0
    times = np.repeat(np.where(old, 0, 86_400_000_000), lengths)
    found = scores(name, split(log, times=times).weighted(session_decay=1 / np.log(2)), **settings)
    repeated = [session for session, is_old in zip(log, old, strict=True) for _ in range(1 if is_old else 2)]
    expected = scores(name, split(repeated), **settings)
    if name == "popularity":
        found, expected = np.expm1(found), np.expm1(expected)
    factor = 1.0 if name.startswith("item_knn") else 2.0
    assert factor * found == pytest.approx(expected, rel=1e-5, abs=1e-8)


def test_a_succession_counts_as_its_later_event():
    train = split([[2, 3, 4], [3, 4]], event=["view", "buy", "view", "view", "buy"])
    found = successions(train.weighted({"buy": 3, "view": 0.5}), ITEMS.size, np.array([1.0, 0.1])).toarray()
    assert found[2, 3] == 3 and found[2, 4] == pytest.approx(0.05) and found[3, 4] == pytest.approx(3.5)
    only = successions(train.weighted(target_events=["buy"]), ITEMS.size, np.array([1.0, 0.1]))
    assert only.toarray()[2, 3] == 1 and only.toarray()[3, 4] == 1 and only.nnz == 2


@pytest.mark.parametrize("name", [*RULES, "popularity"])
def test_only_target_events_are_recommended(name):
    log = sessions_of()
    values = np.concatenate(log)
    event = np.where(values % 2 == 0, "buy", "view")
    found = scores(name, split(log, event=event).weighted(target_events=["buy"]), **RULES.get(name, {}))
    assert (found[:, 0::2] > 0).any() and (found[:, 1::2] == 0).all()


def test_als_has_confidence_by_weight():
    log = sessions_of()
    weight = np.random.default_rng(1).choice([0.0, 1.0, 2.0], sum(map(len, log)))
    cut = np.cumsum([len(session) for session in log])[:-1]
    repeated = [list(np.repeat(s, w.astype(int))) for s, w in zip(log, np.split(weight, cut), strict=True)]
    settings = {"factors": 4, "alpha": 1.0, "sweeps": 4}
    found = scores("als", split(log, w=weight).weighted(weight="w"), **settings)
    assert found == pytest.approx(scores("als", split(repeated), **settings), rel=1e-4, abs=1e-6)
    with pytest.raises(InputError, match="alpha=None: must be a number beside weights of events"):
        scores("als", split(log, w=weight).weighted(weight="w"), factors=4)
    dropped = scores("als", split(log, w=np.minimum(weight, 1)).weighted(weight="w"), factors=4)
    left = [
        [item for item, w in zip(s, ws, strict=True) if w] for s, ws in zip(log, np.split(weight, cut), strict=True)
    ]
    assert dropped == pytest.approx(scores("als", split(left), factors=4), rel=1e-4, abs=1e-6)
    with pytest.raises(InputError, match="explicit=True counts every rating once"):
        scores("als", split(log, w=weight).weighted(weight="w"), explicit=True, value="w")


def test_a_pair_of_a_factorization_counts_as_its_heaviest_event():
    train = split([[2, 3, 2], [4, 2]], event=["view", "view", "buy", "view", "view"]).weighted({"buy": 5})
    model = trs.models.MatrixFactorization(ITEMS, dim=4)
    model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.BPR())
    (batch,) = model.triples_of(train, rows=4).as_numpy_iterator()
    columns = (batch[name].tolist() for name in ("user", "item", "weight"))
    pairs = {(user, item): weight for user, item, weight in zip(*columns, strict=True)}
    assert pairs == {(0, 2): 5.0, (0, 3): 1.0, (1, 2): 1.0, (1, 4): 1.0}
    with pytest.raises(InputError, match="sample_weight: must be None beside"):
        model.fit(train, sample_weight=np.ones(len(Interactions.of(train).values)), verbose=0)


@pytest.mark.parametrize("name", ["sknn", "vsknn", "slist", "session_popularity", "random"])
def test_models_that_count_every_event_once_say_so(name):
    model = MODELS[name](ITEMS)
    with pytest.raises(InputError, match="counts every event once; networks, factorizations"):
        model.fit(split([[2, 3]], event=["view", "buy"]).weighted({"buy": 2}))


SEQUENCES = {
    "gru4rec": {"units": [8]},
    "narm": {"units": 8, "dim": 8},
    "sasrec": {"dim": 8, "heads": 1, "layers": 1},
    "hrnn": {"units": [8], "user_units": [8], "lanes": 4},
}


@pytest.fixture(scope="module")
def shop():
    return trs.synthetic_sessions(items=60, sessions=400, seed=1, cart=0.2, purchase=0.2, event="event")


@pytest.mark.filterwarnings("ignore:.*begin before an earlier one")
@pytest.mark.parametrize("name", SEQUENCES)
def test_networks_train_on_weighted_splits(name, shop):
    """The mean of the losses is weighted; equal weights change nothing in it."""

    def loss(train, weighted=True):
        keras.utils.set_random_seed(0)
        chosen = {"learning_rate": 1e-9, "negatives": 16, "rows": 4, "steps": 8, "dropout": 0.0}
        settings = trs.training.settings_of(name, {**chosen, **SEQUENCES[name]})
        model = trs.training.build(name, shop.items, settings)
        batches = model.training_batches(train, settings, 0).take(2)
        assert all(("weight" in batch) == weighted for batch, _ in batches.as_numpy_iterator())
        return model.fit(batches, verbose=0).history["loss"][0]

    plain = loss(shop.train, weighted=False)
    assert loss(shop.train.weighted({"view": 2, "cart": 2, "purchase": 2})) == pytest.approx(plain, rel=1e-5)
    only = loss(shop.train.weighted(target_events=["purchase"], session_decay=1))
    assert np.isfinite(only) and only != pytest.approx(plain, rel=1e-5)
