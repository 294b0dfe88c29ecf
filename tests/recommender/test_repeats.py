"""`repeats=True`: sequence models that mix something new with something of this session again."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tests.logs import packed, sessions_of
from tests.numpy_reference import sigmoid
from tfrecsession import InputError, evaluation, training
from tfrecsession.models import GRU4Rec
from tfrecsession.negatives import InBatch, Mixture, Popularity

SMALL = {"units": [16], "rows": 16, "steps": 8, "epochs": 2, "negatives": 64, "dropout": 0.0, "repeats": True}


def small_model(items, negatives="popularity", **settings):
    keras.utils.set_random_seed(0)
    loss = trs.losses.CrossEntropy(logq=settings.pop("logq", 1.0))
    model = GRU4Rec(items, negatives=negatives, **{"units": [6], "dropout": 0.0, "repeats": True} | settings)
    model.compile(trs.optimizers.LazyAdagrad(0.1), loss)
    rng = np.random.default_rng(0)
    for weight in (*model.repeat_head.weights, model.output_items.biases):
        weight.assign(rng.normal(size=weight.shape) * 0.5)
    return model


@pytest.fixture(scope="module")
def fitted(shop):
    keras.utils.set_random_seed(0)
    settings = training.settings_of("gru4rec", SMALL)
    model = training.build("gru4rec", shop.items, settings)
    training.fit(model, shop, settings)
    return model


def parts_of(model, encoded, targets):
    """Returns scores [n, size], logit of the gate [n], and log share of the session's events on the target [n]."""
    flat = np.reshape(encoded, (-1, encoded.shape[-1])).astype(float)
    ages = (flat.shape[1] - 7) // 2
    hidden, gate, weights, items = np.split(flat, [6, 7, 7 + ages], axis=1)
    table, bias = model.output_items.table.numpy(), model.output_items.biases.numpy()
    with np.errstate(divide="ignore"):
        copied = np.log((np.exp(weights) * (items == targets[:, None])).sum(axis=1))
    return hidden @ table.T.astype(float) + bias, gate[:, 0], copied


