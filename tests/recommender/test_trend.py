"""`trend=[...]`: sequence models whose scores know each item's recent events."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tests.logs import DAY, packed, scores_after, sessions_of
from tests.numpy_reference import sigmoid
from tests.training.dying import Killed
from tests.training.test_finetuning import Dies
from tests.training.test_resume import assert_same
from tfrecsession import InputError, evaluation, training
from tfrecsession.models import CORE, HRNN, GRU4Rec, SASRec
from tfrecsession.negatives import InBatch, Mixture, Popularity

HALF_LIVES, EVERY = (0.5, 3.0), 0.75
LOG = [[2, 3, 2, 2], [4, 5, 6, 7, 8], [4, 4], [3, 8, 5]]
TIMES = [0.1, 0.2, 0.3, 0.4, 1.0, 1.5, 2.0, 2.5, 3.0, 2.2, 2.3, 3.5, 3.6, 3.7]
BATCH = packed([LOG[0], LOG[2]], [LOG[1]], [LOG[3]])
TARGETS = np.array([[3, 2, 2, 0, 4, 0], [5, 6, 7, 8, 0, 0], [8, 5, 0, 0, 0, 0]], np.int32)
STARTS = np.array([[0.1] * 4 + [2.2] * 2, [1.0] * 6, [3.5] * 6])


def log_of(log=LOG, times=TIMES):
    return sessions_of(log, times=times)


def model_of(sessions, kind=GRU4Rec, negatives="popularity", logq=1.0, **settings):
    keras.utils.set_random_seed(0)
    sizes = {"units": [6]} if kind is not SASRec and kind is not CORE else {"dim": 6}
    model = kind(
        sessions.items, negatives=negatives, trend=HALF_LIVES, trend_every=EVERY, dropout=0.0, **sizes, **settings
    )
    model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=logq))
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.path.rpartition("/")[2] == "biases":
            weight.assign(rng.normal(size=weight.shape))
    model.trend_head.kernel.assign([0.7, -0.4, -1.5])
    model.count_trend(sessions)
    return model


def term_of(sessions, before):
    """Returns the term of every id for counts of the events before a time in days, float [size]."""
    days, found = sessions.column("times") / DAY, np.zeros((sessions.items.size, 2))
    for item, time in zip(sessions.values, days, strict=True):
        if item > 1 and time < before:
            found[item] += [2.0 ** -((before - time) / half) for half in HALF_LIVES]
    return np.log1p(found) @ [0.7, -0.4] - 1.5 * (found == 0).all(axis=1)


def end_of(sessions):
    """Returns the start of the last session, in days; the events after it are not counted."""
    return (sessions.column("times")[sessions.offsets[:-1]].max() + 1) / DAY


def seen_by(sessions, start):
    """Returns the time of the last update before the start of a session, in days."""
    now = end_of(sessions)
    return now + np.floor((start - now) / EVERY) * EVERY


def with_updates(model):
    updates = model.trend_head.updates.last_before((STARTS * DAY).astype(np.int64).ravel())
    return {**BATCH, "update": np.where(TARGETS > 0, updates.reshape(STARTS.shape), 0)}


def terms(sessions):
    """Returns the term of every id at each step of the batch, float [rows, steps, size]."""
    return np.array([[term_of(sessions, seen_by(sessions, start)) for start in row] for row in STARTS])


@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("logq", [0.0, 1.0])
@pytest.mark.parametrize("kind", ["sampled", "pooled", "full"])
def test_the_loss(kind, logq, repeats):
    """It compares scores with each event's own counts; negatives are shared."""
    sessions, sampled = log_of(), Popularity(4, alpha=0.5)
    drawn = np.array([4, 2, 2, 7], np.int32)
    negatives = {"sampled": sampled, "pooled": Mixture([InBatch(), sampled], "pooled"), "full": None}[kind]
    model = model_of(sessions, negatives=negatives, logq=logq, repeats=repeats)
    sampled.draw = lambda targets=None: tf.constant(drawn)
    sampled.build_from(np.r_[0, 0, sessions.items.counts])
    batch = with_updates(model)
    encoded = model.encode(batch)
    loss = model.training_loss(encoded, TARGETS)[0]

    flat, known = TARGETS.ravel(), np.flatnonzero(TARGETS.ravel() > 1)
    joined, _ = model.split_update(tf.reshape(encoded, (-1, encoded.shape[-1])))
    hidden = np.asarray(joined, float)[:, :6]
    table, bias = model.output_items.table.numpy(), model.output_items.biases.numpy()
    scores = hidden @ table.T.astype(float) + bias + terms(sessions).reshape(len(flat), -1)
    q = sampled.log_probability(np.arange(9)).numpy()
    counts = np.r_[0, 0, sessions.items.counts].astype(float)
    expected = 4 * np.exp(q) + (len(known) * counts / counts.sum() if kind == "pooled" else 0)
    each = []
    for cell in known:
        columns = {"sampled": list(drawn), "pooled": [*flat[known], *drawn], "full": range(2, 9)}[kind]
        correct = np.zeros(9) if kind == "full" else logq * np.log(expected)
        target = scores[cell, flat[cell]]
        others = [scores[cell, item] - correct[item] for item in columns if item != flat[cell]]
        if not repeats and kind != "full":
            share = expected / expected.sum() * (1 if kind == "sampled" else len(known) + 4)
            correct = logq * np.log(share if kind == "pooled" else np.exp(q))
            others = [scores[cell, item] - correct[item] for item in columns if item != flat[cell]]
            target -= correct[flat[cell]]
        each.append(np.logaddexp.reduce([target, *others]) - target)
        if repeats:
            gate, ages = float(joined[cell, 6]), (joined.shape[1] - 7) // 2
            weights, items = joined[cell, 7 : 7 + ages].numpy(), joined[cell, 7 + ages :].numpy()
            again = np.exp(weights[items == flat[cell]]).sum()
            each[-1] = -np.log((1 - sigmoid(gate)) * np.exp(-each[-1]) + sigmoid(gate) * again)
    np.testing.assert_allclose(loss, np.mean(each), rtol=2e-4)


