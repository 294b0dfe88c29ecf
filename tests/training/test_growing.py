"""Continued training of a model on a newer log."""

import json
import random

import keras
import numpy as np
import pyarrow as pa
import pytest

import tfrecsession as trs
from tests.training.dying import Kill, Killed
from tfrecsession import InputError, evaluation, training
from tfrecsession.cli import main
from tfrecsession.sessions.store import SessionArrays
from tfrecsession.sessions.vocabulary import Items

SMALL = {"epochs": 1, "rows": 8, "steps": 8, "negatives": 16, "units": [6]}
GROWING = {
    "tied": ("gru4rec", SMALL | {"optimizer": "adam", "learning_rate": 0.01}),
    "separate": ("gru4rec", SMALL | {"embedding": "separate", "dim": 5, "momentum": 0.5}),
    "one-hot": ("gru4rec", SMALL | {"embedding": "one_hot", "sampler": "in_batch+popularity"}),
    "lanes": ("gru4rec", SMALL | {"lanes": 4, "steps": 2}),
    "narm": ("narm", SMALL | {"dim": 6, "sampler": "full"}),
    "hrnn": ("hrnn", SMALL | {"lanes": 4, "user_units": [6]}),
}
QUICKLY = ("tied", "hrnn")
pytestmark = pytest.mark.filterwarnings("ignore:.*begin before an earlier one")


def log(names, sessions, seed):
    """Returns a log of sessions of 3 to 6 items, each a walk among these names."""
    rng, rows = np.random.default_rng(seed), []
    for session in range(sessions):
        index = rng.integers(len(names))
        for step in range(rng.integers(3, 7)):
            rows.append((session, session % 20, names[index], 1_700_000_000 + 1000 * session + step))
            index = (index + rng.integers(1, 4)) % len(names)
    session, user, item, time = zip(*rows, strict=True)
    return pa.table({"session": session, "user": user, "item": item, "time": time})


def prepared(folder, names, seed):
    trs.prepare(log(names, 120, seed), folder, test_span="20%", validation_span="0d")
    return trs.load(folder)


OLD = [f"{letter}{number}" for letter in "abc" for number in range(6)]
NEW = [*OLD[4:], *[f"{letter}new{number}" for letter in "abz" for number in range(3)]]


@pytest.fixture(scope="module")
def older(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("older") / "data", OLD, 1)


@pytest.fixture(scope="module")
def newer(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("newer") / "data", NEW, 2)


def trained(name, older):
    keras.utils.set_random_seed(3)
    model, own = GROWING[name]
    settings = training.settings_of(model, own)
    built = training.build(model, older.items, settings)
    training.fit(built, older, settings)
    return built


@pytest.fixture(scope="module")
def model(older):
    return trained("tied", older)


def rows(items, of):
    """Returns the rows of the common names in `of` and in `items`."""
    names = [name for name in of.ids if name in set(items.ids)]
    return of.encode(names), items.encode(names)


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICKLY else pytest.mark.slow) for n in GROWING])
def test_known_items_and_other_weights_keep_their_values(name, model, older, newer):
    model = model if name == "tied" else trained(name, older)
    before = [np.array(weight) for weight in model.weights]
    grown = training.grow(model, newer)
    assert all((np.array(weight) == kept).all() for weight, kept in zip(model.weights, before, strict=True))

    # the newer data's items come first, items that are gone come after them
    assert grown.items.ids[: len(newer.items)].tolist() == newer.items.ids.tolist()
    assert set(grown.items.ids) == set(OLD) | set(NEW)
    gone = set(OLD) - set(NEW)
    assert {i for i, count in zip(grown.items.ids, grown.items.counts, strict=True) if not count} == gone
    assert grown.item_counts.numpy()[2:].tolist() == grown.items.counts.tolist()

    was, now = rows(grown.items, older.items)
    assert len(was) == len(OLD) and (was != now).any()  # rows have been permuted
    tables = {
        id(v) for layer in {grown.output_items, getattr(grown, "input_items", None)} - {None} for v in layer.weights
    }
    assert len(tables) == {"tied": 2, "lanes": 2, "narm": 1, "hrnn": 2}.get(name, 3)
    grown_state, state = grown.optimizer.state, model.optimizer.state
    assert list(grown_state) == list(state)
    assert grown.optimizer.iterations == model.optimizer.iterations > 0
    for index, (one, other) in enumerate(zip(model.trainable_variables, grown.trainable_variables, strict=True)):
        held = [(one, other), *((state[slot][index], grown_state[slot][index]) for slot in state)]
        for number, (old, new) in enumerate(held):
            old, new = old.numpy(), new.numpy()
            if id(other) in tables:
                assert old.shape[0] == older.items.size and new.shape[0] == grown.items.size
                assert (new[now] == old[was]).all() and (new[:2] == old[:2]).all()
                fresh = grown.items.encode([name for name in NEW if name not in OLD])
                assert not number or not new[fresh].any()  # the state of a new row is that of an untouched one
            else:
                assert (new == old).all()

    # old histories give old items the same scores
    for history in (["a1", "c5", "b2"], ["a0"], ["b0", "gone-for-good", "b1"]):
        one = dict(zip(*(part[0] for part in model.recommend([history], k=len(OLD))), strict=True))
        other = dict(zip(*(part[0] for part in grown.recommend([history], k=len(grown.items))), strict=True))
        assert set(one) <= set(other)
        np.testing.assert_allclose([other[item] for item in one], list(one.values()), rtol=1e-5, atol=1e-6)


