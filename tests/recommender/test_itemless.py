"""Events without an item, such as searches: steps whose context speaks, and that are never targets nor recommended."""

import keras
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

import tfrecsession as trs
from tfrecsession import InputError, evaluation
from tfrecsession.sessions.prepare import prepare
from tfrecsession.training.refit import with_validation

START = 1_700_000_000
WORDS = ("red", "blue", "green", "white")
QUICK, OTHERS = ("gru4rec", "hrnn"), ("narm", "sasrec", "core", "min_gru", "lru", "contextual_gru")


def searches(seed=0, sessions=60, items=12):
    """A log in which a search for a word leads to the items of that word, as rows."""
    rng, rows = np.random.default_rng(seed), []
    for session in range(sessions):
        time = START + 3000 * session
        for _ in range(rng.integers(2, 5)):
            word = rng.integers(len(WORDS))
            time += int(rng.integers(5, 60))
            rows.append((f"s{session}", f"u{session % 7}", None, time, "search", WORDS[word], None))
            for _ in range(rng.integers(1, 3)):
                time += int(rng.integers(5, 60))
                item = f"i{word * items // len(WORDS) + rng.integers(items // len(WORDS))}"
                rows.append((f"s{session}", f"u{session % 7}", item, time, "click", None, 1.5))
        rows.append((f"s{session}", f"u{session % 7}", None, time + 9, "filter", None, None))
    names = ("session", "user", "item", "time", "event", "words", "dwell")
    return pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


OPTIONS = {
    "event": "event",
    "context": ("words", "dwell"),
    "min_item_support": 1,
    "test_span": "20%",
    "validation_span": "10%",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("itemless")
    for itemless in ("keep", "drop"):
        prepare(searches(), folder / itemless, itemless=itemless, **OPTIONS)
    return folder


@pytest.fixture(scope="module")
def data(folder):
    return trs.load(folder / "keep")


@pytest.fixture(scope="module")
def dropped(folder):
    return trs.load(folder / "drop")


def model_of(name, data, **settings):
    known = {"units": [8]} if name in ("gru4rec", "narm", "hrnn", "contextual_gru") else {"dim": 8}
    known |= {"user_units": [8]} if name == "hrnn" else {"dim": 8} if name == "narm" else {}
    negatives = trs.negatives.Uniform(8)
    settings = {"context": ["words", "event", "gap"], "request": ["gap"], **settings}
    model = trs.models.by_name(name)(data.items, negatives=negatives, **known, **settings)
    model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(), [trs.metrics.Recall(3)])
    return model


@pytest.fixture(scope="module")
def fitted(data):
    """A function from a model's name to a model of one epoch."""
    made = {}

    def of(name):
        if name not in made:
            made[name] = model_of(name, data, **({"repeats": True} if name == "gru4rec" else {}))
            options = {"by_user": made[name].reads.by_user}
            made[name].fit(data.train.batches(rows=8, steps=12, **options), epochs=1, verbose=0)
        return made[name]

    return of


HISTORIES = [[None, "i3", None], ["i1"], [None], ["i2", None, "i5"]]
CONTEXT = {
    "words": [["red", None, "green"], [None], ["blue"], [None, "white", None]],
    "event": [["search", "click", "search"], ["click"], ["search"], ["click", "search", "click"]],
    "time": [[START, START + 9, START + 30], [START], [START], [START, START + 1, START + 2]],
}
REQUEST = {"time": [START + 40, START + 7, START + 5, None]}


def test_the_data_without_them_is_the_same(data, dropped):
    """Sessions, vocabulary and counts are those of a log whose events without an item are dropped."""
    for name in ("train", "validation", "test"):
        kept, plain = getattr(data, name), getattr(dropped, name)
        np.testing.assert_array_equal(kept.values, plain.values)
        np.testing.assert_array_equal(kept.offsets, plain.offsets)
        np.testing.assert_array_equal(kept.column("times"), plain.column("times"))
        assert kept.column("session").tolist() == plain.column("session").tolist()
        assert kept.whole.events - kept.events == data.info["splits"][name]["itemless_events"] > 0
        assert (kept.scored_events, plain.whole) == (plain.scored_events, None)
    assert data.items.counts.tolist() == dropped.items.counts.tolist()
    assert data.statistics.as_dict() == dropped.statistics.as_dict()


