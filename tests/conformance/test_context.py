"""Models that read context: nothing of the future leaks, and an answer in context is the same wherever it is asked."""

import copy

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conformance.descriptors import goes_on_from_a_state
from tfrecsession import InputError, evaluation
from tfrecsession.sessions.context_texts import context_texts

START = 1_700_000_000


def asked(data, missing=()):
    """Histories, context and requests; `missing`: columns that are not given, every other value of the rest is not."""
    ids = data.items.ids
    histories = [[ids[3], "no-such-item", ids[15], ids[3]], [ids[40]], [], ["no-such-item"], [ids[7], ids[8]]]
    time = [[START + 60 * number * step for step in range(len(items))] for number, items in enumerate(histories, 1)]
    hour = [
        [(number + step) % 24 if step % 2 else None for step in range(len(items))]
        for number, items in enumerate(histories)
    ]
    context = {"time": time, "hour": hour}
    request = {"time": [START + 9000, START + 5, None, START, START + 1e6], "weekday": [None, 3, 4, None, 6]}
    return (
        histories,
        {name: values for name, values in context.items() if name not in missing},
        {name: values for name, values in request.items() if name not in missing},
    )


def test_the_predicted_event_tells_nothing_of_itself(contextual, fitted, data):
    """The context of the last event of users, shifted, permuted and blank, changes no rank of it."""
    model = fitted(contextual)
    split = copy.copy(data.test)
    expected = evaluation.evaluate(model, split, slices=False, draws=0)
    users = np.asarray(split.column("user"))
    last_of_user = {user: session for session, user in enumerate(users)}
    last = split.offsets[1:][sorted(last_of_user.values())] - 1
    scored = np.isin(expected.event, last)
    assert scored.sum() > 20
    encoded = split.encoded(model.context)
    rng = np.random.default_rng(0)
    for change in (lambda codes: (codes + 1) % 3, rng.permutation, np.zeros_like):
        changed = dict(encoded)
        for key in encoded:
            if key.startswith("context/"):
                changed[key] = encoded[key].copy()
                changed[key][last] = change(encoded[key][last])
        split._encoded = model.context, changed
        found = evaluation.evaluate(model, split, slices=False, draws=0)
        np.testing.assert_array_equal(found.ranks[scored], expected.ranks[scored])


def test_later_context_changes_nothing_before_it(contextual, fitted, data):
    model = fitted(contextual)
    batches = data.test.batches(every_event=True, by_user=model.reads.by_user, context=model.context)
    batch, _ = next(batches.as_numpy_iterator())
    encoded = np.asarray(model.encode(batch))
    step = batch["items"].shape[1] // 2
    for key in model.context.keys:
        changed = {**batch, key: batch[key].copy()}
        changed[key][:, step] = (batch[key][:, step] + 1) % 4
        found = np.asarray(model.encode(changed))
        np.testing.assert_allclose(found[:, :step], encoded[:, :step], rtol=1e-5, atol=1e-6)
        assert not np.allclose(found[:, step], encoded[:, step])
        if key.startswith("request/"):
            np.testing.assert_allclose(found[:, step + 1 :], encoded[:, step + 1 :], rtol=1e-5, atol=1e-6)


def test_it_is_read(contextual, fitted, data):
    """Each column changes the answer, and answers without context are good ones."""
    model = fitted(contextual)
    histories, context, request = asked(data)
    scores = model.recommend(histories, k=10, context=context, request=request).scores
    for name in context:
        assert not np.allclose(model.recommend(histories, k=10, context={name: context[name]}).scores, scores)
    for name in request:
        assert not np.allclose(model.recommend(histories, k=10, request={name: request[name]}).scores, scores)
    none = model.recommend(histories, k=10)
    nothing = {"hour": [[None] * len(history) for history in histories]}
    np.testing.assert_allclose(model.recommend(histories, k=10, context=nothing).scores, none.scores, rtol=1e-6)
    assert none.items[2].tolist() == data.items.ids[:10].tolist()
    with pytest.raises(InputError, match=r"context\['hour'\]\[0\]: has 1 values, must have 4"):
        model.recommend(histories, context={"hour": [[1]] * 5})
    with pytest.raises(InputError, match="request: 'hour' must be one that the model reads: gap, weekday, time"):
        model.recommend(histories, request={"hour": [1] * 5})


def test_a_saved_model_answers_alike(contextual, fitted, data, tmp_path):
    model = fitted(contextual)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    histories, context, request = asked(data)
    before, after = (m.recommend(histories, k=10, context=context, request=request) for m in (model, loaded))
    np.testing.assert_array_equal(before.scores, after.scores)
    assert loaded.reads == model.reads


