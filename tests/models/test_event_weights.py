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


def split(sessions, items=ITEMS, **columns):
    values = np.concatenate([*map(np.array, sessions)]).astype(np.int32)
    columns = {name: np.asarray(column) for name, column in columns.items()}
    return Sessions(SessionArrays(items, values, np.cumsum([0, *map(len, sessions)]), columns), "train")


def counted(sessions):
    """Returns the catalogue with the counts of these sessions."""
    return Items(ITEMS.ids, np.bincount(np.concatenate(sessions).astype(int), minlength=32)[2:])


def sessions_of(seed=0, count=60):
    rng = np.random.default_rng(seed)
    return [list(rng.integers(2, 32, rng.integers(2, 7))) for _ in range(count)]


def scores(name, train, **settings):
    """Fits a model and returns its scores of all items after some histories."""
    model = MODELS[name.partition(" ")[0]](train.items, **settings)
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
    assert found == pytest.approx(scores("als", split(repeated), **settings), rel=1e-6, abs=1e-9)
    with pytest.raises(InputError, match="alpha=None: must be a number beside weights of events"):
        scores("als", split(log, w=weight).weighted(weight="w"), factors=4)
    dropped = scores("als", split(log, w=np.minimum(weight, 1)).weighted(weight="w"), factors=4)
    left = [
        [item for item, w in zip(s, ws, strict=True) if w] for s, ws in zip(log, np.split(weight, cut), strict=True)
    ]
    assert dropped == pytest.approx(scores("als", split(left), factors=4), rel=1e-6, abs=1e-9)
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


NO_LIMIT = {"neighbours": 1000, "recent": 1000}  # sessions that are there twice take no place of others
SESSIONS = {
    "sknn": NO_LIMIT,
    "vsknn": {**NO_LIMIT, "idf": 5.0},
    "stan": NO_LIMIT,
    "vstan": {**NO_LIMIT, "idf": 5.0},
    "slist": {"neighbours": None},
    "slist part": {"neighbours": None, "direction": "part", "position_decay": 2.0},
    "slist all": {"neighbours": None, "direction": "all"},
    "session_popularity": {},
    "session_aggregation": {"dim": 8},
}


@pytest.mark.parametrize("name", SESSIONS)
def test_sessions_of_weight_0_and_2_in_models_of_sessions(name):
    """Weight 0 leaves a session out, weight 2 is the session twice."""
    log, settings = sessions_of(), SESSIONS[name]
    lengths = [len(session) for session in log]
    times = np.random.default_rng(1).choice([0, 1, 2], len(log))
    time = np.repeat(np.arange(len(log)) * 3_600_000_000, lengths)
    weighted = split(log, w=np.repeat(times.astype(float), lengths), times=time).weighted(weight="w")
    repeated = [(session, hour) for hour, session in enumerate(log) for _ in range(times[hour])]
    expected = split(
        [session for session, _ in repeated],
        counted([session for session, _ in repeated]),
        times=np.repeat([hour * 3_600_000_000 for _, hour in repeated], [len(session) for session, _ in repeated]),
    )
    found = scores(name, weighted, **settings)
    assert found == pytest.approx(scores(name, expected, **settings), rel=1e-6, abs=1e-9)
    assert found != pytest.approx(scores(name, split(log, times=time), **settings), rel=1e-3)
    ones = split(log, counted(log), w=np.ones(sum(lengths)), times=time)
    assert scores(name, ones.weighted(weight="w"), **settings) == pytest.approx(
        scores(name, ones, **settings), rel=1e-6, abs=1e-9
    )