@pytest.mark.parametrize("kind", [GRU4Rec, SASRec, CORE, HRNN])
def test_scores_with_and_without_updates(kind):
    """Without updates, all events see the end of the log; a model without biases has the term too."""
    sessions = log_of()
    model = model_of(sessions, kind)
    visits = {"visit": np.zeros_like(BATCH["items"])} if kind is HRNN else {}
    plain = np.asarray(model.encode(BATCH | visits))
    encoded = np.asarray(model.encode(with_updates(model) | visits))
    np.testing.assert_allclose(encoded[..., :-1], plain, rtol=1e-5, atol=1e-6)
    states = tf.constant(plain.reshape(-1, plain.shape[-1]))
    bare = np.asarray(model.output_items.score_all(states)).reshape(*TARGETS.shape, -1)
    now = term_of(sessions, end_of(sessions))
    for score in (model.score_all, model.scorer()):
        found = np.asarray(score(states)).reshape(bare.shape)
        np.testing.assert_allclose(found[..., 2:], (bare + now)[..., 2:], rtol=1e-4, atol=1e-5)
        found = np.asarray(score(tf.constant(encoded.reshape(-1, encoded.shape[-1])))).reshape(bare.shape)
        expected = np.where((TARGETS > 0)[..., None], bare + terms(sessions), bare + now)
        np.testing.assert_allclose(found[..., 2:], expected[..., 2:], rtol=1e-4, atol=1e-5)
    products = np.asarray(model.queries(states)) @ np.asarray(model.score_vectors(tf.range(9))).T
    np.testing.assert_allclose(products.reshape(bare.shape)[..., 2:], (bare + now)[..., 2:], rtol=1e-4, atol=1e-5)
    assert model.scores_by_products