@pytest.mark.parametrize(
    "missing",
    [
        pytest.param((), id="whole"),
        pytest.param(("time",), id="no times", marks=pytest.mark.slow),
        pytest.param(("hour", "weekday"), id="times alone", marks=pytest.mark.slow),
    ],
)
def test_the_export_answers_as_the_model_does(contextual, fitted, exported, tensorflow_alone, data, missing):
    model, path = fitted(contextual), exported(contextual)
    histories, context, request = asked(data, missing)
    names = tf.saved_model.load(str(path)).signatures["recommend_in_context"].structured_input_signature[1]
    lengths = list(map(len, histories))
    texts = context_texts(context, request, lengths, names)
    rows = [[*items, *[""] * (max(lengths) - len(items))] for items in histories]
    ((items, scores),) = tensorflow_alone(path, "recommend_in_context", [{"items": rows, **texts}])
    expected = model.recommend(histories, k=10, context=context, request=request)
    assert items == expected.items.tolist()
    np.testing.assert_allclose(scores, expected.scores, rtol=1e-5, atol=1e-6)


def test_padding_changes_nothing(contextual, exported, data):
    loaded = tf.saved_model.load(str(exported(contextual)))
    histories, context, request = asked(data)
    signature = loaded.signatures["recommend_in_context"]
    texts = context_texts(context, request, list(map(len, histories)), signature.structured_input_signature[1])
    rows = [[*items, *[""] * (4 - len(items))] for items in histories]
    inputs = {"items": rows, **texts}
    expected = signature(**{name: tf.constant(value) for name, value in inputs.items()})["scores"]
    for before, after in ((2, 0), (0, 3), (1, 1)):
        wider = {
            name: tf.constant(
                [[""] * before + row + [""] * after for row in value] if isinstance(value[0], list) else value
            )
            for name, value in inputs.items()
        }
        np.testing.assert_allclose(signature(**wider)["scores"], expected, rtol=1e-5, atol=1e-6)
    shorter = {**inputs, "context_time": [[""]] * 5, "context_gap": [[""]] * 5}  # all missing
    plain = {**inputs, "context_time": [[""] * 4] * 5}
    scores = [signature(**{name: tf.constant(v) for name, v in given.items()})["scores"] for given in (shorter, plain)]
    np.testing.assert_allclose(*scores, rtol=1e-5, atol=1e-6)
    for name, value, message in (
        ("context_hour", [["25", "", "", ""], *[[""] * 4] * 4], "context_hour: is out of range: .* hours 0 to 23"),
        ("context_gap", [["soon", "", "", ""], *[[""] * 4] * 4], "context_gap: must hold numbers"),
        ("context_hour", [[""] * 3 + ["1"]] * 5, "context_hour: has a value where items has none"),
        ("request_weekday", ["3"] * 2, "request_weekday: must have one row for each of items"),
        ("request_time", ["1e18"] * 5, "request_time: is out of range: times are seconds"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            signature(**{key: tf.constant(v) for key, v in {**inputs, name: value}.items()})


def test_event_by_event_it_is_the_same(contextual, fitted, exported, data):
    model = fitted(contextual)
    if not goes_on_from_a_state(model):
        return
    advance = (loaded := tf.saved_model.load(str(exported(contextual)))).signatures["advance_in_context"]
    histories, context, request = asked(data)
    history, times, hours = histories[0], context["time"][0], context["hour"][0]
    state, served = model.initial_state(), model.initial_state()
    names = advance.structured_input_signature[1]
    for step, item in enumerate(history):
        of_event = {"time": [times[step]], "hour": [hours[step]]}
        of_request = {"time": [times[step] + 7], "weekday": [2]}
        best, state = model.advance([item], state, k=10, context=of_event, request=of_request)
        upto = slice(step + 1)
        whole = {"time": [times[upto]], "hour": [hours[upto]]}
        expected = model.recommend([history[upto]], k=10, context=whole, request=of_request)
        assert best.items.tolist() == expected.items.tolist()
        np.testing.assert_allclose(best.scores, expected.scores, rtol=1e-5, atol=1e-5)
        texts = context_texts({name: [values] for name, values in of_event.items()}, of_request, [1], names)
        texts = {name: [value[0][0]] if name.startswith("context_") else value for name, value in texts.items()}
        answer = advance(items=tf.constant([item]), state=served, **{n: tf.constant(v) for n, v in texts.items()})
        np.testing.assert_allclose(answer["scores"], expected.scores, rtol=1e-5, atol=1e-5)
        served = answer["state"]
    np.testing.assert_allclose(served, state, rtol=1e-5, atol=1e-5)
    del loaded
