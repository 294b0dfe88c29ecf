"""Sequence models that learn the best items of a teacher."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tests.logs import packed
from tests.numpy_reference import softmax
from tfrecsession import InputError, evaluation, training
from tfrecsession.recommender import distilling

SMALL = {"units": [8], "rows": 16, "steps": 8, "epochs": 1, "negatives": 32, "dropout": 0.0}
BATCH = packed([[2, 3, 2, 2], [4, 4]], [[4, 5, 6, 7, 8]])
TARGETS = np.array([[3, 2, 2, 0, 4, 1], [5, 6, 7, 8, 0, 0]], np.int32)


@pytest.fixture(scope="module")
def data():
    return trs.synthetic_sessions(items=40, sessions=300, seed=1)


@pytest.fixture(scope="module")
def markov(data):
    markov = trs.models.MarkovChain(data.items)
    markov.fit(data.train)
    return markov


def student(data, **settings):
    keras.utils.set_random_seed(0)
    return training.build("gru4rec", data.items, training.settings_of("gru4rec", SMALL, settings))


def scores_after(model, row, step):
    """Returns the scores of all items after an event of BATCH, float [items]."""
    first = step - BATCH["position"][row, step]
    history = [model.items.decode(BATCH["items"][row, first : step + 1]).tolist()]
    answer = model.recommend(history, k=len(model.items))
    ids = model.items.encode(answer.items[0].tolist())
    return answer.scores[0][np.argsort(ids)].astype(float)


@pytest.mark.parametrize("kind", ["counted", "network", "blend"])
@pytest.mark.parametrize("repeats", [False, True])
def test_the_loss(data, markov, kind, repeats, monkeypatch):
    """The student's probabilities within the teacher's list, whose own are shares or a softmax; weights count."""
    monkeypatch.setattr(distilling, "LISTED", 7)
    network = student(data)
    teacher = {"counted": markov, "network": network, "blend": trs.models.Blend([markov, network])}[kind]
    model = student(data, repeats=repeats, sampler="full")  # no draw: the sum of the softmax is exact
    for weight in model.repeat_head.weights if repeats else ():
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    counts = np.random.default_rng(1).uniform(size=TARGETS.shape)
    with model.taught_by(teacher, 0.3):
        found = model.distilled(tf.constant(2.0), BATCH, model.encode(BATCH), TARGETS, counts)
    total = 0.0
    for row, step in np.argwhere(TARGETS > 1):
        listed = scores_after(teacher, row, step)
        best = np.argsort(-listed, kind="stable")[:7]
        wanted = softmax(listed[best]) if kind == "network" else np.maximum(listed[best], 0) / listed[best].sum()
        likely = softmax(scores_after(model, row, step)[best])
        total -= counts[row, step] * (wanted * np.log(likely)).sum()
    expected = 0.7 * 2.0 + 0.3 * total / counts[TARGETS > 1].sum()
    assert float(found) == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_a_student_learns_its_teacher(data, markov):
    """A student of the teacher alone orders the items as the teacher does; without one, training is as before."""
    models = {}
    for name, teacher in (("taught", markov), ("alone", None)):
        models[name] = student(data)
        models[name].fit(
            data.train.batches(rows=16, steps=8, seed=0), epochs=3, verbose=0, teacher=teacher, teacher_weight=1.0
        )
    histories = [[item] for item in data.items.ids[:20]]
    wanted = markov.recommend(histories, 5).items
    shared = {}
    for name, model in models.items():
        lists = zip(model.recommend(histories, 5).items, wanted, strict=True)
        shared[name] = np.mean([len({*ours} & {*theirs}) for ours, theirs in lists])
    assert shared["taught"] > shared["alone"] + 0.3
    plain = student(data)
    plain.fit(data.train.batches(rows=16, steps=8, seed=0), epochs=3, verbose=0)
    np.testing.assert_array_equal(plain.recommend(histories, 5).scores, models["alone"].recommend(histories, 5).scores)


@pytest.mark.slow
def test_a_run_teaches_by_its_name(data, tmp_path):
    trs.prepare("synthetic:items=40,sessions=300,seed=1", tmp_path / "data", test_span="10%", validation_span="10%")
    data = trs.load(tmp_path / "data")
    training.train(data, "markov", tmp_path / "markov", training.settings_of("markov"))
    given = {**SMALL, "teacher": str(tmp_path / "markov")}
    training.train(data, "gru4rec", tmp_path / "run", training.settings_of("gru4rec", given))
    assert training.open_run(tmp_path / "run").info["teacher"]["model"] == "markov"
    taught = training.open_run(tmp_path / "run").model()  # without the teacher
    assert not any("markov" in weight.path for weight in taught.weights)


def test_teachers_that_cannot_teach(data, markov):
    other = trs.synthetic_sessions(items=30, sessions=200, seed=2)
    stranger = trs.models.MarkovChain(other.items)
    stranger.fit(other.train)
    both_ends = student(data, bidirectional=True)
    for teacher, model, message in (
        ("runs/markov", student(data), "teacher='runs/markov': must be a fitted model of trs.models"),
        (stranger, student(data), "this MarkovChain is of other data"),
        (both_ends, student(data), "this GRU4Rec reads more than the items of a session up to an event"),
        (markov, student(data, trend=[1.0]), "must be left out, GRU4Rec with trend learns from the log alone"),
    ):
        with pytest.raises(InputError, match=message):
            model.fit(data.train, teacher=teacher, verbose=0)
    with pytest.raises(InputError, match="teacher='markov': must be a run folder"):
        training.fit(student(data), data, training.settings_of("gru4rec", SMALL, {"teacher": "markov"}))
    with pytest.raises(InputError, match="teacher_weight=2"):
        student(data).fit(data.train, teacher=markov, teacher_weight=2, verbose=0)


@pytest.mark.slow
def test_a_small_student_is_not_worse_with_a_teacher():
    """The teacher is a larger network, on the shop, whose best attainable scores are known."""
    data = trs.synthetic_sessions(items=200, sessions=4000, seed=1)
    common = {"rows": 32, "epochs": 4, "negatives": 256}
    keras.utils.set_random_seed(0)
    teacher = training.build("gru4rec", data.items, settings := training.settings_of("gru4rec", common))
    training.fit(teacher, data, settings)
    found = {}
    for name, taught in (("alone", {}), ("taught", {"teacher": teacher, "teacher_weight": 0.5})):
        settings = training.settings_of("gru4rec", common, {"units": [12], "dropout": 0.0})
        keras.utils.set_random_seed(0)
        model = training.build("gru4rec", data.items, settings)
        training.fit(model, data, {**settings, **taught})
        found[name] = evaluation.evaluate(model, data.test, slices=False, draws=0).metrics
    assert all(found["taught"][metric] > found["alone"][metric] - 0.002 for metric in ("recall@20", "mrr@20")), found