@pytest.mark.parametrize("logq", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("kind", ["sampled", "pooled", "full"])
def test_the_sampled_loss(logq, kind):
    """Its negatives stand for the whole catalogue, the target for itself; events count by their weights."""
    sessions = sessions_of([[2, 3, 2, 2], [4, 5, 6, 7, 8], [4, 4]])
    sampled = Popularity(4, alpha=0.5)
    drawn = np.array([4, 2, 2, 7], np.int32)
    negatives = {"sampled": sampled, "pooled": Mixture([InBatch(), sampled], "pooled"), "full": None}[kind]
    model = small_model(sessions.items, negatives, logq=logq)
    sampled.draw = lambda targets=None: tf.constant(drawn)
    sampled.build_from(np.r_[0, 0, sessions.items.counts])
    batch = packed([[2, 3, 2, 2], [4, 4]], [[4, 5, 6, 7, 8]])
    targets = np.array([[3, 2, 2, 0, 4, 1], [5, 6, 7, 8, 0, 0]], np.int32)
    weight = np.random.default_rng(1).uniform(size=targets.shape).astype(np.float32)
    encoded = model.encode(batch)
    loss, events = model.training_loss(encoded, targets, weight)

    flat, weight = targets.ravel(), weight.ravel()
    scores, gate, copied = parts_of(model, encoded.numpy(), flat)
    known = np.flatnonzero(flat > 1)
    expected = 4 * np.exp(sampled.log_probability(np.arange(9)).numpy())
    if kind == "pooled":
        counts = np.r_[0, 0, sessions.items.counts].astype(float)
        expected = expected + len(known) * counts / counts.sum()
    each = []
    for cell in known:
        columns = {
            "sampled": list(drawn),
            "pooled": [*flat[known], *drawn],
            "full": range(2, 9),
        }[kind]
        correct = logq if kind != "full" else 0
        others = [scores[cell, item] - correct * np.log(expected[item]) for item in columns if item != flat[cell]]
        log_new = scores[cell, flat[cell]] - np.logaddexp.reduce([scores[cell, flat[cell]], *others])
        share = sigmoid(gate[cell])
        each.append(-np.logaddexp(np.log(1 - share) + log_new, np.log(share) + copied[cell]))
    np.testing.assert_allclose(events, weight[known].sum(), rtol=1e-5)
    np.testing.assert_allclose(loss, np.average(each, weights=weight[known]), rtol=1e-4)


def test_with_all_items_the_loss_is_that_of_the_scores():
    """Trained and evaluated by the same probabilities."""
    sessions = sessions_of([[2, 3, 2, 2], [4, 5, 6, 7, 8], [4, 4]])
    model = small_model(sessions.items, None)
    batch = packed([[2, 3, 2, 2], [4, 4]])
    targets = np.array([[3, 2, 2, 0, 4, 0]], np.int32)
    encoded = model.encode(batch)
    scores = model.score_all(encoded[0]).numpy()
    expected = -scores[[0, 1, 2, 4], [3, 2, 2, 4]].mean()
    np.testing.assert_allclose(model.training_loss(encoded, targets)[0], expected, rtol=1e-5)
    np.testing.assert_allclose(np.exp(scores[:, 2:]).sum(axis=1), 1, rtol=1e-5)


def test_the_gradient_of_the_sampled_loss_equals_finite_differences():
    sessions = sessions_of([[2, 3, 2, 2], [4, 5, 6, 7, 8], [4, 4]])
    model = small_model(sessions.items, sampled := Popularity(4, alpha=0.5))
    sampled.draw = lambda targets=None: tf.constant([4, 2, 2, 7])
    batch = packed([[2, 3, 2, 2], [4, 4]], [[4, 5, 6, 7, 8]])
    targets = np.array([[3, 2, 2, 0, 4, 1], [5, 6, 7, 8, 0, 0]], np.int32)
    values, rng = [weight.value for weight in model.trainable_variables], np.random.default_rng(2)
    with tf.GradientTape() as tape:
        loss = model.training_loss(model.encode(batch), targets)[0]
    for value, gradient in zip(values, tape.gradient(loss, values), strict=True):
        before, direction = value.numpy(), rng.normal(size=value.shape).astype(np.float32)
        ends = []
        for sign in (1, -1):
            value.assign(before + sign * 0.01 * direction)
            ends.append(float(model.training_loss(model.encode(batch), targets)[0]))
        value.assign(before)
        slope = float(np.sum(tf.convert_to_tensor(gradient).numpy() * direction))
        assert slope == pytest.approx((ends[0] - ends[1]) / 0.02, rel=2e-2, abs=1e-3)


def test_sessions_of_a_row_never_mix(fitted):
    first, second = [3, 5, 3, 8], [9, 3, 7]
    together = fitted.score_all(fitted.encode(packed([first, second]))[0])
    alone = [fitted.score_all(fitted.encode(packed([session]))[0]) for session in (first, second)]
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-5, atol=1e-5)


def test_filters_and_recommendations_rank_by_the_scores(fitted, shop):
    ids = shop.items.ids
    history = [3, 5, 3, 8]
    scores = np.asarray(fitted.score_all(fitted.encode(packed([history]))[:, -1]))[0]
    histories = [[*(ids[item - 2] for item in history), "no-such-item"]]
    best = fitted.recommend(histories, k=len(ids))
    found = shop.items.encode(list(best.items[0]))
    np.testing.assert_allclose(best.scores[0], scores[found], rtol=1e-5, atol=1e-5)
    assert (np.diff(best.scores[0]) <= 0).all()
    seen, only = {ids[item - 2] for item in history}, [ids[1], ids[6], ids[50]]
    assert not seen & set(fitted.recommend(histories, k=20, exclude_seen=True).items[0])
    chosen = fitted.recommend(histories, k=3, only=[only])
    assert set(chosen.items[0]) == set(only) == set(fitted.recommend(histories, k=3, candidates=only).items[0])
    np.testing.assert_allclose(chosen.scores[0], scores[shop.items.encode(list(chosen.items[0]))], rtol=1e-5)
    assert ids[1] not in fitted.recommend(histories, k=3, only=[only], exclude=[[ids[1]]]).items[0]