def test_the_gradient_equals_finite_differences():
    model = model_of(log_of(), negatives=None)
    batch = with_updates(model)

    def loss():
        return model.training_loss(model.encode(batch), TARGETS)[0]

    kernel = model.trend_head.kernel.value
    with tf.GradientTape() as tape:
        value = loss()
    gradient, before = tape.gradient(value, kernel).numpy(), kernel.numpy()
    for index in range(3):
        ends = []
        for step in (0.01, -0.01):
            kernel.assign(before + step * np.eye(3)[index])
            ends.append(float(loss()))
        kernel.assign(before)
        assert gradient[index] == pytest.approx((ends[0] - ends[1]) / 0.02, rel=1e-2, abs=1e-4)


@pytest.mark.parametrize("session", range(len(LOG)))
def test_in_training_no_event_from_the_update_on_changes_a_score(session):
    """Neither the target and the rest of the session, nor any later event of other sessions."""
    sessions = log_of()
    first = sessions.offsets[session]
    is_seen = np.asarray(TIMES) < seen_by(sessions, TIMES[first])
    values = np.where(is_seen, sessions.values, (sessions.values - 1) % 7 + 2)
    changed = log_of(np.split(values, sessions.offsets[1:-1]))
    assert not is_seen[first : sessions.offsets[session + 1]].any()
    found = []
    for log in (sessions, changed):
        model = model_of(sessions)
        model.count_trend(log)
        update = model.training_context.encode(log.column, ("times",), log.offsets)["update"][first]
        found.append(model.trend_head.term_at(tf.range(9), int(update)).numpy())
    np.testing.assert_array_equal(*found)


def later_log():
    """A test split after the training log: sessions that overlap, one of an unknown item, one that starts before."""
    log = [[4, 5, 6], [7, 7, 7, 3], [1, 2, 3], [5, 4], [8, 3, 6]]
    times = [3.65, 3.8, 3.9, 4.5, 4.6, 5.2, 5.3, 4.7, 4.8, 4.9, 5.3, 5.4, 6.0, 6.1, 6.2]
    sessions = log_of(log, times)
    sessions.role = "test"
    return sessions


def test_evaluation_with_counts_that_go_on():
    sessions, test = log_of(), later_log()
    model = model_of(sessions)
    now = end_of(sessions)
    keys = model.trend_head._keys.numpy()
    frozen, live = (
        evaluation.evaluate(model, test, (3,), slices=False, live=live, earlier=[sessions]) for live in (False, True)
    )
    np.testing.assert_array_equal(model.trend_head._keys.numpy(), keys)  # as before
    joined = log_of([*LOG, *np.split(test.values, test.offsets[1:-1])], [*TIMES, *(test.column("times") / DAY)])
    for found, is_live in ((frozen, False), (live, True)):
        for event, rank in zip(found.event, found.ranks, strict=True):
            session = np.searchsorted(test.offsets, event, side="right") - 1
            history = test.values[test.offsets[session] : event]
            start = test.column("times")[test.offsets[session]] / DAY
            bare = np.asarray(model.output_items.score_all(model.encode(packed([list(history)]))[:, -1]))[0]
            before = now + np.floor(max(start - now, 0) / EVERY) * EVERY if is_live else now
            counted = joined if is_live else sessions
            scores = (bare + term_of(counted, before))[2:]
            assert rank == (scores >= scores[test.values[event] - 2] - 1e-5).sum()
    assert (frozen.ranks != live.ranks).any()


def test_live_counts_of_models_that_read_earlier_sessions():
    sessions, test = log_of(), later_log()
    for split in (sessions, test):
        split.arrays._columns["user"] = np.array([f"u{session % 2}" for session in range(len(split))], object)
    model = model_of(sessions, HRNN)
    found = evaluation.evaluate(model, test, (3,), slices=False, live=True, earlier=[sessions])
    assert len(found.ranks) == found.events


def test_in_evaluation_no_event_from_the_update_on_changes_a_rank():
    test = later_log()
    model = model_of(log_of())
    before = evaluation.evaluate(model, test, (3,), slices=False, live=True)
    values = test.values.copy()
    values[-3:] = [2, 2, 2]  # the last session
    changed = log_of(np.split(values, test.offsets[1:-1]), test.column("times") / DAY)
    after = evaluation.evaluate(model, changed, (3,), slices=False, live=True)
    np.testing.assert_array_equal(before.ranks[:-2], after.ranks[:-2])


