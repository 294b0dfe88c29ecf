"""A network from content to the vectors of a fitted model: by hand, with every kind of teacher, served and added to."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tfrecsession import InputError
from tfrecsession.cli import main

COLUMNS = ["title", "goes_with", "category", "price"]


@pytest.fixture(scope="module")
def data():
    """A small described shop; some of its items are born after training."""
    return trs.synthetic_sessions(items=60, sessions=400, seed=1, late=0.4, described=True, unseen_items="add")


@pytest.fixture(scope="module")
def als(data):
    model = trs.models.ALS(data.items, factors=5)
    model.fit(data.train)
    return model


def student(data, content=COLUMNS, **settings):
    keras.utils.set_random_seed(1)
    model = trs.models.ContentToFactors(data.items, content=content, **settings)
    model.compile(trs.optimizers.LazyAdagrad(0.1), metrics=[trs.metrics.Recall(20)])
    return model


@pytest.fixture(scope="module")
def model(data, als):
    made = student(data)
    made.fit(data.train, teacher=als, epochs=3, verbose=0)
    return made


def ids_of(data, seen):
    return np.flatnonzero(np.r_[False, False, (data.items.counts > 0) == seen])


def test_the_loss_by_hand(data, als):
    """The mean squared error of vectors, and of the scores of histories, over that of the mean vector."""
    ids = ids_of(data, seen=True)
    v = als.item_vectors().numpy()[ids].astype(np.float64)
    for error in ("vectors", "scores"):
        model = student(data, ["category"], layers=[], error=error, teacher=als)
        batches = model.training_batches(data.train, {"rows": len(ids)}, 0)
        part = model.output_items.encoder.parts[0]
        codes = model.item_content(ids)["category"].numpy()[:, 0]
        scale = np.sqrt(((v - v.mean(axis=0)) ** 2).mean())
        predicted = v.mean(axis=0) + scale * part.table.numpy()[codes]
        if error == "vectors":
            x = np.eye(v.shape[1])
        else:
            from tfrecsession.models.content.teachers import queries_of

            x = queries_of(als, data.train)
            assert len(x) == len(data.train) and x.shape[1] == v.shape[1]
        expected = (((v - predicted) @ x.T) ** 2).mean() / (((v - v.mean(axis=0)) @ x.T) ** 2).mean()
        loss = model.fit(batches, epochs=1, verbose=0).history["loss"][0]
        assert loss == pytest.approx(expected, rel=1e-3)


def test_a_step_moves_the_network_alone(data, als):
    model = student(data, teacher=als)
    batches = model.training_batches(data.train, {"rows": 16}, 0)
    own = {id(variable) for variable in model.trainable_variables}
    assert own and not own & {id(weight) for weight in als.weights}
    before = {weight.path: np.array(weight) for weight in als.weights}
    first = [np.array(variable) for variable in model.trainable_variables]
    model.fit(batches, epochs=1, verbose=0)
    assert all(np.array_equal(before[weight.path], weight) for weight in als.weights)
    moved = [not np.array_equal(a, b) for a, b in zip(first, model.trainable_variables, strict=True)]
    assert sum(moved) >= len(moved) - len(COLUMNS)  # no item lacks a value, so these vectors stay
    seen = np.concatenate([batch["item"].numpy()[batch["weight"].numpy() > 0] for batch in batches])
    assert sorted(seen) == ids_of(data, seen=True).tolist()


def test_items_without_a_vector_get_the_students(data, als, model):
    seen, unseen = ids_of(data, True), ids_of(data, False)
    assert len(unseen) > 5
    table = model.item_vectors().numpy()
    np.testing.assert_array_equal(table[seen], als.item_vectors().numpy()[seen])
    content = data.items.content.to_pydict()
    content = {name: [content[name][id - 2] for id in unseen] for name in COLUMNS}
    content["item"] = [f"as-{id}" for id in unseen]
    np.testing.assert_allclose(model.encode_items(content), table[unseen], rtol=1e-4, atol=1e-6)
    whole = student(data, replace="all")
    whole.fit(data.train, teacher=als, epochs=1, verbose=0)
    assert (whole.item_vectors().numpy()[seen] != table[seen]).any(axis=1).all()


def test_histories_are_the_teachers(data, als, model):
    names = data.items.ids
    seen, unseen = names[ids_of(data, True) - 2].tolist(), names[ids_of(data, False) - 2].tolist()
    history = [seen[3], unseen[0], seen[8]]
    found = model.recommend([history], k=len(seen), candidates=seen)
    expected = als.recommend([[seen[3], seen[8]]], k=len(seen), candidates=seen)
    assert found.items.tolist() == expected.items.tolist()
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5, atol=1e-6)
    x = als.query_vectors(als.items.encode([seen[3], seen[8]])[None]).numpy()
    answer = model.recommend([history], k=len(names))
    scores = dict(zip(answer.items[0], answer.scores[0], strict=True))
    vectors = model.item_vectors().numpy()[model.items.encode(unseen)]
    np.testing.assert_allclose([scores[name] for name in unseen], vectors @ x[0], rtol=1e-4, atol=1e-6)
    assert not {unseen[0], seen[3]} & set(model.recommend([history], k=len(names), exclude_seen=True).items[0])
    assert model.recommend([[unseen[0]]], k=3).items[0].tolist() == names[:3].tolist()  # nothing known: popular items


TEACHERS = {
    "context": ("GRU4Rec", {"context": ["gap"], "request": ["hour"], "units": [6]}),
    "content": ("GRU4Rec", {"content": ["title"], "units": [6]}),
    "core": ("CORE", {"dim": 6, "window": 4}),
    "two_tower": ("TwoTower", {"dim": 6}),
    "factors": ("MatrixFactorization", {"dim": 6}),
    "aggregation": ("SessionAggregation", {"dim": 6}),
}


@pytest.mark.parametrize("name", ["context", *(pytest.param(n, marks=pytest.mark.slow) for n in list(TEACHERS)[1:])])
def test_every_teacher_with_item_vectors(data, tmp_path, name):
    seen = data.items.ids[data.items.counts > 0].tolist()
    keras.utils.set_random_seed(1)
    cls, settings = TEACHERS[name]
    teacher = getattr(trs.models, cls)(data.items, **settings)
    if teacher.learning is not None:
        teacher.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy())
        teacher.fit(data.train, epochs=1, verbose=0)
    model = student(data, ["goes_with", "price"], error="scores")
    loss = model.fit(data.train, teacher=teacher, epochs=5, verbose=0).history["loss"]
    assert loss[-1] < loss[0]
    found = model.recommend([seen[:3], seen[5:6]], k=8, candidates=seen)
    expected = teacher.recommend([seen[:3], seen[5:6]], k=8, candidates=seen)
    assert found.items.tolist() == expected.items.tolist()
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4, atol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.recommend([seen[:3]], k=9).items.tolist() == model.recommend([seen[:3]], k=9).items.tolist()
    assert teacher.learning is None or teacher.optimizer is not None  # the file has none


@pytest.mark.slow
def test_new_items_in_an_export(data, model, tmp_path):
    model.export(tmp_path / "1", k=20, index="exact-bf16")
    row = ids_of(data, True)[0] - 2
    new = {"item": ["new"], **{name: [data.items.content[name][row].as_py()] for name in COLUMNS}}
    path, added = trs.export.add_items(tmp_path, new, key="item")
    assert added == ["new"]
    larger = trs.training.add_items(model, new, key="item")
    vector = model.output_items.predict(model.item_content([row + 2])).numpy()[0]
    np.testing.assert_allclose(larger.item_vectors()[-1], vector, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(larger.item_vectors()[:-1], model.item_vectors())
    history = [data.items.ids[3:6].tolist()]
    everything = trs.export.ask(path, history)[0][0].tolist()
    best = larger.recommend(history, k=20).items[0].tolist()
    assert ("new" in everything) == ("new" in best)
    assert larger.recommend([["new", *history[0]]], k=5).items.tolist() == larger.recommend(history, k=5).items.tolist()


@pytest.mark.slow
def test_users_of_the_teacher_get_new_items(data, als, model, tmp_path):
    user, size = als.users[3], len(data.items)
    assert als.users.tolist() == model.users.tolist()
    found = model.recommend_users([user, "nobody"], k=size)
    expected = als.user_vectors.numpy()[3] @ model.item_vectors().numpy()[2:].T
    scores = dict(zip(found.items[0], found.scores[0], strict=True))
    np.testing.assert_allclose([scores[item] for item in data.items.ids], expected, rtol=1e-4, atol=1e-5)
    assert found.items[1, :3].tolist() == data.items.ids[:3].tolist()
    path = model.export(tmp_path / "1", k=9)
    new = {"item": ["new"], **{name: [data.items.content[name][0].as_py()] for name in COLUMNS}}
    for version in (path, trs.export.add_items(path, new)[0]):
        served = tf.saved_model.load(str(version)).signatures["users"](users=tf.constant([user]))
        items = [item.decode() for item in served["items"][0].numpy()]
        assert [item for item in items if item != "new"] == found.items[0, :9].tolist()[: 9 - ("new" in items)]
    gru = trs.models.GRU4Rec(data.items, units=[4])
    gru.fitted = True
    with pytest.raises(InputError, match="the teacher, a GRU4Rec, knows no users by id"):
        student(data, teacher=gru).recommend_users([user])


def test_a_teacher_of_the_catalogue_without_new_items(data):
    known = trs.synthetic_sessions(items=60, sessions=400, seed=1, late=0.4, described=True)
    assert len(known.items) < len(data.items)
    teacher = trs.models.ALS(known.items, factors=4)
    teacher.fit(known.train)
    model = student(data)
    model.fit(data.train, teacher=teacher, epochs=2, verbose=0)
    size = teacher.size
    np.testing.assert_array_equal(model.item_vectors()[2:size], teacher.item_vectors()[2:])
    assert np.abs(model.item_vectors()[size:]).max() > 0
    history = [[known.items.ids[0], data.items.ids[-1]]]
    assert set(model.recommend(history, k=len(data.items)).items[0]) == set(data.items.ids)


def test_what_cannot_teach(data, als):
    other = trs.synthetic_sessions(items=30, sessions=100, seed=2)
    knn, hrnn = trs.models.ItemKNN(data.items), trs.models.HRNN(data.items, units=[4], user_units=[4])
    of_others = trs.models.ALS(other.items, factors=3)
    gru = trs.models.GRU4Rec(data.items, units=[4])
    for teacher, message in (
        ("runs/als", "teacher='runs/als': must be a fitted model of trs.models that has item vectors"),
        (knn, "teacher: this ItemKNN has no item vectors"),
        (trs.models.GRU4Rec(data.items, units=[4], repeats=True), "has no item vectors"),
        (hrnn, "teacher: this HRNN reads the earlier sessions of a user"),
        (trs.models.GRU4Rec(data.items, units=[4], trend=[1]), "fit it with trend="),
        (of_others, r"teacher: this ALS is of other data: its vocabulary is \w+ \(28 items\)"),
        (gru, "teacher: this GRU4Rec is not fitted: fit it first"),
        (None, "teacher=None: must be a fitted model"),
    ):
        with pytest.raises(InputError, match=message):
            student(data).fit(data.train, teacher=teacher, verbose=0)
    model = student(data, teacher=als)
    with pytest.raises(InputError, match="teacher: must be left out, this model has one"):
        model.fit(data.train, teacher=trs.models.ALS(data.items), verbose=0)
    with pytest.raises(InputError, match=r"x: must be data.train without weighted"):
        model.fit(data.train.weighted(session_decay=2), verbose=0)
    with pytest.raises(InputError, match="least_events=100000: must be lower"):
        student(data, teacher=als, least_events=100000).fit(data.train, verbose=0)
    with pytest.raises(InputError, match="loss=.*must be 'mean_squared_error'"):
        model.compile("adam", "mean_absolute_error")
    with pytest.raises(InputError, match="content: must name a column, this data set has none"):
        trs.models.ContentToFactors(trs.sessions.vocabulary.Items(["a", "b"], [2, 1]))
    with pytest.raises(InputError, match="error='vector': must be one of vectors, scores; did you mean 'vectors'"):
        student(data, error="vector")


@pytest.mark.slow
def test_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shop = trs.events.Shop(items=60, sessions=400, seed=1, late=0.4, described=True)
    shop.write_parquet("log.parquet")
    trs.prepare("log.parquet", "data", items=shop.item_table(), unseen_items="add", test_span="1d")
    assert main(["train", "data", "--model", "als", "--set", "factors=5", "--out", "runs_als"]) == 0
    words = ["train", "data", "--model", "content_to_factors", "--set", "content=[goes_with,price]", "--epochs", "2"]
    assert main([*words, "--set", "teacher=runs_als", "--out", "s2", "--json", "s2.json"]) == 0
    told = json.loads((tmp_path / "s2.json").read_text())
    assert told["teacher"] == {"model": "als", "run": "runs_als", "refit": False}
    assert told["metrics"]["recall@20"] > 0
    assert main(["export", "s2", "--out", "saved", "--k", "50"]) == 0
    data = trs.load("data")
    unseen = set(data.items.ids[data.items.counts == 0])
    answer = trs.export.ask("saved", [data.items.ids[:2].tolist()])
    assert unseen & set(answer[0][0])
    capsys.readouterr()
    trs.prepare("log.parquet", "other", items=shop.item_table(), test_span="2d")
    for more, message in (
        (["--set", "teacher=nowhere"], "teacher='nowhere': nowhere is not a run folder"),
        (["--set", "teacher=runs_als", "--refit"], "--refit: must be left out with teacher='runs_als'"),
        (["--set", "teacher=gru4rec"], "teacher='gru4rec': must be fitted first"),
        (["--set", "sampler=uniform"], "sampler='uniform': must be left out, content_to_factors samples no negatives"),
        (["--set", "finetune_days=1"], "finetune_days: must be left out"),
    ):
        assert main([*words, *more, "--out", "s3"]) != 0
        assert message in capsys.readouterr().err.replace("\n", " ")
    assert main(["train", "other", *words[2:], "--set", "teacher=runs_als", "--out", "s3"]) != 0
    assert "train the teacher on the same data set" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.slow
def test_items_that_the_teacher_has_never_seen_are_found():
    data = trs.synthetic_sessions(
        items=400, sessions=4000, seed=1, late=0.3, described=True, unseen_items="add", follow=0.7, taste=0.2
    )
    unseen = data.items.counts == 0

    def recall(scored, of_unseen):
        targets = data.test.values[scored.event]
        return float((scored.ranks[unseen[targets - 2] == of_unseen] <= 20).mean())

    keras.utils.set_random_seed(1)
    teacher = trs.models.GRU4Rec(data.items, units=[64])
    teacher.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0))
    teacher.fit(data.train.batches(rows=32, steps=16), epochs=6, verbose=0)
    model = student(data)
    model.fit(data.train, teacher=teacher, epochs=50, verbose=0)
    alone, taught = (trs.evaluation.evaluate(scorer, data.test) for scorer in (teacher, model))
    assert recall(alone, True) < 0.05 and recall(taught, True) > 0.5  # chance is 20 of 400
    assert recall(taught, False) > recall(alone, False) - 0.02