def test_saved_loaded_and_exported_it_answers_alike(fitted, shop, tmp_path):
    histories = [list(shop.items.ids[[3, 8, 3]]), list(shop.items.ids[[5]])]
    expected = fitted.recommend(histories, k=9)
    fitted.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.recommend(histories, k=9).scores, expected.scores)
    path = fitted.export(tmp_path / "1", k=9)
    signatures = tf.saved_model.load(str(path)).signatures
    assert {"similar_items", "advance"} <= set(signatures) and "encode" not in signatures
    padded = [["", *histories[0]], [*histories[1], "", "", "unknown"]]
    answer = signatures["serving_default"](items=tf.constant(padded))
    assert [[item.decode() for item in row] for row in answer["items"].numpy()] == expected.items.tolist()
    np.testing.assert_allclose(answer["scores"], expected.scores, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"loss": "bpr_max"}, r"repeats=True: must be False with BPRMax\(\)"),
        ({"label_smoothing": 0.1}, r"repeats=True: must be False with CrossEntropy\(smoothing=0.1\)"),
        ({"repeats": "yes"}, "repeats='yes': must be one of False, True"),
        ({"repeat_window": 0}, "repeat_window=0: must be a whole number, at least 1"),
    ],
)
def test_what_it_cannot_learn_is_named(shop, given, message):
    with pytest.raises(InputError, match=message):
        training.build("gru4rec", shop.items, training.settings_of("gru4rec", SMALL, given))


def repeating(share, sessions=1500, items=300, length=8, seed=0):
    """A log whose next item is, with probability `share`, one of the session's last two events, else any item."""
    rng, log = np.random.default_rng(seed), []
    for _ in range(sessions):
        session = [int(rng.integers(2, items + 2))]
        while len(session) < length:
            again = rng.random() < share
            session.append(int(rng.choice(session[-2:])) if again else int(rng.integers(2, items + 2)))
        log.append(session)
    return sessions_of(log, items)


def trained(sessions, repeats, epochs=4):
    keras.utils.set_random_seed(0)
    model = GRU4Rec(sessions.items, units=[16], dropout=0.0, repeats=repeats, repeat_window=8)
    model.compile(trs.optimizers.LazyAdagrad(0.05), trs.losses.CrossEntropy(logq=1.0))
    model.fit(sessions.batches(rows=32, steps=16, seed=0), epochs=epochs, verbose=0)
    return model


@pytest.mark.slow
@pytest.mark.long
def test_the_gate_and_the_ages_of_a_known_law_are_recovered():
    share = 0.4
    model = trained(repeating(share), True)
    batch, _ = next(iter(repeating(share, seed=1).batches(rows=32, steps=16, seed=0)))
    _, gate, weights, items = (part.numpy() for part in model.repeat_head.split(model.encode(batch)))
    settled = batch["position"].numpy() > 1
    assert sigmoid(gate[settled]).mean() == pytest.approx(share, abs=0.05)
    by_age = np.exp(weights)[settled].mean(axis=0)
    assert by_age[:2].sum() > 0.85 and abs(by_age[0] - by_age[1]) < 0.15


@pytest.mark.slow
@pytest.mark.long
def test_without_repeats_it_costs_nothing():
    """A log of a fixed cycle, which never returns within a session."""
    rng = np.random.default_rng(0)
    log = [[2 + (start + step) % 50 for step in range(8)] for start in rng.integers(0, 50, 800)]
    sessions = sessions_of(log, 50)
    found = [evaluation.evaluate(trained(sessions, repeats), sessions, slices=False) for repeats in (False, True)]
    plain, mixed = (result.metrics["mrr@20"] for result in found)
    assert mixed > plain - 0.005
