"""Features of users in `TwoTower`: new users of the table are answered by them, in Python and in an export."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tfrecsession import InputError
from tfrecsession.events.shop.shop import Shop
from tfrecsession.sessions.prepare import prepare

SHOP = Shop(items=100, sessions=900, users=60, loyal=0.8, follow=0.1, taste=0.05, seed=3, days=6)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    out = tmp_path_factory.mktemp("shop") / "data"
    cluster = SHOP.own_cluster(np.arange(SHOP.users))
    users = {"user": list(range(SHOP.users)), "kind": [f"k{number}" for number in cluster]}
    prepare(SHOP.spec, out, hold_out="users", test_span="30%", min_item_support=1, users=users)
    return trs.load(out)


@pytest.fixture(scope="module")
def trained(data):
    keras.utils.set_random_seed(0)
    model = trs.models.TwoTower(
        data.items, dim=8, features=[], user_content=["kind"], negatives=trs.negatives.InBatch()
    )
    model.compile(trs.optimizers.LazyAdagrad(0.3), trs.losses.CrossEntropy(logq=1.0))
    model.fit(data.train, epochs=20, rows=64, verbose=0)
    return model


def test_new_users_are_answered_by_their_features(trained, data):
    """Most of their items are of the cluster that they are loyal to, which only their feature tells."""
    new = np.unique(data.test.column("user"))
    assert not set(new) & set(data.train.column("user"))
    found = trained.recommend_users([*new, "never"], k=5).items
    numbers = np.char.replace(found.astype(str), "item-", "").astype(int)  # (users, 5)
    is_own = SHOP.cluster[numbers][:, :, None] == SHOP.own_cluster(new.astype(int))  # (users, 5, new users)
    share = np.mean([is_own[row, :, row] for row in range(len(new))])
    popular = is_own[-1].mean()
    assert share > popular + 0.1


def test_the_vector_has_the_features(trained, data):
    codes = tf.constant([data.users.encode([data.users.ids[-1]])[0]])
    expected = trained.user_tower(tf.zeros([1, 8]), trained.nobody + trained.user_content_layer(codes))
    row = trained.users.tolist().index(data.users.ids[-1])
    np.testing.assert_allclose(trained.user_vectors[row], expected[0], rtol=1e-5)
    assert sorted(trained.users) == sorted(data.users.ids)


def test_saved_and_exported(trained, data, tmp_path, monkeypatch):
    trained.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    users = [data.users.ids[-1], data.users.ids[0], "never"]
    expected = trained.recommend_users(users, k=5)
    np.testing.assert_array_equal(loaded.recommend_users(users, k=5).items, expected.items)
    served = tf.saved_model.load(str(trained.export(tmp_path / "export" / "1", k=5))).signatures["users"]
    answer = served(users=tf.constant(users))
    np.testing.assert_array_equal(answer["items"].numpy().astype(str), expected.items.astype(str))
    monkeypatch.setattr(data.items, "users", None)
    with pytest.raises(InputError, match="x: must be sessions of a data set with the 60 users of user_content="):
        trained.fit(data.train)