def test_items_that_are_gone_can_be_dropped(model, older, newer):
    grown = training.grow(model, newer, gone="drop")
    assert grown.items.fingerprint == newer.items.fingerprint
    was, now = rows(newer.items, older.items)
    assert 0 < len(was) < len(OLD)
    assert (grown.output_items.table.numpy()[now] == model.output_items.table.numpy()[was]).all()
    index = [variable.name for variable in model.trainable_variables].index("table")
    moment, other = (m.optimizer.state["first_moment"][index].numpy() for m in (model, grown))
    assert moment[was].any() and (other[now] == moment[was]).all()


def started(model, newer, start):
    grown = training.grow(model, newer, start=start)
    fresh = [name for name in newer.items.ids if name not in OLD]
    ids = grown.items.encode(fresh)
    vectors, biases = grown.output_items.table.numpy()[ids], grown.output_items.biases.numpy()[ids]
    return {name: (vectors[index], biases[index]) for index, name in enumerate(fresh)}


def by_hand(similar, model, older):
    """Returns the mean vector and bias of the items in `similar`, with repetitions; of all items if it is empty."""
    ids = older.items.encode(similar) if similar else np.arange(2, older.items.size)
    return [part.numpy()[ids].mean(axis=0) for part in (model.output_items.table, model.output_items.biases)]