@pytest.fixture(scope="module")
def fitted(shop):
    settings = training.settings_of("gru4rec", SMALL)
    keras.utils.set_random_seed(0)
    model = training.build("gru4rec", shop.items, settings)
    history = training.fit(model, shop, settings)
    return model, history


SMALL = {"units": [8], "rows": 16, "steps": 8, "epochs": 1, "negatives": 64, "trend": [0.25, 2], "trend_every": 0.5}


def test_fitting_learns_weights_and_validates_with_the_counts_of_train(fitted, shop):
    model, history = fitted
    assert np.abs(model.trend_head.kernel.numpy()).min() > 0
    starts = shop.train.column("times")[shop.train.offsets[:-1]]
    assert model.trend_head.now.numpy() == starts.max() + 1
    found = evaluation.evaluate(model, shop.validation, slices=False)
    assert found.metrics["recall@20"] == pytest.approx(history["val_recall@20"][-1], abs=1e-6)
    model.count_trend(shop.train.only(np.arange(len(shop.train)) > 500))  # fine-tuning: counts of the whole split
    assert model.trend_head.counts.numpy()[2:].sum() > 0 and model._counted is shop.train.arrays


def test_saved_and_loaded_it_answers_alike(fitted, shop, tmp_path):
    model, _ = fitted
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(scores_after(loaded, [3, 5]), scores_after(model, [3, 5]))
    live = [evaluation.evaluate(each, shop.test, slices=False, live=True).ranks for each in (model, loaded)]
    np.testing.assert_array_equal(*live)
    added = loaded.update_trend(shop.validation)
    assert added == (shop.validation.column("times") >= model.trend_head.now.numpy()).sum()
    assert loaded.update_trend(shop.validation) == 0
    assert np.abs(scores_after(loaded, [3, 5])[2:] - scores_after(model, [3, 5])[2:]).max() > 1e-3


def test_events_one_by_one_and_filters(fitted, shop):
    model, _ = fitted
    ids = shop.items.ids
    best = model.recommend([[ids[1], ids[4]]], k=5)
    state = model.initial_state(1)
    for item in (ids[1], ids[4]):
        found, state = model.advance([item], state, k=5)
    np.testing.assert_allclose(found.scores, best.scores, rtol=1e-5, atol=1e-5)
    only = model.recommend([[ids[1], ids[4]]], k=2, only=[[ids[7], ids[9]]])
    expected = scores_after(model, [3, 6])[shop.items.encode(list(only.items[0]))]
    np.testing.assert_allclose(only.scores[0], expected, rtol=1e-5, atol=1e-5)


def test_batches_of_ones_own(shop):
    sessions = shop.train.only(np.arange(len(shop.train)) < 50)
    plain = sessions.batches(rows=4, steps=8).map(lambda batch, targets: (batch, targets))
    with pytest.raises(InputError, match="batch: must have 'update'"):
        training.build("gru4rec", shop.items, training.settings_of("gru4rec", SMALL)).fit(plain, verbose=0)
    fresh = training.build("gru4rec", shop.items, training.settings_of("gru4rec", SMALL))
    fresh.count_trend(shop.train)
    batches = sessions.batches(rows=4, steps=8, context=fresh.training_context)
    fresh.fit(batches.map(lambda batch, targets: (batch, targets)), verbose=0)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"trend": [0]}, r"trend=\[0\]: must be a list of half-lives in days above 0"),
        ({"trend": 1}, "trend=1: must be a list of half-lives"),
        ({"trend": ["a"]}, r"trend=\['a'\]: must be a list"),
        ({"trend_every": 0}, "trend_every=0: must be the number of days between two updates"),
    ],
)
def test_arguments_out_of_range(shop, given, message):
    with pytest.raises(InputError, match=message):
        training.build("gru4rec", shop.items, training.settings_of("gru4rec", SMALL, given))


