"""ALS compared with NumPy: its loss summed over all pairs, its closed form solved row by row."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.logs import scores_after
from tests.logs import sessions_of as split_of
from tfrecsession import InputError
from tfrecsession.batches import Interactions
from tfrecsession.metrics import NDCG, Recall
from tfrecsession.models import ALS
from tfrecsession.models.factorization import als_fold_in, als_sweeps
from tfrecsession.models.factorization.als_targets import observe

ITEMS = 7
logs = st.lists(st.lists(st.integers(2, 8), min_size=1, max_size=7), min_size=2, max_size=9)
kinds = st.sampled_from(["plain", "alpha", "ratings"])


def sessions_of(log, users=True, **columns):
    """Returns a train split of the sessions of `log`, each that of another user."""
    if users:
        columns["user"] = np.array([f"u{number}" for number in range(len(log))], object)
    return split_of(log, ITEMS, **columns)


def rated(log, **kwargs):
    """Returns sessions whose ratings are a function of user and item."""
    ratings = [(3 * item + 5 * number) % 7 + 1.0 for number, session in enumerate(log) for item in session]
    return sessions_of(log, rating=np.array(ratings), **kwargs)


KIND = {"plain": {}, "alpha": {"alpha": 2.0}, "ratings": {"explicit": True, "value": "rating"}}


def model_of(kind, log, **kwargs):
    sessions = rated([*log, [2, 3]])  # whose ratings are not all equal
    model = ALS(sessions.items, **{"factors": 3, "regularization": 0.1, "init_std": 1.0, **KIND[kind], **kwargs})
    return sessions, model


def seen_of(model, sessions):
    """Returns weight and target [users, size] of the squared error of every pair, by the class's formulas, and the
    penalties of users and items."""
    last = "last" if model.explicit else "sum"
    weights = Interactions.of(sessions, value=model.value, duplicates=last).csr().toarray().astype(float)
    seen = weights > 0
    a0 = model.unobserved_weight
    counts = seen.sum(axis=1), seen.sum(axis=0)
    if model.explicit:
        mean = weights[seen].mean()
        rest = np.where(seen, weights - mean, 0)
        rest = np.where(seen, rest - (rest.sum(axis=0) / (counts[1] + model.damping))[None], 0)
        rest = np.where(seen, rest - (rest.sum(axis=1) / (counts[0] + model.damping))[:, None], 0)
        return seen * 1.0, rest, *(model.regularization * np.maximum(n, 1) ** model.exponent for n in counts)
    users, size = seen.shape
    others = (size - 2, users)
    penalties = [model.regularization * (n + a0 * m) ** model.exponent for n, m in zip(counts, others, strict=True)]
    if model.alpha is None:  # (1 - s)^2 + a0 s^2 is (1 + a0) (s - 1 / (1 + a0))^2 and a constant
        return np.where(seen, 1 + a0, a0), seen / (1 + a0), *penalties
    return np.where(seen, a0 + model.alpha * weights, a0), seen * 1.0, *penalties


def loss_of(model, sessions, x, y):
    """Sums the loss pair by pair over all real items."""
    weight, target, user_penalty, item_penalty = seen_of(model, sessions)
    a0, total = model.unobserved_weight, 0.0
    for user in range(len(x)):
        for item in range(2, len(y)):
            score = x[user] @ y[item]
            if model.explicit or model.alpha is not None:
                total += weight[user, item] * (target[user, item] - score) ** 2
            else:
                total += (target[user, item] > 0) * (1 - score) ** 2 + a0 * score**2
    return total + user_penalty @ (x**2).sum(axis=1) + item_penalty @ (y**2).sum(axis=1)


def solved(weight, target, penalty, y):
    """Solves the weighted ridge regression of each row, the closed form."""
    rows = []
    for w, t, ridge in zip(weight, target, penalty, strict=True):
        matrix = sum(w[i] * np.outer(y[i], y[i]) for i in range(len(y))) + ridge * np.eye(y.shape[1])
        rows.append(np.linalg.solve(matrix, sum(w[i] * t[i] * y[i] for i in range(len(y)))))
    return np.array(rows)


def tables(model):
    return (t.numpy()[:, : model.factors].astype(float) for t in (model.user_vectors, model.item_table))


@settings(deadline=None, max_examples=15)
@given(
    log=logs,
    kind=kinds,
    block=st.sampled_from([None, 1, 2]),
    cg_steps=st.sampled_from([None, 1, 2]),
    exponent=st.sampled_from([0.0, 0.5, 1.0]),
    unobserved=st.sampled_from([0.05, 1.0]),
)
def test_the_loss_is_that_of_all_pairs_and_never_rises(log, kind, block, cg_steps, exponent, unobserved):
    sessions, model = model_of(
        kind, log, block=block, cg_steps=cg_steps, exponent=exponent, unobserved_weight=unobserved, sweeps=5
    )
    losses = model.fit(sessions).history["loss"]
    assert len(losses) == 5
    assert losses[-1] == pytest.approx(loss_of(model, sessions, *tables(model)), rel=1e-4, abs=1e-4)
    assert (np.diff(losses) <= 1e-5 * np.abs(losses[:-1]) + 1e-5).all()


@settings(deadline=None, max_examples=12)
@given(log=logs, kind=kinds, exponent=st.sampled_from([0.0, 1.0]))
def test_a_sweep_is_the_closed_form_row_by_row(log, kind, exponent):
    sessions, model = model_of(kind, log, exponent=exponent, sweeps=1)
    random = np.random.default_rng(0)
    start = [random.standard_normal((rows, 3)) / 3**0.5 for rows in (len(sessions), ITEMS + 2)][1]
    start[:2] = 0
    model.fit(sessions)
    weight, target, user_penalty, item_penalty = seen_of(model, sessions)
    weight[:, :2] = 0
    x = solved(weight, target, user_penalty, start)
    y = solved(weight.T, target.T, item_penalty, x)
    found_x, found_y = tables(model)
    np.testing.assert_allclose(found_x @ found_y.T, x @ y.T, rtol=2e-3, atol=2e-4)  # the basis is turned


@pytest.mark.parametrize("block", [1, 2, 3, 4])
def test_blocks_reach_the_exact_solution(block):
    random = np.random.default_rng(1)
    log = [random.integers(2, 9, 6).tolist() for _ in range(20)]
    sessions = sessions_of(log)
    model = ALS(sessions.items, factors=6)
    seen = observe(Interactions.of(sessions), model)
    x, y = (random.standard_normal((rows, 6)).astype(np.float32) for rows in (20, ITEMS + 2))
    x2, y2 = x.copy(), y.copy()
    exact = als_sweeps.half_sweep(x, y, seen.by_user, seen.user_penalty, 0.1, 6)[0]
    parts = [als_sweeps.half_sweep(x2, y2, seen.by_user, seen.user_penalty, 0.1, block)[0] for _ in range(100)]
    assert parts[-1] == pytest.approx(exact, rel=1e-3)
    np.testing.assert_allclose(x2 @ y2.T, x @ y.T, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("block", [2, 6])
def test_memory_limits_do_not_change_the_loss(block, monkeypatch):
    """Batches as on a GPU, of few rows at a time, with rows too long to gather at once."""
    random = np.random.default_rng(2)
    log = [random.integers(2, 9, length).tolist() for length in random.integers(1, 40, 30)]
    sessions = sessions_of(log)
    losses = []
    for cells, gpu in ((als_sweeps.CELLS, False), (12, True)):
        monkeypatch.setattr(als_sweeps, "CELLS", cells)
        monkeypatch.setattr(als_sweeps, "_on_gpu", lambda gpu=gpu: gpu)
        model = ALS(sessions.items, factors=6, block=block, sweeps=3)
        losses.append(model.fit(sessions).history["loss"])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)


@pytest.mark.parametrize("kind", KIND)
def test_training_continues_after_loading(kind, tmp_path):
    log = [[2, 3, 4], [3, 4, 4], [5, 6, 7, 2], [8], [2, 8, 5]]
    sessions, once = model_of(kind, log, sweeps=5)
    whole = once.fit(sessions).history["loss"]
    _, model = model_of(kind, log)
    first = model.fit(sessions, epochs=2)
    model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    rest = model.fit(sessions, initial_epoch=2, epochs=5)
    assert first.epoch + rest.epoch == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(first.history["loss"] + rest.history["loss"], whole, rtol=1e-3, atol=1e-4)


def test_a_callback_stops_the_training():
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = logs["loss"] > 0

    sessions, model = model_of("plain", [[2, 3], [3, 4]])
    assert model.fit(sessions, callbacks=[Stop()]).epoch == [0]


def test_validation_metrics_are_those_of_every_sweep():
    log = [[2, 3, 4], [3, 4, 5], [6, 7, 8], [7, 8, 6], [2, 4, 3]]
    sessions, model = model_of("plain", log)
    model.compile(metrics=[Recall(2), NDCG(3)])
    history = model.fit(sessions, epochs=3, validation_data=sessions).history
    assert sorted(history) == ["loss", "val_ndcg@3", "val_recall@2"]
    for sweeps in (1, 2, 3):
        _, alone = model_of("plain", log)
        alone.compile(metrics=[Recall(2), NDCG(3)])
        without = alone.fit(sessions, epochs=sweeps).history
        found = alone.evaluate(sessions, verbose=0, return_dict=True)
        assert history["loss"][:sweeps] == pytest.approx(without["loss"], rel=1e-4)
        for name, value in found.items():
            assert history[f"val_{name}"][sweeps - 1] == pytest.approx(value, abs=1e-6)


def test_validation_stops_the_training():
    sessions, model = model_of("plain", [[2, 3], [3, 4]])
    model.compile(metrics=[Recall(5)])
    stop = keras.callbacks.EarlyStopping("val_recall@5", mode="max", patience=2)  # of 7 items, already found at first
    history = model.fit(sessions, epochs=9, validation_data=sessions.batches(), callbacks=[stop])
    assert len(history.epoch) < 9


def test_validation_without_metrics_is_refused():
    sessions, model = model_of("plain", [[2, 3], [3, 4]])
    with pytest.raises(InputError, match=r"validation_data: needs metrics, as in compile\(metrics"):
        model.fit(sessions, validation_data=sessions)
    assert len(model.users) == 0


# Fold-in -------------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=12)
@given(log=logs, kind=kinds, history=st.lists(st.integers(1, 8), min_size=1, max_size=8))
def test_fold_in_equals_the_solve_of_training(log, kind, history):
    sessions, model = model_of(kind, log, sweeps=2)
    model.fit(sessions)
    known = [item for item in history if item > 1]
    row = np.zeros(ITEMS + 2)
    for item in known:
        row[item] += 1
    seen = row > 0
    a0, n = model.unobserved_weight, seen.sum()
    _, y = tables(model)
    if kind == "ratings":
        ratings = Interactions.of(sessions, value="rating", duplicates="last").weights
        mean, best = ratings.mean(), ratings.max()
        rest = np.where(seen, best - mean - model.item_table.numpy()[:, 3], 0)
        bias = rest.sum() / (n + model.damping)
        weight, target, penalty = seen * 1.0, np.where(seen, rest - bias, 0), 0.1 * max(n, 1)
    else:
        penalty = 0.1 * (n + a0 * ITEMS)
        weight = np.where(seen, 1 + a0, a0) if kind == "plain" else a0 + 2.0 * row
        target = seen / (1 + a0) if kind == "plain" else seen * 1.0
    (x,) = solved([weight], [target], [penalty], y)
    expected = y @ x
    if kind == "ratings":
        expected = expected + model.item_table.numpy()[:, 3] + bias
    np.testing.assert_allclose(scores_after(model, history)[2:], expected[2:], rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("kind", KIND)
def test_explain_adds_up_to_the_score(kind):
    log = [[2, 3, 4], [3, 4, 4], [5, 6, 7, 2], [8], [2, 8, 5]]
    sessions, model = model_of(kind, log)
    model.fit(sessions)
    history = ["i3", "i4", "no-such-item", "i3", "i8"]
    parts = model.explain(history, "i5")
    assert sorted(item for item, _ in parts) == ["i3", "i4", "i8"]
    assert [part for _, part in parts] == sorted((part for _, part in parts), reverse=True)
    ids = model.items.encode(history)
    x = model.vectors(ids[None]).numpy()[0, :3]
    assert sum(part for _, part in parts) == pytest.approx(float(x @ model.item_vectors().numpy()[5]), abs=1e-4)
    assert model.explain(["no-such-item"], "i5") == []


def test_fold_in_by_the_mean():
    sessions, model = model_of("plain", [[2, 3, 4], [3, 4, 4], [5, 6]], fold_in="mean")
    model.fit(sessions)
    y = model.item_vectors().numpy()
    np.testing.assert_allclose(
        scores_after(model, [3, 1, 4, 4])[2:], (y @ (y[3] + 2 * y[4]) / 3)[2:], rtol=1e-4, atol=1e-6
    )
    with pytest.raises(InputError, match="fold_in='mean': must be 'solve' for explain"):
        model.explain(["i3"], "i4")


def test_a_window_and_many_blocks(monkeypatch):
    sessions, model = model_of("plain", [[2, 3, 4], [3, 4, 4], [5, 6]], window=2)
    model.fit(sessions)
    before = scores_after(model, [2, 5, 3, 4])
    np.testing.assert_allclose(before, scores_after(model, [3, 4]), rtol=1e-4, atol=1e-6)
    monkeypatch.setattr(als_fold_in, "CELLS", 10)
    np.testing.assert_allclose(scores_after(model, [2, 5, 3, 4]), before, rtol=1e-4, atol=1e-6)
    found = model.recommend([["i2", "i5", "i3", "i4"]], k=1)
    assert found.scores[0, 0] == pytest.approx(before[2:].max(), abs=1e-5)


# Known and unknown users ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def known():
    log = [[2, 3, 4], [2, 3, 4], [5, 6, 7, 2], [8, 7, 6], [2, 8, 5]]
    sessions, model = model_of("plain", log, factors=4, regularization=0.01)
    model.fit(sessions)
    return model


def test_known_users_are_scored_by_their_vectors(known):
    found = known.recommend_users(["u2", "nobody", 7], k=7)
    scores = known.user_vectors.numpy()[2] @ known.item_vectors().numpy().T
    assert found.items[0].tolist() == known.items.decode(2 + np.argsort(-scores[2:], kind="stable")).tolist()
    popular = known.recommend([[]], k=7)
    for row in (1, 2):
        assert found.items[row].tolist() == popular.items[0].tolist()
    left = known.recommend_users(["u2", "nobody"], k=7, exclude_seen=True)
    assert not set(left.items[0]) & {"i5", "i6", "i7", "i2"} and left.items[0][3:].tolist() == [""] * 4
    assert "" not in left.items[1]
    alike = known.similar_users(["u0"], k=2)
    assert alike.items[0][0] == "u1" and alike.scores[0, 0] == pytest.approx(1, abs=1e-4)
    near = known.similar_items(["i3"], k=2)
    assert near.items[0][0] == "i4"


def test_the_export_answers_known_and_unknown_users_and_histories(known, tmp_path):
    loaded = tf.saved_model.load(str(known.export(tmp_path / "1", k=3, exclude_seen=True)))
    users = loaded.signatures["users"](users=tf.constant(["u2", "nobody"]))
    expected = known.recommend_users(["u2", "nobody"], k=3, exclude_seen=True)
    assert [[item.decode() for item in row] for row in users["items"].numpy()] == expected.items.tolist()
    np.testing.assert_allclose(users["scores"].numpy(), expected.scores, rtol=1e-5)
    assert loaded.signatures["users"](users=tf.zeros([0], tf.string))["items"].shape == (0, 3)

    def filtered(exclude, only):
        lists = {"exclude": tf.constant(exclude), "only": tf.constant(only)}
        answer = loaded.signatures["users_filtered"](users=tf.constant(["u2", "nobody"]), **lists)["items"].numpy()
        return [[item.decode() for item in row] for row in answer]

    best, popular = expected.items.tolist()
    assert filtered([[""], [""]], [[""], [""]]) == [best, popular]
    assert filtered([[best[0]], [popular[1]]], [[""], [""]])[0][:2] == best[1:]
    assert filtered([["", ""], ["", popular[0]]], [[best[2], "i5"], popular[:2]]) == [  # u2 has i5
        [best[2], "", ""],
        [popular[1], "", ""],
    ]
    with pytest.raises(tf.errors.InvalidArgumentError, match="exclude: must have one row for each of users"):
        filtered([[""]], [[""], [""]])
    histories = loaded.signatures["serving_default"](items=tf.constant([["i5", "i6"], ["", ""]]))
    expected = known.recommend([["i5", "i6"], []], k=3, exclude_seen=True)
    assert [[item.decode() for item in row] for row in histories["items"].numpy()] == expected.items.tolist()


def test_users_are_saved(known, tmp_path):
    known.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    before, after = (model.recommend_users(["u0", "u4"], k=3, exclude_seen=True) for model in (known, loaded))
    assert before.items.tolist() == after.items.tolist() and before.scores.tolist() == after.scores.tolist()


def test_sessions_without_users_leave_no_known_user(tmp_path):
    sessions = sessions_of([[2, 3, 4], [3, 4], [5]], users=False)
    model = ALS(sessions.items, factors=2)
    model.fit(sessions)
    assert len(model.users) == 0
    assert model.recommend_users(["session:0"], k=2).items.tolist() == model.recommend([[]], k=2).items.tolist()
    loaded = tf.saved_model.load(str(model.export(tmp_path / "1", k=3)))
    assert "serving_default" in loaded.signatures and "users" not in loaded.signatures
    with pytest.raises(InputError, match="k=1: "):
        model.similar_users(["session:0"], k=1)


def test_ratings_are_predicted():
    """Additive ratings are predicted closely; unknown users and items leave the mean and the known bias."""
    log = [[item for item in range(2, 9) if (item + number) % 3] for number in range(12)]
    ratings = [1 + (item % 3) + (number % 2) for number, session in enumerate(log) for item in session]
    sessions = sessions_of(log, rating=np.array(ratings, float))
    model = ALS(sessions.items, factors=2, value="rating", explicit=True, damping=0.0, regularization=0.01)
    model.fit(sessions)
    users = [f"u{number}" for number, session in enumerate(log) for _ in session]
    items = model.items.decode(np.array([item for session in log for item in session]))
    assert np.sqrt(np.mean((model.predict_ratings(users, items) - ratings) ** 2)) < 0.15
    mean = np.mean(ratings)
    alone = model.predict_ratings(["nobody", "nobody", "u0"], ["no-such-item", "i3", "no-such-item"])
    assert alone[0] == pytest.approx(mean, abs=1e-5)
    assert alone[1:] == pytest.approx(
        [mean + model.item_table.numpy()[3, 2], mean + model.user_vectors.numpy()[0, 3]], abs=1e-5
    )


# Bad input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "kwargs", "message"),
    [
        ([0, 0, 0], {"value": "w"}, "value='w': no pair .* above 0"),
        ([1, -1, 2], {"value": "w"}, "value='w': 1 of 3 weights are below 0; set explicit=True"),
        ([1, np.nan, 2], {"value": "w"}, "value='w': 1 of 3 events have no finite number"),
        ([3, 3, 3], {"value": "w", "explicit": True}, "value='w': all 3 ratings are 3"),
        ([1, 2, 3], {"value": "v"}, "value='v': .*no column 'v'"),
    ],
)
def test_invalid_weights_are_refused(weights, kwargs, message):
    sessions = sessions_of([[2, 3], [4]], w=np.array(weights, float))
    model = ALS(sessions.items, factors=2, **kwargs)
    with pytest.raises(InputError, match=message):
        model.fit(sessions)
    assert len(model.users) == 0


def test_ratings_outside_the_scale_are_refused():
    sessions = sessions_of([[2, 3], [4, 1]], rating=np.array([1.0, 5, 3, 6]))  # the last is on an unknown item
    model = ALS(sessions.items, factors=2, value="rating", explicit=True, scale=(1, 5))
    with pytest.raises(
        InputError, match="'rating': 1 of 4 ratings .* 1 to 5, the first, 6, is event 2 of session 2, of 'u1'"
    ):
        model.fit(sessions)
    assert len(model.users) == 0
    inside = sessions_of([[2, 3], [4, 1]], rating=np.array([1.0, 5, 3, 5]))
    model.fit(inside)
    model.item_table.assign_add(np.full(model.item_table.shape, 9.0))
    far, unknown = model.predict_ratings(["u0", "nobody"], ["i2", "nothing"])
    assert far in (1, 5) and unknown == 3  # an end of the scale, by the sign of the vectors; the mean rating


@pytest.mark.parametrize("scale", [(5, 1), (1,), "1-5", (1, float("nan")), 5])
def test_invalid_scales_are_refused(scale):
    with pytest.raises(InputError, match="^scale="):
        ALS(sessions_of([[2, 3]]).items, value="rating", explicit=True, scale=scale)
    with pytest.raises(InputError, match="^scale=.*explicit=True"):
        ALS(sessions_of([[2, 3]]).items, scale=(1, 5))


def test_users_and_items_with_one_rating():
    log = [[2], [3], [4, 2]]
    sessions = sessions_of(log, rating=np.array([1.0, 5, 3, 2]))
    model = ALS(sessions.items, factors=2, value="rating", explicit=True, scale=(1, 5))
    loss = model.fit(sessions, epochs=4).history["loss"]
    assert np.isfinite(loss).all() and loss == sorted(loss, reverse=True)
    assert np.isfinite(model.predict_ratings(["u0", "u1"], ["i3", "i2"])).all()
    assert model.recommend_users(["u0"], k=2).items.shape == (1, 2)


def test_pairs_of_weight_zero_are_unseen():
    sessions = sessions_of([[2, 3], [4], [5]], w=np.array([1.0, 0, 2, 0]))
    model = ALS(sessions.items, factors=2, value="w", duplicates="max")
    model.fit(sessions)
    vectors = model.item_vectors().numpy()
    assert not vectors[[3, 5]].any() and vectors[[2, 4]].any(axis=1).all()
    popular = model.recommend([[]], k=3).items.tolist()
    assert model.recommend_users(["u2"], k=3).items.tolist() == popular  # u2 has no seen pair


def test_invalid_data_and_lists_are_refused(known):
    with pytest.raises(InputError, match="x: must be data.train or its batches"):
        known.fit([[1]])
    with pytest.raises(InputError, match="users: must be a list of ids.*not 'u0'"):
        known.recommend_users("u0", k=1)
    with pytest.raises(InputError, match="user 'nobody' is not among the 6"):
        known.similar_users(["nobody"], k=1)
    with pytest.raises(InputError, match="item='nothing': must be in the catalogue"):
        known.explain(["i2"], "nothing")
    with pytest.raises(InputError, match="history: must be a list of ids.*not 'i2'"):
        known.explain("i2", "i3")


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("factors", 0),
        ("block", 0),
        ("cg_steps", 0),
        ("sweeps", 1.5),
        ("window", -1),
        ("unobserved_weight", 0),
        ("regularization", 0),
        ("exponent", 2),
        ("alpha", -1.0),
        ("init_std", float("nan")),
        ("damping", -1),
        ("duplicates", "first"),
        ("fold_in", "median"),
        ("history_value", "5"),
    ],
)
def test_invalid_arguments_are_refused(argument, value):
    with pytest.raises(InputError, match=f"^{argument}={value!r}: must be "):
        ALS(sessions_of([[2, 3]]).items, **{argument: value})


def test_ratings_need_a_column():
    with pytest.raises(InputError, match="^value=None: must be the column of ratings beside explicit=True"):
        ALS(sessions_of([[2, 3]]).items, explicit=True)