def check(found, similar, model, older):
    for item, vectors in found.items():
        for one, other in zip(vectors, by_hand(similar[item], model, older), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_new_items_start_from_items_of_the_same_sessions(model, older, newer, tmp_path, monkeypatch):
    sessions = [newer.items.decode(newer.train[session]).tolist() for session in range(len(newer.train))]
    found = started(model, newer, "neighbours")
    similar = {item: [o for s in sessions if item in s for o in sorted(set(s)) if o in OLD] for item in found}
    assert len(found) == 9 and all(similar.values())
    check(found, similar, model, older)
    monkeypatch.setattr("tfrecsession.training.new_item_vectors.BLOCK", 7)
    check(started(model, newer, "neighbours"), similar, model, older)
    # data in memory; some new items have only new neighbours
    values = newer.items.encode(["anew0", "a4", "a4", "a5", "anew0", "bnew0", "znew0"])
    arrays = SessionArrays(newer.items, values, [0, 4, 6, 7])
    few = trs.batches.Data(newer.items, trs.batches.Sessions(arrays, "train"), newer.validation, newer.test, {})
    similar = {item: [] for item in found} | {"anew0": ["a4", "a5"]}
    check(started(model, few, "neighbours"), similar, model, older)


def test_new_items_start_from_the_mean(model, older, newer):
    found = started(model, newer, "mean")
    check(found, {item: [] for item in found}, model, older)


def test_new_items_start_from_items_with_the_same_content(model, older, newer):
    letters = [item[0] for item in newer.items.ids]
    tags = [["x", "x"] if item in ("a5", "b2", "anew0", "znew0") else None for item in newer.items.ids]
    content = pa.table({"letter": letters, "tags": tags, "price": np.arange(len(letters))})
    items = Items(newer.items.ids, newer.items.counts, content)
    data = trs.batches.Data(items, newer.train, newer.validation, newer.test, {})
    found = started(model, data, "content")
    known = [item for item in OLD if item in set(newer.items.ids)]
    for item, vectors in found.items():
        groups = [[other for other in known if other[0] == item[0]]] if item[0] != "z" else []
        groups += [["a5", "b2"]] if item in ("anew0", "znew0") else []
        means = [by_hand(group, model, older) for group in groups or [[]]]
        for one, other in zip(vectors, zip(*means, strict=True), strict=True):
            np.testing.assert_allclose(one, np.mean(other, axis=0), rtol=1e-5, atol=1e-7)
    with pytest.raises(InputError, match="start='content': this data set has no content .* start='neighbours'"):
        training.grow(model, newer, start="content")


def test_a_model_that_grows_back_has_its_old_vectors(model, older, newer):
    grown = training.grow(training.grow(model, newer), older)
    assert set(grown.items.ids) == set(OLD) | set(NEW)
    assert (grown.items.ids[: len(OLD)] == older.items.ids).all()
    assert (grown.output_items.table.numpy()[: older.items.size] == model.output_items.table.numpy()).all()


def test_a_grown_model_is_evaluated_and_saved(model, older, newer, tmp_path):
    grown = training.grow(model, newer)
    grown.fit(newer.train.batches(rows=8, steps=8), epochs=1, verbose=0)
    found = evaluation.evaluate(grown, newer.test, k=(5,), beyond_accuracy=True)
    assert 0 < found.metrics["coverage@5"] <= 1 and found.metrics["recall@5"] > 0
    grown.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    histories = [["a0", "anew1"]]  # an item that is gone, and a new one
    assert again.recommend(histories, k=5).items.tolist() == grown.recommend(histories, k=5).items.tolist()
    assert evaluation.evaluate(again, newer.test, k=(5,)).metrics["recall@5"] == found.metrics["recall@5"]
    with pytest.raises(InputError, match="made for another data set"):
        again.evaluate(older.test, verbose=0)


def test_a_trend_prior_keeps_its_weights_and_counts_the_newer_log(older, newer, tmp_path):
    settings = training.settings_of("gru4rec", SMALL | {"trend": [0.01, 1], "trend_every": 0.01})
    training.train(older, "gru4rec", tmp_path / "run", settings)
    model = training.open_run(tmp_path / "run").model()
    expected = training.build("gru4rec", newer.items, settings)
    expected.count_trend(newer.train)
    grown = training.grow(model, newer)
    np.testing.assert_array_equal(grown.trend_head.kernel, model.trend_head.kernel)
    trained = training.train(newer, "gru4rec", tmp_path / "run2", settings, grow_from=tmp_path / "run")
    assert (trained.trend_head.kernel.numpy() != model.trend_head.kernel.numpy()).all()
    for each in (grown, trained):
        counts = each.trend_head.counts.numpy()
        np.testing.assert_allclose(counts[: newer.items.size], expected.trend_head.counts, rtol=1e-6)
        assert each.trend_head.now == expected.trend_head.now and not counts[newer.items.size :].any()
    assert evaluation.evaluate(trained, newer.test).metrics["mrr@20"] > 0


def test_invalid_arguments_are_refused(model, older, newer, tmp_path):
    for name, value in (("start", "zero"), ("gone", "no")):
        with pytest.raises(InputError, match=f"{name}='{value}': must be one of"):
            training.grow(model, newer, **{name: value})
    with pytest.raises(InputError, match="Popularity does not grow"):
        training.grow(trs.models.Popularity(older.items), newer)
    with pytest.raises(InputError, match="no item that the model knows"):
        training.grow(model, prepared(tmp_path / "data", ["x", "y", "z"], 1))


# The command line ----------------------------------------------------------------------------------------------------

QUICK = [word for key, value in SMALL.items() if key != "epochs" for word in ("--set", f"{key}={value}")]


@pytest.fixture(scope="module")
def folder(older, newer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("growing")
    words = ["--model", "gru4rec", "--out", f"{folder}/run", "--seed", "1", "--epochs", "1", *QUICK]
    assert main(["train", older.path, *words]) == 0
    return folder


@pytest.mark.slow
def test_the_command_trains_from_a_run(folder, older, newer, capsys):
    words = ["train", newer.path, "--from", f"{folder}/run", "--out", f"{folder}/run2", "--epochs", "2", "--json", "-"]
    assert main([*words, "--set", "dropout=0.1"]) == 0
    result = json.loads(capsys.readouterr().out)
    first = json.loads((folder / "run" / "run.json").read_text())
    assert result["settings"] == first["settings"] | {"epochs": 2, "dropout": 0.1} and result["model"] == "gru4rec"
    assert result["from"]["run"] == first["name"] and (result["from"]["new"], result["from"]["kept"]) == (9, 4)
    assert result["from"]["start"] == "neighbours" and result["from"]["gone"] == "keep"
    grown = training.open_run(folder / "run2").model()
    assert int(grown.optimizer.iterations) > 2 * int(training.open_run(folder / "run").model().optimizer.iterations)
    assert main(["evaluate", f"{folder}/run2"]) == 0
    assert main(["export", f"{folder}/run2", "--out", f"{folder}/saved", "--k", "22"]) == 0
    assert main(["recommend", f"{folder}/saved", "a0", "anew1", "--json", "-"]) == 0
    capsys.readouterr()
    assert main(["recommend", f"{folder}/saved", "a0", "anew1", "--json", "-"]) == 0
    best = grown.recommend([["a0", "anew1"]], k=22)
    assert json.loads(capsys.readouterr().out)["items"] == best.items[0].tolist()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--from", "{folder}/run", "--set", "units=[7]"], "units=[7]: must be [6], with which "),
        (["--from", "{folder}/run", "--set", "joined=True"], "joined=True: must be False, with which "),
        (["--from", "{folder}/run", "--model", "narm"], "--model narm: must be gru4rec, the model of "),
        (["--from", "{folder}/run", "--workers", "2"], "--from: a run is continued by one worker"),
        (["--from", "{folder}/run", "--start", "content"], "--start content"),
        (["--from", "{folder}/nowhere"], "nowhere is not a run folder"),
        (["--model", "gru4rec", "--start", "mean"], "--start: must come with --from RUN"),
        ([], "--model: must be given"),
    ],
)
def test_the_command_refuses_options_that_do_not_fit(folder, newer, tmp_path, capsys, words, message):
    words = [word.format(folder=folder) for word in words]
    assert main(["train", newer.path, "--out", f"{tmp_path}/x", *words]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error
    assert not list(tmp_path.iterdir())


def test_models_without_gradients_do_not_grow(folder, older, newer, tmp_path, capsys):
    assert main(["train", older.path, "--model", "item_knn", "--out", f"{tmp_path}/knn"]) == 0
    assert main(["train", newer.path, "--from", f"{tmp_path}/knn", "--out", f"{tmp_path}/x"]) == 2
    assert "knn: item_knn is counted and does not continue: train it anew on this log" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_training_resumes(folder, newer, tmp_path):
    settings = training.settings_of("gru4rec", training.open_run(folder / "run").info["settings"], {"epochs": 2})
    options = {"grow_from": folder / "run", "seed": 4, "checkpoint": 2}
    whole = training.train(newer, "gru4rec", tmp_path / "whole", settings, **options)
    with pytest.raises(Killed):
        after = random.Random(0).randrange(4, 12)
        training.train(newer, "gru4rec", tmp_path / "broken", settings, **options, callbacks=[Kill(after)])
    with pytest.raises(InputError, match="another training. from: .*mean"):
        training.train(newer, "gru4rec", tmp_path / "broken", settings, **options, start="mean")
    resumed = training.train(newer, "gru4rec", tmp_path / "broken", settings, **options)
    for one, other in zip(whole.variables, resumed.variables, strict=True):
        assert (one.numpy() == other.numpy()).all(), one.path