def test_logs_without_times_and_models_without_trend():
    sessions, timeless = log_of(), sessions_of(LOG, timed=False)
    model = GRU4Rec(timeless.items, units=[4], trend=[1])
    model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy())
    with pytest.raises(InputError, match=r"trend=\[1\]: needs the times of the events"):
        model.fit(timeless, verbose=0)
    plain = GRU4Rec(sessions.items, units=[4])
    with pytest.raises(InputError, match="live=True: needs a model with a trend prior"):
        evaluation.evaluate(plain, later_log(), (3,), live=True)
    with pytest.raises(InputError, match="update_trend: needs a model with a trend prior"):
        plain.update_trend(sessions)
    with pytest.raises(InputError, match="live=True: must be False: Popularity has no counts"):
        evaluation.evaluate(trs.models.Popularity(sessions.items), later_log(), (3,), live=True)


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_an_interrupted_training_ends_as_an_uninterrupted_one(epoch, shop, tmp_path):
    """Among all sessions, and in the fine-tuning, which begins in a new process without the epochs before it."""
    settings = training.settings_of("gru4rec", SMALL, {"epochs": 2, "finetune_days": 1, "finetune_epochs": 1})
    whole = training.train(shop, "gru4rec", tmp_path / "whole", settings, seed=3, checkpoint=None)
    with pytest.raises(Killed):
        training.train(shop, "gru4rec", tmp_path / "run", settings, seed=3, checkpoint=2, callbacks=[Dies(epoch, 3)])
    resumed = training.train(shop, "gru4rec", tmp_path / "run", settings, seed=3, checkpoint=2)
    assert_same(whole, resumed)


@pytest.mark.slow
@pytest.mark.parametrize("repeats", [False, True])
def test_half_precision(repeats, shop):
    """The number of an update does not fit into bfloat16."""
    settings = training.settings_of("gru4rec", SMALL, {"precision": "mixed_bfloat16", "repeats": repeats})
    model = training.build("gru4rec", shop.items, settings | {"trend_every": 0.01})
    history = training.fit(model, shop, settings | {"trend_every": 0.01})
    batch, _ = next(iter(model.training_batches(shop.train, settings, seed=0)))
    updates = model.split_update(tf.reshape(encoded := model.encode(batch), (-1, encoded.shape[-1])))[1]
    np.testing.assert_array_equal(updates, tf.reshape(batch["update"], [-1]))
    assert tf.reduce_min(updates) < -512 and np.isfinite(history["loss"]).all()


def stale_log(days=6, sessions=150, seed=0):
    """A log whose sessions click at random on the items of two days; each day brings 20 items, some more popular."""
    rng, log, times = np.random.default_rng(seed), [], []
    shares = np.tile(1 / np.arange(1, 21), 2)
    for day in range(1, days):
        for start in np.sort(rng.uniform(0, 0.9, sessions)):
            items = 2 + 20 * (day - 1) + rng.choice(40, 4, p=shares / shares.sum())
            log.append(items.tolist())
            times += list(day + start + 0.001 * np.arange(4))
    return log, times


@pytest.mark.slow
def test_fresh_items_are_learned_to_be_likely():
    """A network with a trend predicts the items of the last days where items change day by day; without, it cannot."""
    log, times = stale_log()
    split = 4 * 600
    train = sessions_of(log[:600], items=120, times=times[:split])
    test = sessions_of(log[600:], items=120, times=times[split:])
    test.role = "test"
    found = {}
    for trend in ((), (0.5,)):
        keras.utils.set_random_seed(0)
        model = GRU4Rec(train.items, units=[8], dropout=0.0, trend=trend, negatives=Popularity(64, alpha=0.5))
        model.compile(trs.optimizers.LazyAdagrad(0.05), trs.losses.CrossEntropy(logq=1.0))
        model.fit(train.batches(rows=16, steps=9), epochs=2, verbose=0)
        found[trend] = evaluation.evaluate(model, test, (10,), slices=False, draws=0).metrics["recall@10"]
        if trend:
            live = evaluation.evaluate(model, test, (10,), slices=False, draws=0, live=True).metrics["recall@10"]
    assert found[(0.5,)] > 1.2 * found[()], found
    assert live >= found[(0.5,)] - 0.02
