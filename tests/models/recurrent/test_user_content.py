"""Features of users in `UserGRU`: the joined vector, users whom training never saw, exports and saved models."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tfrecsession import InputError, evaluation
from tfrecsession.events.shop.shop import Shop
from tfrecsession.sessions.prepare import prepare

SHOP = Shop(items=40, sessions=500, users=60, loyal=0.8, follow=0.1, taste=0.05, seed=3, days=6)
FEATURES = ["kind", "age", "tags", "bio", "face"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A loyal shop, split by users, whose table of users tells the cluster that each is loyal to."""
    out = tmp_path_factory.mktemp("shop") / "data"
    numbers = np.arange(SHOP.users)
    cluster = SHOP.own_cluster(numbers)
    users = {
        "user": [str(number) for number in numbers],
        "kind": [f"k{number}" for number in cluster],
        "age": [None if number == 3 else 20.0 + number for number in numbers],
        "tags": [[f"k{number}", "x"] for number in cluster],
        "bio": [f"likes k{number} a lot" for number in cluster],
        "face": [[float(number % 2), 0.5] for number in cluster],
    }
    content = ["kind", "age", "tags", "bio:words", "face"]
    prepare(SHOP.spec, out, hold_out="users", test_span="30%", min_item_support=1, users=users, user_content=content)
    return trs.load(out)


def model_of(data, **settings):
    keras.utils.set_random_seed(0)
    model = trs.models.UserGRU(
        data.items,
        **{"units": [6], "negatives": trs.negatives.Popularity(8), "dropout": 0.0, "cell": "linear", **settings},
    )
    model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(), [trs.metrics.Recall(5)])
    return model


@pytest.fixture(scope="module")
def trained(data):
    model = model_of(data, user_content=FEATURES)
    model.fit(data.train.batches(rows=8, steps=8), epochs=2, verbose=0)
    return model


def encoded(model, content, user):
    """c_u of one user of the table, in NumPy; `content` has the columns of the data set."""
    columns = {column.name: column for column in model.user_features.columns.columns}
    row = content["user"].index(user) if user in content["user"] else None
    total = 0.0
    for number, name in enumerate(FEATURES):
        column = columns[name]
        layer = model.user_content_layer.encoder.parts[number]
        names = {"missing": "missing", "table": "values", "projection": "projection"}
        part = {key: getattr(layer, own).numpy() for own, key in names.items() if hasattr(layer, own)}
        value = None if row is None else content[name][row]
        if value is None:
            total = total + part["missing"]
        elif column.kind in ("category", "list"):
            values = value if isinstance(value, list) else [value]
            total = total + np.mean([part["values"][2 + column.values.index(text)] for text in values], axis=0)
        elif column.kind == "number":
            z = np.clip((value - column.mean) / column.deviation, -5, 5)
            quantile = np.interp(value, column.quantiles, np.linspace(0, 1, len(column.quantiles)))
            hats = np.maximum(1 - np.abs(quantile - np.linspace(0, 1, 8)) * 7, 0)
            total = total + np.concatenate([[z], hats]) @ part["projection"] / 9
        elif column.kind == "vector":
            total = total + (np.array(value) - column.mean) / column.deviation @ part["projection"] / 2
        else:
            words = [word for word in value.split() if word in column.values]
            weight = np.array([column.weights[column.values.index(word)] for word in words])
            total = (
                total
                + (weight / np.linalg.norm(weight)) @ part["values"][[2 + column.values.index(word) for word in words]]
            )
    return total


def test_the_vector_is_the_sum_of_id_and_features(trained, data):
    """Users of training have both; those of the table alone the unknown id; unknown ones no features either."""
    content = {"user": data.users.ids.tolist(), **data.users.content.to_pydict()}
    content["face"] = data.users.tensors["face"].values.tolist()
    ids = trained.user_table.table.numpy()
    known = trained.user_features.trained
    assert ids.shape[0] == known + 2 < len(data.users) + 2
    codes = {user: code for code, user in enumerate(trained.context.columns["user"].values, 2)}
    for user in ("3", "7", *[user for user, code in codes.items() if code > known + 1][:2], "never"):
        code = codes.get(user, 1)
        expected = ids[code if code < known + 2 else 1] + encoded(trained, content, user)
        found = trained.user_vectors(tf.constant([[code]]))[0, 0]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_features_tell_the_taste_of_new_users(data):
    """Users whom training never saw are served better by their features than without."""
    found = {}
    for name, settings in {"id": {}, "both": {"user_content": "kind"}}.items():
        model = model_of(data, units=[12], **settings)
        model.fit(data.train.batches(rows=8, steps=8), epochs=6, verbose=0)
        found[name] = evaluation.evaluate(model, data.test, k=[5], slices=False, draws=0).metrics["recall@5"]
    assert found["both"] > found["id"] + 0.1


