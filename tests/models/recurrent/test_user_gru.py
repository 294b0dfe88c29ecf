"""User-based GRU: whose vector is read, what trains it, and answers for known and unknown users."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tfrecsession import InputError, evaluation

SHOP = {"items": 40, "sessions": 300, "users": 30, "loyal": 0.6, "follow": 0.2, "taste": 0.1, "seed": 2}


@pytest.fixture(scope="module")
def data():
    return trs.synthetic_sessions(**SHOP)


def model_of(data, **settings):
    settings = {"units": [6], "negatives": trs.negatives.Popularity(8), "dropout": 0.0, **settings}
    return trs.models.UserGRU(data.items, **settings)


@pytest.fixture(scope="module")
def trained(data):
    keras.utils.set_random_seed(0)
    model = model_of(data)
    model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(), [trs.metrics.Recall(5)])
    model.fit(data.train.batches(rows=8, steps=8), validation_data=data.validation, epochs=2, verbose=0)
    return model


def test_every_batch_knows_its_users(data):
    """Every event has its user; users that train never saw are unknown in test, and those without a name missing."""
    model = model_of(data)
    assert (model.reads.users, model.reads.request) == ("ids", ("user",))
    known = model.context.columns["user"].values
    sessions, users = data.test, data.test.column("user")
    for batch, targets in sessions.batches(context=model.context).as_numpy_iterator():
        cells = batch["segment"] > 0
        assert (batch["request/user"][cells] > 0).all()
        assert ((targets > 0) == cells).all()
    codes = sessions.encoded(model.context)["request/user"]
    expected = [known.index(user) + 2 if user in known else 0 if user is None else 1 for user in users]
    np.testing.assert_array_equal(codes, np.repeat(expected, np.diff(sessions.offsets)))
    events = np.bincount(
        [known.index(user) for user in data.train.column("user")], np.diff(data.train.offsets), len(known)
    )
    assert (np.diff(events) <= 0).all()


def test_users_change_answers(trained, data):
    history, users = [data.items.ids[3], data.items.ids[5]], trained.context.columns["user"].values[:2]
    both = trained.recommend([history, history], k=10, request={"user": list(users)})
    assert not np.allclose(both.scores[0], both.scores[1])
    unknown = trained.recommend([history] * 3, k=10, request={"user": ["nobody-knows", None, ""]})
    plain = trained.recommend([history], k=10)
    for row in range(3):
        np.testing.assert_allclose(unknown.scores[row], plain.scores[0], rtol=1e-6)
    assert not np.allclose(both.scores[0], plain.scores[0])
    with pytest.raises(InputError, match=r"request\['user'\]: must have a value for each of the 1 histories"):
        trained.recommend([history], request={"user": ["a", "b"]})


def test_event_by_event_it_is_the_same(trained, data):
    user, state = trained.context.columns["user"].values[4], trained.initial_state()
    for step in range(1, 4):
        best, state = trained.advance([data.items.ids[step]], state, k=5, request={"user": [user]})
        expected = trained.recommend([data.items.ids[1 : step + 1]], k=5, request={"user": [user]})
        np.testing.assert_allclose(best.scores, expected.scores, rtol=1e-5)


def test_a_step_updates_its_users_alone(data):
    """With user dropout the vector of unknown users too; no user's vector else."""
    model = model_of(data, user_dropout=0.5)
    model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy())
    batch, targets = next(data.train.batches(rows=8, steps=4, context=model.context).as_numpy_iterator())
    before = model.user_table.table.numpy()
    keras.utils.set_random_seed(1)
    model.train_on_batch(batch, targets)
    changed = np.flatnonzero((model.user_table.table.numpy() != before).any(axis=1))
    assert 1 in changed and len(changed) > 1
    assert set(changed) <= {1, *batch["request/user"][batch["segment"] > 0]}
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model.encode(batch, training=True))
    assert isinstance(tape.gradient(loss, model.user_table.table.value), tf.IndexedSlices)


@pytest.mark.slow
def test_the_export_answers_for_users(trained, data, tmp_path):
    path = trained.export(tmp_path / "model" / "1", k=5)
    loaded = tf.saved_model.load(str(path))
    history, user = list(data.items.ids[2:4]), trained.context.columns["user"].values[1]
    signature = loaded.signatures["recommend_in_context"]
    for name in (user, "nobody-knows", ""):
        found = signature(items=tf.constant([history]), request_user=tf.constant([name]))["scores"]
        expected = trained.recommend([history], k=5, request={"user": [name]}).scores
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    plain = loaded.signatures["serving_default"](items=tf.constant([history]))["scores"]
    np.testing.assert_allclose(plain, trained.recommend([history], k=5).scores, rtol=1e-5)
    assert user not in (path / "assets.extra" / "tfrecsession.json").read_text()


def test_a_saved_model_knows_its_users(trained, data, tmp_path):
    trained.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    user = trained.context.columns["user"].values[3]
    before, after = (m.recommend([data.items.ids[:2]], k=5, request={"user": [user]}) for m in (trained, loaded))
    np.testing.assert_array_equal(before.scores, after.scores)
    assert loaded.reads == trained.reads


def test_joined_histories_and_other_models_take_users(data):
    joined = model_of(data, joined=True, cell="linear")
    assert joined.reads.users == "joined"
    batches = data.train.batches(rows=4, steps=12, by_user="joined", context=joined.context)
    batch, targets = next(batches.as_numpy_iterator())
    for row in range(4):
        for user in np.unique(batch["segment"][row][batch["segment"][row] > 0]):
            of_user = (batch["segment"][row] == user) & (targets[row] > 0)
            assert len(set(batch["request/user"][row][of_user])) == 1
    plain = trs.models.GRU4Rec(data.items, units=[6], request=["user"])
    assert plain.reads.request == ("user",)
    assert evaluation.evaluate(plain, data.test, slices=False, draws=0).events > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cell": "gru"}, "cell='gru': must be one of linear, rectified, attentional"),
        ({"user_dropout": 0}, "user_dropout=0: must be a number from 0 to 1"),
        ({"user_dim": 0}, "user_dim=0: must be a whole number, at least 1, or None"),
    ],
)
def test_bad_arguments(data, settings, message):
    with pytest.raises(InputError, match=message):
        model_of(data, **settings)


def test_a_log_without_users_is_refused():
    alone = trs.synthetic_sessions(items=20, sessions=60, seed=1)
    alone.train.column("user")[:] = None
    with pytest.raises(InputError, match="request: 'user': the log names no users: prepare it with user=COLUMN"):
        model_of(alone)


def test_the_context_needs_users(data):
    with pytest.raises(InputError, match="must be a Context with the column 'user'"):
        model_of(data, context=data.context(["hour"]))
    model = model_of(data, context=data.context(["hour"], request=["user", "hour"]))
    assert model.reads.request == ("user", "hour")
