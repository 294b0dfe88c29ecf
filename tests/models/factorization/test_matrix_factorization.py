"""A step of every objective by hand, learning on data of known structure, and answers by user name."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tests.logs import sessions_of
from tests.numpy_reference import softmax, softplus
from tfrecsession import InputError
from tfrecsession.batches import Interactions, Sessions
from tfrecsession.batches.triples import triples
from tfrecsession.losses import BPR, AllPairs, BPRMax, CrossEntropy
from tfrecsession.models import MatrixFactorization
from tfrecsession.models.factorization.known_positives import SeenItems
from tfrecsession.negatives import Negatives
from tfrecsession.sessions.store import SessionArrays
from tfrecsession.sessions.vocabulary import Items

ITEMS = 7  # ids 2 to 8
LOG = [[2, 3, 3, 8], [4, 2], [2, 5, 6, 7], [3, 4], [8]]
L2, BIAS_L2 = 0.05, 0.02


class Fixed(Negatives):
    """Samples 3, 5, 5 every time, with these probabilities."""

    probability = np.array([1, 1, 0.3, 0.2, 0.1, 0.2, 0.1, 0.05, 0.05], np.float32)

    def __init__(self):
        super().__init__(3, mask_hits=True)

    def fill(self, counts):
        pass

    def draw(self, targets=None):
        return tf.constant([3, 5, 5])

    def log_probability(self, ids):
        return tf.math.log(tf.gather(self.probability, ids))


def sgd_like(rate):
    """Returns LazyAdagrad with an accumulator so large that it is plain gradient descent."""
    return trs.optimizers.LazyAdagrad(rate * 1e6, initial_accumulator_value=1e12)


def tables(model):
    """Returns p, b_u, q, b_i."""
    users, items = model.user_table, model.output_items
    return [np.array(table, np.float64) for table in (users.table, users.biases, items.table, items.biases)]


def one_step(loss, rating=None, rows=8, negatives=None, **kwargs):
    """Returns a model, its tables before and after a step of rate 1 on a batch, the batch and the loss."""
    interactions = Interactions.of(sessions_of(LOG), duplicates="sum")
    if rating is not None:
        interactions.weights[:] = np.random.default_rng(3).integers(1, 6, len(interactions.values))
    keras.utils.set_random_seed(1)
    model = MatrixFactorization(
        interactions.items,
        dim=3,
        rating=rating,
        l2=L2,
        bias_l2=BIAS_L2,
        deviation=1.0,
        negatives=negatives or Fixed(),
        **kwargs,
    )
    model.compile(sgd_like(1.0), loss)
    model.take(interactions)
    rng = np.random.default_rng(0)
    for biases in (model.user_table.biases, model.output_items.biases):
        biases.assign(rng.normal(size=biases.shape))
    model.sum_grams()
    batch = next(iter(triples(interactions, rows, seed=1)))
    before = tables(model)
    logs = model.train_step(batch)
    return model, before, tables(model), {name: array.numpy() for name, array in batch.items()}, float(logs["loss"])


def numeric_gradient(function, arrays, epsilon=1e-6):
    """Computes central differences of a number by every entry of the arrays."""
    gradients = []
    for array in arrays:
        gradient = np.zeros_like(array)
        for cell in np.ndindex(array.shape):
            kept = array[cell]
            array[cell] = kept + epsilon
            up = function(*arrays)
            array[cell] = kept - epsilon
            gradient[cell] = (up - function(*arrays)) / (2 * epsilon)
            array[cell] = kept
        gradients.append(gradient)
    return gradients


def ratings_by_hand(mean, batch):
    def total(p, a, q, b):
        loss = 0.0
        for u, i, r, w in zip(*(batch[name] for name in ("user", "item", "value", "weight")), strict=True):
            error = r - mean - a[u] - b[i] - p[u] @ q[i]
            loss += w * (error**2 + L2 * (p[u] @ p[u] + q[i] @ q[i]) + BIAS_L2 * (a[u] ** 2 + b[i] ** 2))
        return loss

    return total


def order_by_hand(kind, batch, mask_seen):
    def total(p, a, q, b):
        loss = 0.0
        for u, i, w in zip(*(batch[name] for name in ("user", "item", "weight")), strict=True):
            drawn = [3, 5, 5]
            kept = [j for j in drawn if j not in (LOG[u] if mask_seen else [i])]
            q_log = np.log(Fixed.probability.astype(float)) if kind == "cross_entropy" else np.zeros(9)
            positive = p[u] @ q[i] + b[i] - q_log[i]
            negative = np.array([p[u] @ q[j] + b[j] - q_log[j] for j in kept])
            if kind == "bpr":
                each = np.mean(softplus(negative - positive))
            elif kind == "cross_entropy":
                each = np.log(np.exp(positive) + np.exp(negative).sum()) - positive
            else:
                s = softmax(negative)
                each = -np.log((s / (1 + np.exp(negative - positive))).sum()) + 0.7 * (s * negative**2).sum()
            loss += w * (each + L2 * (p[u] @ p[u] + q[i] @ q[i] + np.mean([q[j] @ q[j] for j in drawn])))
        return loss

    return total


@pytest.mark.parametrize("rows", [8, 16])  # 12 pairs: with 16 rows a part of the batch has weight 0
def test_a_step_on_ratings(rows):
    model, before, after, batch, loss = one_step("mean_squared_error", "rating", rows)
    by_hand = ratings_by_hand(float(model.mean.value), batch)
    assert loss == pytest.approx(by_hand(*before) / batch["weight"].sum(), rel=1e-5)
    for old, new, gradient in zip(before, after, numeric_gradient(by_hand, before), strict=True):
        np.testing.assert_allclose(new - old, -gradient / rows, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize(
    ("kind", "loss"),
    [("bpr", BPR()), ("cross_entropy", CrossEntropy(logq=1.0)), ("bpr_max", BPRMax(regularization=0.7))],
)
@pytest.mark.parametrize("mask_seen", [True, False])
def test_a_step_against_sampled_items(kind, loss, mask_seen):
    model, before, after, batch, found = one_step(loss, mask_seen=mask_seen)
    by_hand = order_by_hand(kind, batch, mask_seen)
    assert found == pytest.approx(by_hand(*before) / 8, rel=1e-5)
    for old, new, gradient in zip(before, after, numeric_gradient(by_hand, before), strict=True):
        np.testing.assert_allclose(new - old, -gradient / 8, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("seed", range(4))
def test_seen_items_are_found_among_samples(seed):
    random = np.random.default_rng(seed)
    log = [random.choice(np.arange(2, 9), random.integers(1, 8)).tolist() for _ in range(6)]
    seen = SeenItems(ITEMS + 2)
    seen.take(Interactions.of(sessions_of(log)))
    for cells in (seen.cells, tf.function(seen.cells)):
        for _ in range(3):  # a step leaves no state for the next
            users = random.integers(0, 6, 10).astype(np.int32)
            drawn = random.integers(2, 9, random.integers(1, 9)).astype(np.int32)
            by_hand = [(r, c) for r, user in enumerate(users) for c, j in enumerate(drawn) if j in log[user]]
            found = cells(tf.constant(users), tf.constant(drawn)).numpy()
            assert sorted(map(tuple, found.tolist())) == by_hand


@pytest.mark.parametrize(
    "negatives", [trs.negatives.InBatch(), trs.negatives.Mixture([trs.negatives.InBatch(), Fixed()])]
)
def test_seen_items_are_masked_with_any_sampler(negatives):
    """A pair whose user has every sampled item has no loss but its penalty."""
    model, before, _, batch, found = one_step(BPR(), negatives=negatives)
    p, _, q, _ = before
    items = batch["item"]
    drawn = [*items, 3, 5, 5] if isinstance(negatives, trs.negatives.Mixture) else items
    total = 0.0
    for u, i, w in zip(batch["user"], items, batch["weight"], strict=True):
        score = q @ p[u] + before[3]
        kept = [j for j in drawn if j not in LOG[u]]
        total += w * (np.mean([softplus(score[j] - score[i]) for j in kept]) if kept else 0)
        total += w * L2 * (p[u] @ p[u] + q[i] @ q[i] + np.mean([q[j] @ q[j] for j in drawn]))
    assert found == pytest.approx(total / 8, rel=1e-5)


def test_a_step_of_all_pairs_follows_the_whole_objective():
    """A batch of every pair has the gradient of the sum over all users and items, regularized by frequency."""
    pairs = sum(len(set(session)) for session in LOG)
    model, before, after, _, found = one_step(AllPairs(0.3), rows=pairs)
    seen = np.zeros((len(LOG), ITEMS + 2))
    for user, session in enumerate(LOG):
        seen[user, session] = 1
    of_user, of_item = seen.sum(axis=1), seen.sum(axis=0)

    def total(p, a, q, b):
        loss = 0.0
        for u in range(len(LOG)):
            for i in range(2, ITEMS + 2):
                loss += seen[u, i] * (1 - p[u] @ q[i]) ** 2 + 0.3 * (p[u] @ q[i]) ** 2
        loss += L2 * sum((of_user[u] + 0.3 * ITEMS) * p[u] @ p[u] for u in range(len(LOG)))
        return loss + L2 * sum((of_item[i] + 0.3 * len(LOG)) * q[i] @ q[i] for i in range(2, ITEMS + 2))

    assert found == pytest.approx(total(*before) / pairs, rel=1e-5)
    for old, new, gradient in zip(before, after, numeric_gradient(total, before), strict=True):
        np.testing.assert_allclose(new - old, -gradient / pairs, rtol=2e-3, atol=2e-4)
    users, items = np.asarray(model.user_table.table), np.asarray(model.item_vectors())[2:]
    np.testing.assert_allclose(model.grams[0], items.T @ items, rtol=1e-4, atol=1e-4)  # updated by the step
    np.testing.assert_allclose(model.grams[1], users.T @ users, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("optimizer", [trs.optimizers.LazyAdam(0.1), trs.optimizers.LazyAdagrad(0.1, momentum=0.5)])
@pytest.mark.parametrize("loss", [CrossEntropy(), AllPairs(), "mean_squared_error"])
def test_untouched_rows_keep_every_bit(loss, optimizer):
    interactions = Interactions.of(sessions_of(LOG), duplicates="sum")
    rating = "rating" if isinstance(loss, str) else None
    model = MatrixFactorization(interactions.items, dim=4, rating=rating, negatives=Fixed())
    model.compile(type(optimizer).from_config(optimizer.get_config()), loss)
    model.take(interactions)
    model.sum_grams()
    for batch in triples(interactions, 5, seed=2):  # the last one is not full
        before = tables(model)
        model.train_step(batch)
        users, items = set(batch["user"].numpy()), set(batch["item"].numpy())
        items |= {3, 5} if isinstance(loss, CrossEntropy) else set()
        for old, new, touched in zip(before, tables(model), (users, users, items, items), strict=True):
            kept = [row for row in range(len(old)) if row not in touched]
            assert kept and (old[kept] == new[kept]).all()


def low_rank(noise, users=120, items=80, seed=0):
    """Returns ratings mu + b_u + b_i + p_u . q_i + noise of half the pairs for training, and the other half."""
    rng = np.random.default_rng(seed)
    p, q = rng.normal(size=(users, 2)), rng.normal(size=(items, 2)) * 0.7
    whole = 3 + rng.normal(size=(users, 1)) * 0.5 + rng.normal(size=(1, items)) * 0.5 + p @ q.T
    observed = whole + noise * rng.normal(size=whole.shape)
    train = rng.random(whole.shape) < 0.5
    counts = train.sum(axis=0)
    order = np.argsort(-counts, kind="stable")
    train, observed = train[:, order], observed[:, order]
    user, item = np.nonzero(train)
    interactions = Interactions(
        items=Items([f"i{n}" for n in order], counts[order]),
        users=np.array([f"u{n}" for n in range(users)], object),
        named=np.ones(users, bool),
        offsets=np.r_[0, np.cumsum(train.sum(axis=1))],
        values=(item + 2).astype(np.int32),
        weights=observed[train].astype(np.float32),
        of_session=np.arange(users),
    )
    u, i = np.nonzero(~train)
    return interactions, (interactions.users[u], interactions.items.ids[i], observed[~train])


def test_low_rank_ratings_are_predicted_to_near_their_noise():
    interactions, (users, items, ratings) = low_rank(noise=0.3)
    keras.utils.set_random_seed(0)
    model = MatrixFactorization(interactions.items, dim=2, rating="rating", l2=0.01, deviation=0.5)
    model.compile(trs.optimizers.LazyAdam(0.02), "mean_squared_error")
    model.fit(interactions, rows=256, epochs=40, verbose=0)
    error = np.sqrt(np.mean((model.predict_ratings(users, items) - ratings) ** 2))
    assert 0.29 < error < 0.36
    assert np.std(ratings) > 1.2  # the deviation of the ratings themselves


def test_unknown_users_and_items_add_nothing_to_the_mean():
    interactions, _ = low_rank(noise=0.1)
    model = MatrixFactorization(interactions.items, dim=2, rating="rating")
    model.compile(trs.optimizers.LazyAdam(0.02), "mean_squared_error")
    model.fit(interactions, rows=256, epochs=2, verbose=0)
    p, a, q, b = tables(model)
    mean = interactions.weights.mean()
    user, item = "u5", interactions.items.ids[3]
    found = model.predict_ratings([user, "nobody", user, "nobody"], [item, item, "nothing", ""])
    expected = [mean + a[5] + b[5] + p[5] @ q[5], mean + b[5], mean + a[5], mean]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert model.predict_ratings([user], [item], scale=(4.9, 5))[0] == pytest.approx(4.9)
    with pytest.raises(InputError, match="2 of one and 1 of the other"):
        model.predict_ratings([user, user], [item])


def rated(scale=None, ratings=(1, 5, 3, 4, 2)):
    log = [[2], [3, 4], [5, 2]]  # the first has one rating
    sessions = with_users(sessions_of(log), ["a", "b", "c"])
    columns = {"user": sessions.column("user"), "rating": np.array(ratings, float)}
    arrays = SessionArrays(sessions.items, sessions.values, sessions.offsets, columns)
    model = MatrixFactorization(sessions.items, dim=2, rating="rating", scale=scale)
    model.compile(trs.optimizers.LazyAdam(0.02), "mean_squared_error")
    return model, Sessions(arrays, "train", timed=False)


def test_ratings_outside_the_scale_are_refused():
    model, sessions = rated((1, 5), (1, 5, 3, 4, 0))
    with pytest.raises(InputError, match="'rating': 1 of 5 .* 1 to 5, the first, 0, is event 2 of session 3, of 'c'"):
        model.fit(sessions)
    with pytest.raises(InputError, match="the first, 0, is of 'c'"):  # the same without sessions
        model.fit(Interactions.of(sessions, value="rating"))
    assert not model.user_table.built


def test_predictions_stay_within_the_scale(tmp_path):
    model, sessions = rated((1, 5))
    model.fit(sessions, rows=4, epochs=2, verbose=0)
    model.mean.assign(9.0)
    assert model.predict_ratings(["a", "nobody"], ["i2", "nothing"]).tolist() == [5, 5]
    assert model.predict_ratings(["a"], ["i2"], scale=(1, 6)).tolist() == [6]
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").predict_ratings(["a"], ["i2"]).tolist() == [5]


@pytest.mark.parametrize("scale", [(5, 1), (1, 1), "15", (1, float("nan"))])
def test_invalid_scales_are_refused(scale):
    with pytest.raises(InputError, match="^scale="):
        rated(scale)
    with pytest.raises(InputError, match="^scale=.*rating='COLUMN'"):
        MatrixFactorization(sessions_of(LOG).items, dim=2, scale=(1, 5))


def test_equal_ratings_are_predicted():
    interactions, (users, items, _) = low_rank(noise=0.0)
    interactions.weights[:] = 4
    model = MatrixFactorization(interactions.items, dim=2, rating="rating", l2=0.1)
    model.compile(trs.optimizers.LazyAdam(0.02), "mean_squared_error")
    model.fit(interactions, rows=256, epochs=5, verbose=0)
    np.testing.assert_allclose(model.predict_ratings(users, items, scale=(1, 5)), 4, atol=0.05)
    answer = model.recommend([list(interactions.items.ids[:3]), []], k=3)
    assert np.isfinite(answer.scores).all() and all(answer.items[0])


def with_users(sessions, names):
    arrays = sessions.arrays
    columns = {"user": np.array(names, object)}
    return Sessions(SessionArrays(arrays.items, arrays.values, arrays.offsets, columns), "train", timed=False)


@pytest.fixture(scope="module")
def tastes():
    """Half of the users interact with one half of the items, the others with the other half; popularity within a half
    falls slowly. The last third of each user is held out."""
    rng = np.random.default_rng(4)
    share = 1 / (np.arange(20) + 5)
    log = [list(rng.choice(20, 9, replace=False, p=share / share.sum()) * 2 + user % 2) for user in range(300)]
    counts = np.bincount(np.concatenate([session[:6] for session in log]), minlength=40)
    rank = np.empty(40, int)
    rank[np.argsort(-counts, kind="stable")] = np.arange(40)
    coded = [[int(rank[item]) + 2 for item in session] for session in log]
    train = sessions_of([session[:6] for session in coded], items=40)
    return with_users(train, [f"u{number}" for number in range(300)]), [session[6:] for session in coded]


@pytest.mark.parametrize(
    "loss", [CrossEntropy(logq=1.0), BPR(), BPRMax(0.1), AllPairs(0.1)], ids=lambda loss: loss.name
)
def test_two_tastes_are_learned(tastes, loss):
    train, held_out = tastes
    keras.utils.set_random_seed(0)
    model = MatrixFactorization(train.items, dim=8, l2=1e-3, negatives=trs.negatives.Popularity(32))
    model.compile(trs.optimizers.LazyAdagrad(0.2), loss)
    history = model.fit(train, rows=100, epochs=15, verbose=0).history["loss"]
    assert history[-1] < history[0]

    def hits(lists):
        pairs = zip(lists, held_out, strict=True)
        return np.mean([np.isin(train.items.encode(row), wanted).mean() for row, wanted in pairs])

    names = model.users
    popular = model.recommend_users(["nobody"] * len(names), k=14, exclude_seen=False).items
    assert (popular == train.items.ids[:14]).all()
    known = model.recommend_users(names, k=14, exclude_seen=True)
    folded = model.recommend([train.items.decode(train[user]) for user in range(len(train))], k=14, exclude_seen=True)
    for answer in (known, folded):
        assert hits(answer.items) > 1.5 * hits(popular)
    alike = model.similar_users(names[:30], k=20).items
    assert np.mean([[int(name[1:]) % 2 == user % 2 for name in users] for user, users in enumerate(alike)]) > 0.75
    assert not any(name in users for name, users in zip(names, alike, strict=False))
    assert not any(set(train.items.decode(train[user])) & set(known.items[user]) for user in range(len(train)))


@pytest.mark.parametrize(("loss", "rating"), [(AllPairs(), None), ("mean_squared_error", "rating")])
def test_a_saved_model_knows_its_users(loss, rating, tmp_path):
    interactions, (users, items, _) = low_rank(noise=0.1)
    model = MatrixFactorization(interactions.items, dim=4, rating=rating, negatives=None)
    model.compile(trs.optimizers.LazyAdam(0.02), loss)
    model.fit(interactions, rows=256, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for ask in (
        lambda model: model.recommend_users(["u3", "nobody", "u7"], k=5),
        lambda model: model.similar_users(["u3"], k=5),
        lambda model: model.recommend([interactions.items.ids[:3]], k=5),
    ):
        before, after = ask(model), ask(loaded)
        assert before.items.tolist() == after.items.tolist()
        np.testing.assert_array_equal(before.scores, after.scores)
    if rating:
        np.testing.assert_array_equal(model.predict_ratings(users, items), loaded.predict_ratings(users, items))
    loaded.fit(interactions, rows=256, epochs=1, verbose=0)  # training continues, with the optimizer's state
    assert int(loaded.optimizer.iterations.value) > int(model.optimizer.iterations.value)


def test_invalid_arguments_are_refused():
    interactions = Interactions.of(sessions_of(LOG))
    for argument in ({"dim": 0}, {"l2": -1}, {"bias_l2": -1}, {"ridge": 0}, {"fold_in_weight": 0}, {"deviation": 0}):
        ((name, value),) = argument.items()
        with pytest.raises(InputError, match=f"^{name}={value}: must be a .*number"):
            MatrixFactorization(interactions.items, **argument)
    model = MatrixFactorization(interactions.items, dim=2, negatives=None)
    for wrong, message in (
        (None, "^loss=None: must be 'mean_squared_error'"),
        ("mean_squared_error", "rating=None: must be 'mean_squared_error' with a column"),
        (BPR(), "^negatives=None: must be a sampler"),
    ):
        with pytest.raises(InputError, match=message):
            model.compile("adam", wrong)
    with pytest.raises(InputError, match="rating='stars': must be"):
        MatrixFactorization(interactions.items, rating="stars").compile("adam", BPR())
    model.compile(trs.optimizers.LazyAdam(0.01), AllPairs())
    with pytest.raises(InputError, match=r"fit\(data.train\)"):
        model.fit(np.zeros(3))
    model.fit(interactions, epochs=1, verbose=0)
    with pytest.raises(InputError, match="other users"):
        model.fit(sessions_of(LOG[:-1], ITEMS), verbose=0)
    with pytest.raises(InputError, match="learned no ratings"):
        model.predict_ratings(["session:0"], ["i2"])
    with pytest.raises(InputError, match="knows no users yet"):
        MatrixFactorization(interactions.items, rating="stars").predict_ratings(["session:0"], ["i2"])


def test_the_export_recommends_by_user_name_as_the_model_does(tastes, tmp_path):
    train, _ = tastes
    model = MatrixFactorization(train.items, dim=4)
    model.compile(trs.optimizers.LazyAdagrad(0.2), AllPairs())
    model.fit(train, epochs=1, verbose=0)
    model.export(tmp_path / "1", k=5, exclude_seen=True)
    ask = tf.saved_model.load(str(tmp_path / "1")).signatures["users"]
    answer = ask(users=tf.constant(["u3", "nobody", "u7"]))
    ours = model.recommend_users(["u3", "nobody", "u7"], k=5, exclude_seen=True)
    assert [[item.decode() for item in row] for row in answer["items"].numpy()] == ours.items.tolist()
    assert ours.items[1].tolist() == train.items.ids[:5].tolist()
    np.testing.assert_allclose(answer["scores"], ours.scores, rtol=1e-5)