def test_the_sessions_hold_their_steps(data):
    whole = data.train.whole
    first = slice(*whole.offsets[:2])
    assert whole.column("event")[first][0] == "search" and whole.column("event")[first][-1] == "filter"
    for words, event, item in zip(whole.column("words"), whole.column("event"), whole.values, strict=True):
        assert (item == 0) == (event != "click") and (words is None) == (event != "search")
    few = data.train.only(np.arange(len(data.train)) < 3)
    np.testing.assert_array_equal(few.whole.values, whole.values[: whole.offsets[3]])
    joined = with_validation(data)[0].train
    assert joined.whole.events == whole.events + data.validation.whole.events
    assert joined.events == data.train.events + data.validation.events


@pytest.mark.parametrize("memory", [None, "50MB"])
def test_they_are_steps_and_never_targets(data, memory):
    context = data.context(["words", "event", "position"])
    assert context.itemless and trs.Context.from_config(context.get_config()).itemless
    batches = data.train.batches(rows=4, steps=40, context=context, memory=memory)
    steps = targets = 0
    for batch, target in batches.as_numpy_iterator():
        is_step = batch["segment"] > 0
        steps += int((is_step & (batch["items"] == 0)).sum())
        targets += int((target > 0).sum())
        assert ((batch["context/words"] > 1) == (is_step & (batch["items"] == 0) & (batch["context/words"] > 0))).all()
    assert targets == data.train.events  # a session begins with a search: its first item is a target, too
    assert steps == int((data.train.whole.values == 0).sum()) - len(data.train)  # the last one is no input
    plain = data.train.batches(rows=4, steps=40, context=None, memory=memory)
    assert all((batch["items"][batch["segment"] > 0] > 0).all() for batch, _ in plain.as_numpy_iterator())


@pytest.mark.slow
def test_evaluation_scores_the_same_events(data, dropped, fitted):
    """A model that reads searches is scored on the targets of a model that does not."""
    popularity = trs.models.by_name("popularity")(data.items)
    popularity.fit(data.train)
    plain = evaluation.evaluate(popularity, data.test, (3,), draws=0)
    np.testing.assert_array_equal(plain.ranks, evaluation.evaluate(popularity, dropped.test, (3,), draws=0).ranks)
    for name in ("gru4rec", "hrnn"):
        found = evaluation.evaluate(fitted(name), data.test, (3,), draws=0)
        np.testing.assert_array_equal(found.event, plain.event)
        keras_recall = fitted(name).evaluate(data.test, verbose=0, return_dict=True)["recall@3"]
        assert keras_recall == pytest.approx(found.metrics["recall@3"], abs=1e-6)


@pytest.mark.slow
def test_a_search_tells_what_comes_next(data):
    model = model_of("gru4rec", data, context_dropout=0.0)
    model.fit(data.train.batches(rows=8, steps=12), epochs=25, verbose=0)
    blind = model_of("gru4rec", data, context=["gap"], context_dropout=0.0)
    blind.context.itemless = False
    blind.fit(data.train.batches(rows=8, steps=12), epochs=25, verbose=0)
    seeing, unseeing = (evaluation.evaluate(m, data.test, (3,), draws=0).metrics["recall@3"] for m in (model, blind))
    assert seeing > unseeing + 0.2
    best = model.recommend([[None], [None]], k=3, context={"words": [["red"], ["white"]], "event": [["search"]] * 2})
    assert {frozenset(items) for items in best.items.tolist()} == {
        frozenset({"i0", "i1", "i2"}),
        frozenset({"i9", "i10", "i11"}),
    }


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_every_model_with_context_reads_them(name, fitted, data):
    model = fitted(name)
    found = model.recommend(HISTORIES, k=5, context=CONTEXT, request=REQUEST)
    assert all("" not in items for items in found.items)
    for row in range(len(HISTORIES)):  # alone, and with others: padding changes nothing
        context = {column: [values[row]] for column, values in CONTEXT.items()}
        request = {"time": [REQUEST["time"][row]]}
        alone = model.recommend([HISTORIES[row]], k=5, context=context, request=request)
        np.testing.assert_allclose(alone.scores[0], found.scores[row], rtol=1e-5, atol=1e-6)
    other = {**CONTEXT, "words": [["blue", None, "green"], [None], ["green"], [None, "red", None]]}
    changed = model.recommend(HISTORIES, k=5, context=other, request=REQUEST).scores
    for row in (0, 2, 3):
        assert not np.allclose(changed[row], found.scores[row])
    np.testing.assert_allclose(changed[1], found.scores[1], rtol=1e-5, atol=1e-6)
    silent = model.recommend([["i2", None, "i5"], [None]], k=5)  # without context it is no step
    np.testing.assert_allclose(silent.scores[0], model.recommend([["i2", "i5"]], k=5).scores[0], rtol=1e-5)
    assert silent.items[1].tolist() == data.items.ids[:5].tolist()