@pytest.mark.parametrize("name", SESSIONS)
def test_an_event_of_weight_0_is_not_there(name):
    log, settings = sessions_of(), SESSIONS[name]
    weight = np.random.default_rng(2).choice([0.0, 1.0], sum(map(len, log)), p=[0.3, 0.7])
    cut = np.cumsum([len(session) for session in log])[:-1]
    time = np.arange(len(weight)) * 60_000_000
    left = [
        [item for item, w in zip(s, ws, strict=True) if w] for s, ws in zip(log, np.split(weight, cut), strict=True)
    ]
    found = scores(name, split(log, w=weight, times=time).weighted(weight="w"), **settings)
    left = [session for session in left if session]
    expected = split(left, counted(left), times=time[weight > 0])
    assert found == pytest.approx(scores(name, expected, **settings), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", SESSIONS)
def test_models_of_sessions_recommend_target_events_alone(name):
    log = sessions_of()
    values = np.concatenate(log)
    columns = {"event": np.where(values % 2 == 0, "buy", "view"), "times": np.arange(len(values)) * 60_000_000}
    found = scores(name, split(log, **columns).weighted(target_events=["buy"]), **SESSIONS[name])
    if name == "session_popularity":  # items of the session first
        found = np.where(found < 1, found, 0)
    assert (found[:, 0::2] > 0).any() and (np.abs(found[:, 1::2]) < 1e-7).all()


def test_a_long_session_counts_as_a_short_one(monkeypatch):
    """The sums of a long session, by recurrences, equal those of the cells, with weights too."""
    from tfrecsession.models.linear import session_regression

    rng = np.random.default_rng(3)
    log = [list(rng.integers(2, 32, 40)), list(rng.integers(2, 32, 7))]
    train = split(log, w=rng.choice([0.5, 1.0, 2.0], 47), event=rng.choice(["a", "b"], 47))
    train = train.weighted(weight="w", target_events=["a"])
    for direction in session_regression.DIRECTIONS:
        arguments = (train, np.array([0.5, 1.0]), ITEMS.size, 0.3, direction, 1.5)
        expected = session_regression.sums(*arguments)
        with monkeypatch.context() as patch:
            patch.setattr(session_regression, "CELLS", 200)
            found = session_regression.sums(*arguments)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one.toarray(), other.toarray(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("name", "settings"), [("vsknn", {"idf": 5.0}), ("session_popularity", {})])
def test_weighted_counts_are_saved_and_ranked(name, settings, tmp_path):
    """The compiled search of evaluation, the graph and a saved model score alike."""
    log = sessions_of()
    lengths = [len(session) for session in log]
    time = np.arange(sum(lengths)) * 60_000_000
    train = split(log, w=np.random.default_rng(4).choice([0.5, 1.0, 3.0], sum(lengths)), times=time)
    model = MODELS[name](ITEMS, **settings)
    model.fit(train.weighted(weight="w"))
    ids = np.arange(2, 32, dtype=np.int32).reshape(10, 3)
    targets = np.zeros((10, 3), np.int32)
    targets[:, 2] = np.arange(5, 15)
    batch = {key: np.asarray(value) for key, value in model.batch_of_histories(ids).items()}
    found, lists = model.target_ranks(batch, targets, 5)
    of_graph, best = model._ranks_and_lists({k: keras.ops.convert_to_tensor(v) for k, v in batch.items()}, targets, 5)
    np.testing.assert_array_equal(found, of_graph)
    np.testing.assert_array_equal(lists, best)
    plain = MODELS[name](ITEMS, **settings)
    plain.fit(train)
    assert (plain.target_ranks(batch, targets, 5)[1] != lists).any()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.target_ranks(batch, targets, 5)[1], lists)
    if name == "vsknn":
        np.testing.assert_array_equal(loaded.item_weights, model.item_weights)


def test_own_decays_of_models_stay_theirs():
    """`session_decay` of neighbours and SLIST is their argument, not a weight of events."""
    for name, default in (("stan", 5.0), ("vsknn", None), ("slist", None)):
        settings = trs.training.settings_of(name, {"event_weights": {"buy": 2}})
        assert settings["session_decay"] == default and settings["event_weights"] == {"buy": 2}


def test_a_model_that_counts_every_event_once_says_so():
    model = MODELS["random"](ITEMS)
    with pytest.raises(InputError, match="counts every event once; the other models honour weights"):
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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*begin before an earlier one")
@pytest.mark.parametrize(
    "name", ["gru4rec", "hrnn", *(pytest.param(name, marks=pytest.mark.slow) for name in ("narm", "sasrec"))]
)
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
