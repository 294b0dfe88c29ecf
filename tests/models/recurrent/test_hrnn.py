"""HRNN on hand-made rows of users with several sessions."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tfrecsession import InputError
from tfrecsession.models import HRNN, GRU4Rec
from tfrecsession.sessions.vocabulary import Items

FORMS = [
    {"form": "init"},
    {"form": "all", "user_in": "reset_update"},
    {"form": "all", "units": [6, 5], "user_units": [4, 3], "embedding": "separate", "dim": 7},
    {"form": "init", "units": [6, 5], "initialize": "first", "last_event": False, "embedding": "one_hot"},
]
A = [[5, 9, 12], [9, 3], [7], [4, 4, 8, 5]]
B = [[3, 17], [30, 31, 32]]


def batch_of(*rows, steps=None):
    """Returns a batch with `visit`, and the targets, of rows of users, lists of sessions of item ids."""
    width = steps or max(sum(len(session) for user in row for session in user) for row in rows)
    batch = {name: np.zeros((len(rows), width), np.int32) for name in ("items", "position", "segment", "visit")}
    targets = np.zeros((len(rows), width), np.int32)
    for i, row in enumerate(rows):
        column = 0
        for user in row:
            for visit, session in enumerate(user):
                cells = slice(column, column + len(session))
                batch["items"][i, cells], batch["position"][i, cells] = session, range(len(session))
                batch["segment"][i, cells] = batch["segment"][i].max() + 1
                batch["visit"][i, cells] = visit
                targets[i, cells] = [*session[1:], 0]
                column += len(session)
    return batch, targets


def model_of(shop, **settings):
    keras.utils.set_random_seed(0)
    settings = {"units": [6], "user_units": [4], "dropout": 0.0, "negatives": trs.negatives.Popularity(32), **settings}
    model = HRNN(shop.items, **settings)
    rng = np.random.default_rng(1)
    for weight in model.hierarchy.trainable_weights:  # so that no bias is zero
        weight.assign(rng.normal(size=weight.shape) * 0.5)
    model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0))
    return model


@pytest.fixture(scope="module", params=FORMS, ids=lambda form: "-".join(map(str, form.values())))
def model(request, shop):
    return model_of(shop, **request.param)


def encoded(model, *rows, **shape):
    return np.asarray(model.encode(batch_of(*rows, **shape)[0]))


def test_later_sessions_change_nothing_in_earlier_ones(model):
    before, after = encoded(model, [A]), encoded(model, [[*A[:2], [40], [41, 42]]])
    np.testing.assert_allclose(after[0, :5], before[0, :5], atol=1e-6)
    assert not np.allclose(after[0, 5], before[0, 5], atol=1e-3)


def test_earlier_sessions_do_change_later_ones(model):
    before, after = encoded(model, [A]), encoded(model, [[[40, 9, 12], *A[1:]]])
    assert not np.allclose(after[0, 3:5], before[0, 3:5], atol=1e-3)
    first = encoded(model, [A[1:]])
    assert not np.allclose(first[0, :2], before[0, 3:5], atol=1e-3)


def test_other_users_change_nothing(model):
    alone = encoded(model, [A])
    np.testing.assert_allclose(encoded(model, [B, A], [B, B])[0, 5:], alone[0], atol=1e-6)
    np.testing.assert_allclose(encoded(model, [A, B])[0, : alone.shape[1]], alone[0], atol=1e-6)


def test_padding_changes_nothing(model):
    alone = encoded(model, [A])
    np.testing.assert_allclose(encoded(model, [A], steps=40)[0, : alone.shape[1]], alone[0], atol=1e-6)
    np.testing.assert_allclose(encoded(model, [A], steps=90)[0, : alone.shape[1]], alone[0], atol=1e-6)


def test_a_row_continues_from_a_state(model):
    batch, _ = batch_of([A, B], [B, A])
    whole = model.encode(batch)
    zeros = tf.zeros((2, model.state_width))
    for cut in (1, 3, 5, 9):
        left, state = model.encode_from({name: array[:, :cut] for name, array in batch.items()}, zeros)
        right, _ = model.encode_from({name: array[:, cut:] for name, array in batch.items()}, state)
        np.testing.assert_allclose(tf.concat([left, right], axis=1), whole, atol=1e-6)
        assert state.shape == (2, model.state_width) and state.dtype == tf.float32


@pytest.mark.parametrize("settings", FORMS)
def test_lanes_carry_the_state_of_an_uninterrupted_run(shop, settings):
    model = model_of(shop, lanes=2, **settings)
    batch, _ = batch_of([A, B], [B, A])
    whole = model.encode(batch)
    for _ in range(2):  # a new user starts from zeros, whatever state is carried
        parts = [
            model.encode({name: array[:, cut : cut + 4] for name, array in batch.items()}, training=True)
            for cut in (0, 4, 8, 12)
        ]
        np.testing.assert_allclose(tf.concat(parts, axis=1), whole, atol=1e-6)
    np.testing.assert_allclose(model.encode(batch), whole, atol=1e-6)  # evaluation does not read the lanes
    with pytest.raises(InputError, match="lanes=2: must be the rows of the batches, 1;"):
        model.encode(batch_of([A])[0], training=True)


def test_a_new_user_is_encoded_as_by_a_session_model(shop):
    """With the weights of its session GRU, GRU4Rec encodes first sessions alike."""
    model = model_of(shop)
    session_only = GRU4Rec(shop.items, units=[6], negatives=trs.negatives.Popularity(32))
    session_only.output_items.table.assign(model.output_items.table)
    for source, target in zip(model.hierarchy.session[0].weights, session_only.recurrent[0].weights, strict=True):
        target.assign(source)
    batch, _ = batch_of([[A[0]], [A[3]]], [[A[1]]])
    mask = batch["segment"] > 0
    encodings = [np.asarray(each.encode(batch))[mask] for each in (model, session_only)]
    np.testing.assert_allclose(*encodings, atol=1e-6)
    ids = [list(shop.items.decode(np.array(A[0])))]
    np.testing.assert_allclose(
        model.score_all(model.encode(batch_of([[A[0]]])[0])[:, -1])[0].numpy().max(),
        model.recommend(ids, k=1).scores[0, 0],
        rtol=1e-5,
    )


@pytest.mark.parametrize("settings", FORMS)
def test_a_training_step_changes_every_weight(shop, settings):
    model = model_of(shop, **settings)
    before = [weight.numpy() for weight in model.trainable_weights]
    model.train_step(batch_of([A], [B, A[:2]]))
    for weight, old in zip(model.trainable_weights, before, strict=True):
        assert (weight.numpy() != old).any(), weight.path


TASTES = 6


def shoppers(users, seed):
    """Returns users whose first session determines what follows the common item of their second one."""
    rng = np.random.default_rng(seed)
    tastes = rng.integers(0, TASTES, users)
    common, filler, first, next_item = 2, 3, 4, 4 + TASTES
    return tastes, [[[first + taste, filler], [common, next_item + taste]] for taste in tastes.tolist()]


@pytest.mark.parametrize(
    "settings",
    [
        {"form": "init"},
        pytest.param({"form": "all"}, marks=pytest.mark.slow),
        pytest.param({"form": "init", "lanes": 16}, marks=pytest.mark.slow),
        None,
    ],
)
def test_learns_from_the_last_session(settings):
    """A model of single sessions cannot learn it (None: GRU4Rec)."""
    keras.utils.set_random_seed(0)
    size = 2 + 2 * TASTES
    items = Items((f"i{number}" for number in range(size)), np.ones(size, np.int64))
    shared = {"negatives": None, "dropout": 0.0}
    model = HRNN(items, [16], [16], **shared, **settings) if settings else GRU4Rec(items, [16], **shared)
    model.compile(trs.optimizers.LazyAdagrad(0.2), trs.losses.CrossEntropy(), [trs.metrics.Recall(1)])
    _, users = shoppers(16 * 40, seed=1)
    # with lanes, a batch ends between the two sessions: the second session starts from the carried state
    wide = [users[i : i + 40] for i in range(0, len(users), 40)]
    batch, targets = batch_of(*wide)
    cuts = range(0, batch["items"].shape[1], 6)
    cut = [({name: array[:, c : c + 6] for name, array in batch.items()}, targets[:, c : c + 6]) for c in cuts]
    stacked = keras.tree.map_structure(lambda *arrays: np.stack(arrays), *cut[:-1])
    data = tf.data.Dataset.from_tensor_slices(stacked)
    model.fit(data, epochs=12, verbose=0)
    _, test_users = shoppers(60, seed=2)
    batch, targets = batch_of(*([user] for user in test_users))
    targets[:, :2] = 0
    ranks, _ = model.target_ranks(batch, targets)
    assert len(ranks) == 60
    assert np.mean(ranks == 1) > 0.98 if settings else np.mean(ranks == 1) < 2 / TASTES


def test_recommendations_with_sessions_follow_from_the_encoded_history(model, shop):
    def names(user):
        return [[str(item) for item in shop.items.decode(np.array(session))] for session in user]

    a, b = names(A), names(B)
    unknown = [["no-such-item"], *([*session[:1], "no-such-item", "", *session[1:]] for session in a[:2]), [""], *a[2:]]
    answered = model.recommend_with_sessions([a, b, unknown, a[:1]], k=10)
    for row, user in enumerate((A, B, A, A[:1])):
        scores = np.asarray(model.score_all(model.encode(batch_of([user])[0])[:, -1]))[0, 2:]
        np.testing.assert_allclose(answered.scores[row], np.sort(scores)[::-1][:10], rtol=1e-5, atol=1e-6)
    assert answered.items[0].tolist() == answered.items[2].tolist()
    single = model.recommend([a[0]], k=10)
    np.testing.assert_allclose(answered.scores[3], single.scores[0], rtol=1e-5, atol=1e-6)


def test_a_current_session_without_a_known_item_gets_popular_items(model, shop):
    a = [shop.items.decode(np.array(session)).tolist() for session in A]
    answered = model.recommend_with_sessions([[], [[]], [*a, []], [*a, ["no-such-item"]], [["no-such-item"]]], k=5)
    for items in answered.items:
        assert items.tolist() == shop.items.ids[:5].tolist()
    assert model.recommend_with_sessions([], k=5).items.shape == (0, 5)


def test_items_seen_in_any_session_are_left_out(model, shop):
    a = [shop.items.decode(np.array(session)).tolist() for session in A]
    answered = model.recommend_with_sessions([a], k=len(shop.items), exclude_seen=True)
    assert set(shop.items.ids) - set(answered.items[0]) == {item for session in a for item in session}
    candidates = shop.items.ids[20:23].tolist()
    assert set(model.recommend_with_sessions([a], k=3, candidates=candidates).items[0]) == set(candidates)


@pytest.mark.parametrize("people", ["item", ["item"], [["item"]], [[b"item"]]])
def test_a_missing_level_of_lists_is_refused(model, people):
    with pytest.raises(InputError, match=r"^people.*: must be a list of lists of"):
        model.recommend_with_sessions(people, k=3)


def test_session_numbers_in_any_order(model):
    """A new number is a new session, even if all its items are unknown."""
    ids = tf.constant([[5, 9, 1, 9, 3, 0], [5, 9, 0, 9, 3, 0]])
    by_number = model.answer_sessions(ids, tf.constant([[7, 7, 1, 7, 7, 0], [2, 2, 9, 1, 1, 9]]), k=4)
    expected = model.answer_sessions(tf.constant([[5, 9, 9, 3]]), tf.constant([[0, 0, 1, 1]]), k=4)
    np.testing.assert_allclose(by_number[1], np.repeat(expected[1], 2, axis=0), atol=1e-6)
    single = model.answer_sessions(ids, tf.constant([[7, 7, 7, 7, 7, 0], [2, 2, 9, 2, 2, 9]]), k=4)
    np.testing.assert_allclose(
        single[1], np.repeat(model.answer(tf.constant([[5, 9, 9, 3]]), k=4)[1], 2, axis=0), atol=1e-6
    )


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"form": "both"}, "form='both': must be one of init, all"),
        ({"form": "al"}, "did you mean 'all'"),
        ({"user_in": "candidate"}, "user_in='candidate'"),
        ({"initialize": "none"}, "initialize='none'"),
        ({"embedding": "hash"}, "embedding='hash'"),
        ({"units": []}, r"units=\[\]"),
        ({"user_units": [0]}, r"user_units=\[0\]: must be a list of layer widths"),
        ({"embedding": "one_hot", "embedding_dropout": 0.2}, "embedding_dropout=0.2: must be 0 with"),
    ],
)
def test_bad_arguments_are_refused_by_name(shop, settings, named):
    with pytest.raises(InputError, match=named):
        model_of(shop, **settings)


def test_batches_without_users_are_refused(shop):
    with pytest.raises(InputError, match="by_user=True"):
        model_of(shop).fit(shop.train.batches(rows=4, steps=8), verbose=0)


def test_a_loaded_model_equals_the_saved_one(model, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == model.get_config()
    np.testing.assert_array_equal(encoded(loaded, [A], [B]), encoded(model, [A], [B]))