@pytest.mark.parametrize("name", ["gru4rec", *(pytest.param(n, marks=pytest.mark.slow) for n in ("sasrec", "hrnn"))])
def test_event_by_event_it_is_the_same(name, fitted):
    model = fitted(name)
    state = model.initial_state()
    for step, item in enumerate(HISTORIES[0]):
        context = {column: values[0][step : step + 1] for column, values in CONTEXT.items()}
        best, state = model.advance([item], state, k=5, context=context, request={"time": [START + 50]})
        upto = {column: [values[0][: step + 1]] for column, values in CONTEXT.items()}
        expected = model.recommend([HISTORIES[0][: step + 1]], k=5, context=upto, request={"time": [START + 50]})
        np.testing.assert_allclose(best.scores, expected.scores, rtol=1e-5, atol=1e-5)
        assert best.items.tolist() == expected.items.tolist()
    _, after = model.advance([None], state, k=5)
    np.testing.assert_array_equal(after, state)


@pytest.mark.slow
def test_saved_and_exported_models_answer_alike(fitted, tmp_path):
    model = fitted("gru4rec")
    expected = model.recommend(HISTORIES, k=5, context=CONTEXT, request=REQUEST)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    found = loaded.recommend(HISTORIES, k=5, context=CONTEXT, request=REQUEST)
    np.testing.assert_array_equal(found.scores, expected.scores)
    model.export(tmp_path / "1", k=5)
    items, scores = trs.export.ask(tmp_path / "1", HISTORIES, CONTEXT, REQUEST)
    assert items.tolist() == expected.items.tolist()
    np.testing.assert_allclose(scores, expected.scores, rtol=1e-5, atol=1e-6)
    served = tf.saved_model.load(str(tmp_path / "1")).signatures
    names = served["recommend_in_context"].structured_input_signature[1]
    empty = {name: tf.fill([1] if name.startswith("request_") else [1, 4], "") for name in names}
    words = {**empty, "context_words": tf.constant([["", "blue", "", ""]])}
    words["items"] = empty["items"]
    wide = served["recommend_in_context"](**words)["scores"]
    assert not np.allclose(wide, served["recommend_in_context"](**empty)["scores"])
    one = model.recommend([[None]], k=5, context={"words": [["blue"]]})
    np.testing.assert_allclose(wide, one.scores, rtol=1e-5, atol=1e-6)
    short = {**words, "items": tf.constant([["", ""]])}
    with pytest.raises(tf.errors.InvalidArgumentError, match="context_words: has a value where items has none"):
        served["recommend_in_context"](**{**short, "context_words": tf.constant([["", "", "blue", ""]])})
    advance = served["advance_in_context"]
    one_event = {
        name: tf.constant([""]) for name in advance.structured_input_signature[1] if name not in ("items", "state")
    }
    given = {**one_event, "context_words": tf.constant(["blue"]), "items": tf.constant([""])}
    answer = advance(**given, state=model.initial_state())
    np.testing.assert_allclose(answer["scores"], one.scores, rtol=1e-5, atol=1e-5)


def test_models_that_do_not_know_them_refuse_none(data, dropped):
    without = model_of("gru4rec", dropped)
    for model in (without, model_of("gru4rec", data, context=(), request=())):
        with pytest.raises(InputError, match=r"histories\[0\]\[0\]=None: must be an id"):
            model.recommend([[None]], k=5)


def test_weights_need_no_value_where_there_is_no_item(data):
    """The dwell time of a search is null; so it is for training on weighted events."""
    weighted = data.train.weighted(weight="dwell")
    batch, targets = next(weighted.batches(rows=4, steps=20, context=data.context(["words"])).as_numpy_iterator())
    assert set(np.unique(batch["weight"][targets > 0])) == {1.5}
    next(weighted.batches(rows=4, steps=20, context=data.context(["words"]), memory="50MB").as_numpy_iterator())