def test_features_alone(data):
    """Without ids, users with equal features get equal answers, and an unknown user that of no features."""
    model = model_of(data, user_content=["kind"], user_id=False)
    assert model.user_table is None
    kinds = dict(zip(data.users.ids, data.users.content["kind"].to_pylist(), strict=True))
    kind = next(kind for kind in kinds.values() if list(kinds.values()).count(kind) > 1)
    history = list(data.items.ids[:2])
    pair, other = [user for user in kinds if kinds[user] == kind][:2], next(u for u in kinds if kinds[u] != kind)
    scores = model.recommend([history] * 4, k=5, request={"user": [*pair, other, "never"]}).scores
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-5)
    assert not np.allclose(scores[0], scores[2]) and np.isfinite(scores).all()
    np.testing.assert_allclose(scores[3], model.recommend([history], k=5).scores[0], rtol=1e-5)


@pytest.mark.slow
def test_saved_and_exported_models_need_no_table(trained, data, tmp_path):
    trained.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    new = data.test.column("user")[0]
    assert new not in set(data.train.column("user"))
    history = list(data.items.ids[:2])
    signature = tf.saved_model.load(str(trained.export(tmp_path / "export" / "1", k=5))).signatures
    answers = []
    for user in ("3", new, "never", ""):
        expected = trained.recommend([history], k=5, request={"user": [user]}).scores
        np.testing.assert_array_equal(loaded.recommend([history], k=5, request={"user": [user]}).scores, expected)
        given = {"items": tf.constant([history]), "request_user": tf.constant([user])}
        np.testing.assert_allclose(signature["recommend_in_context"](**given)["scores"], expected, rtol=1e-4)
        answers.append(expected)
    assert not np.allclose(answers[1], answers[2])
    np.testing.assert_array_equal(answers[2], answers[3])
    plain = signature["serving_default"](items=tf.constant([history]))["scores"]
    np.testing.assert_allclose(plain, answers[3], rtol=1e-4)


def test_a_request_describes_its_user(trained, data, tmp_path):
    """An unknown user with the features of a known one is answered as one of the table, in Python and in the export."""
    content = {"user": data.users.ids.tolist(), **data.users.content.to_pydict()}
    model = model_of(data, user_content=["kind", "age"], describe_users=True)
    assert model.context.described == ("kind", "age") and model.reads.request == ("user",)
    model.fit(data.train.batches(rows=8, steps=8), epochs=1, verbose=0)
    new = next(user for user in data.test.column("user") if content["age"][content["user"].index(user)] is not None)
    row, history = content["user"].index(new), list(data.items.ids[:2])
    kind, age = content["kind"][row], content["age"][row]
    expected = model.recommend([history], k=5, request={"user": [new]}).scores
    unknown = model.recommend([history], k=5).scores
    assert not np.allclose(expected, unknown)
    described = {"kind": [kind, kind, None], "age": [age, age, None]}
    found = model.recommend([history] * 3, k=5, request={"user": ["never", "", "never"], **described}).scores
    np.testing.assert_allclose(found, [expected[0], expected[0], unknown[0]], rtol=1e-4)
    other = next(kind for kind in content["kind"] if kind not in (None, content["kind"][row]))
    moved = model.recommend([history], k=5, request={"user": [new], "kind": [other]}).scores
    assert not np.allclose(moved, expected)  # a request knows better than the table
    with pytest.raises(InputError, match="request: 'size' must be one that the model reads: user, kind, age"):
        model.recommend([history], request={"size": [3]})
    state = model.initial_state()
    for item in history:
        best, state = model.advance([item], state, k=5, request={"kind": [kind], "age": [age]})
    np.testing.assert_allclose(best.scores, expected, rtol=1e-4)

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.reads == model.reads and loaded.context.described == ("kind", "age")
    given = {"kind": [kind], "age": [age]}
    np.testing.assert_allclose(loaded.recommend([history], k=5, request=given).scores, expected, rtol=1e-4)
    signature = tf.saved_model.load(str(loaded.export(tmp_path / "export" / "1", k=5))).signatures
    texts = {"request_user": ["never"], "request_kind": [kind], "request_age": [str(age)]}
    texts = {name: tf.constant(text) for name, text in texts.items()}
    answer = signature["recommend_in_context"](items=tf.constant([history]), **texts)
    np.testing.assert_allclose(answer["scores"], expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"user_content": ["size"]}, "user_content='size': no such column; the users have: kind, age, tags, bio, face"),
        ({"user_content": ["age:words"]}, "user_content='age:words': its kind must be number, as it was prepared"),
        ({"user_id": False}, "user_id=False: must be True, or the users need features"),
        ({"describe_users": True}, "describe_users=True: must be False without features"),
        ({"user_id": 2}, "user_id=2: must be one of False, True"),
    ],
)
def test_refused(data, settings, message):
    with pytest.raises(InputError, match=message):
        model_of(data, **settings)


def test_a_data_set_without_features_is_refused():
    data = trs.synthetic_sessions(items=20, sessions=60, users=9, seed=1)
    with pytest.raises(InputError, match=r"user_content=\['age'\]: must be left out: this data set has no features of"):
        model_of(data, user_content=["age"])
