"""Signatures with user states: a model fed session by session equals the whole history in one request."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs

FORMS = [
    {},
    pytest.param({"form": "all", "units": [8, 6], "user_units": [5, 4]}, marks=pytest.mark.slow),
    pytest.param({"units": [8, 6], "initialize": "first", "last_event": False}, marks=pytest.mark.slow),
    {"encoder": "gru4rec"},
    pytest.param({"encoder": "shan"}, marks=pytest.mark.slow),
    pytest.param({"encoder": "sasrec"}, marks=pytest.mark.slow),
]
NAMES = ["init", "all", "authors", "gate", "shan", "gate_sasrec"]
K = 10


@pytest.fixture(scope="module", params=FORMS, ids=NAMES)
def served(request, shop, tmp_path_factory):
    keras.utils.set_random_seed(0)
    if "encoder" in request.param:
        settings = {"dim": 8, "past": 6, "window": 4, **request.param}
        model = trs.models.LongShortTerm(shop.items, negatives=trs.negatives.Popularity(8), **settings)
        weights = [*model.join.trainable_weights, *model.session.trainable_weights]
    else:
        settings = {"units": [8], "user_units": [5], **request.param}
        model = trs.models.HRNN(shop.items, negatives=trs.negatives.Popularity(8), **settings)
        weights = model.hierarchy.trainable_weights
    for weight in weights:
        weight.assign(np.random.default_rng(1).normal(size=weight.shape) * 0.5)
    path = model.export(tmp_path_factory.mktemp("hrnn") / "1", k=K)
    card = json.loads((path / "assets.extra" / "tfrecsession.json").read_text())
    assert card["user_width"] == model.user_width
    return model, tf.saved_model.load(str(path)).signatures


def some_states(model, shop, rows):
    """Returns the user states after a session of each row."""
    ids = np.random.default_rng(rows).integers(2, model.size, (rows, 3))
    return model.advance_user(tf.constant(ids, tf.int32), tf.zeros((rows, model.user_width)))


@pytest.mark.slow
def test_session_by_session_equals_the_history_at_once(served, shop):
    model, signatures = served
    rng = np.random.default_rng(2)
    users = 7
    state = tf.zeros((users, model.user_width))
    items, sessions = np.zeros((users, 0), object), np.zeros((users, 0), np.int32)
    for number in range(30):
        steps = int(rng.integers(1, 6))
        session = shop.items.ids[rng.integers(0, len(shop.items), (users, steps))].astype(object)
        session[rng.random(session.shape) < 0.2] = ""  # different lengths, padding at any position
        session[rng.random(session.shape) < 0.1] = "no-such-item"
        items = np.concatenate([items, session], axis=1)
        # a session of padding alone does not count
        sessions = np.concatenate([sessions, np.full(session.shape, number)], axis=1)
        current = tf.constant(session.tolist(), tf.string)
        stepwise = signatures["with_user"](items=current, user_state=state)
        at_once = signatures["with_sessions"](
            items=tf.constant(items.tolist(), tf.string), sessions=tf.constant(sessions, tf.int32)
        )
        active = (session != "").any(axis=1)
        for name in ("items", "scores"):
            assert at_once[name].shape == (users, K)
        np.testing.assert_allclose(at_once["scores"][active], stepwise["scores"][active], rtol=1e-5, atol=1e-5)
        assert (at_once["items"][active] == stepwise["items"][active]).numpy().mean() > 0.99  # near ties may swap
        state = signatures["advance_user"](items=current, user_state=state)["user_state"]
    nested = [
        [[item for item in items[row][sessions[row] == number] if item] for number in range(30)] for row in range(users)
    ]
    nested = [[session for session in user if session] for user in nested]
    expected = model.recommend_with_sessions(nested, k=K)
    np.testing.assert_allclose(at_once["scores"], expected.scores, rtol=1e-5, atol=1e-5)


def test_session_by_session_equals_the_packed_history(served, shop):
    """Compares with the scores of packed rows, not with another signature."""
    model, signatures = served
    rng = np.random.default_rng(3)
    sessions = [rng.integers(2, model.size, length) for length in (4, 1, 3, 2)]
    cells = [(item, n, m) for m, session in enumerate(sessions) for n, item in enumerate(session)]
    names = ("items", "position", "visit")
    batch = {name: np.array([[cell[i] for cell in cells]], np.int32) for i, name in enumerate(names)}
    batch["segment"] = batch["visit"] + 1
    scores = np.asarray(model.score_all(model.encode(batch)[0]))[:, 2:]
    state, step = tf.zeros((1, model.user_width)), 0
    for session in sessions:
        for n in range(1, len(session) + 1):
            items = tf.constant([shop.items.decode(session[:n]).tolist()])
            best = signatures["with_user"](items=items, user_state=state)["scores"][0]
            np.testing.assert_allclose(best, np.sort(scores[step])[::-1][:K], rtol=1e-5, atol=1e-5)
            step += 1
        state = signatures["advance_user"](items=items, user_state=state)["user_state"]


def test_event_by_event_equals_the_whole_session(served, shop):
    model, signatures = served
    rng = np.random.default_rng(4)
    user = tf.zeros((3, model.user_width))
    for _ in range(5):
        session = shop.items.ids[rng.integers(0, len(shop.items), (3, 6))].astype(object)
        session[rng.random(session.shape) < 0.2] = ""
        session[0] = ""  # a user without a session
        state = signatures["start_session"](user_state=user)["state"]
        for step in range(session.shape[1]):
            answer = signatures["advance"](items=tf.constant(session[:, step].tolist()), state=state)
            state = answer["state"]
        whole = signatures["with_user"](items=tf.constant(session.tolist()), user_state=user)
        np.testing.assert_allclose(answer["scores"], whole["scores"], rtol=1e-5, atol=1e-5)
        after = signatures["finish_session"](state=state)["user_state"]
        user = signatures["advance_user"](items=tf.constant(session.tolist()), user_state=user)["user_state"]
        np.testing.assert_allclose(after, user, rtol=1e-5, atol=1e-6)
    assert not user[0].numpy().any() and user[1].numpy().any()
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"state must be \[n, "):
        signatures["finish_session"](state=state[:, 1:])
    with pytest.raises(tf.errors.InvalidArgumentError, match="user_state holds NaN"):
        signatures["start_session"](user_state=user * np.nan)


def test_an_hour_of_clicks_of_a_thousand_users_equals_the_replay(served, shop):
    """Clicks arrive minute by minute, mixed; a pause of more than ten minutes ends a session."""
    model, signatures = served
    rng, users, pause = np.random.default_rng(5), 1000, 10
    state = signatures["start_session"](user_state=tf.zeros((users, model.user_width)))["state"].numpy()
    last, session = np.full(users, -1), np.zeros(users, int)
    answers, items = np.zeros((users, K)), np.full((users, 60), "", object)
    sessions = np.zeros((users, 60), np.int32)
    for minute in range(60):
        active = rng.permutation(users)[:100]
        back = active[(last[active] >= 0) & (minute - last[active] > pause)]
        ended = signatures["finish_session"](state=tf.constant(state[back]))["user_state"]
        state[back] = signatures["start_session"](user_state=ended)["state"]
        session[back] += 1
        items[active, minute] = shop.items.ids[rng.integers(0, len(shop.items), len(active))]
        sessions[active, minute], last[active] = session[active], minute
        clicks = tf.constant(items[active, minute].tolist())
        answer = signatures["advance"](items=clicks, state=tf.constant(state[active]))
        state[active], answers[active] = answer["state"], answer["scores"]
    assert session.max() >= 3 and (last >= 0).sum() > 990
    seen = last >= 0
    replay = {"items": tf.constant(items[seen].tolist()), "sessions": tf.constant(sessions[seen])}
    expected = signatures["with_sessions"](**replay)["scores"]
    np.testing.assert_allclose(answers[seen], expected, rtol=1e-4, atol=1e-5)


def test_new_users_and_empty_sessions(served, shop):
    model, signatures = served
    known, width = shop.items.ids[3], model.user_width
    new = tf.zeros((2, width))
    answer = signatures["with_user"](items=tf.constant([[known], [""]]), user_state=new)
    np.testing.assert_allclose(
        answer["scores"], signatures["serving_default"](items=tf.constant([[known], [""]]))["scores"], 1e-5
    )
    state = some_states(model, shop, 2)
    for empty in (tf.constant([[""], ["no-such-item"]]), tf.zeros((2, 0), tf.string)):
        np.testing.assert_array_equal(signatures["advance_user"](items=empty, user_state=state)["user_state"], state)
        popular = [item.encode() for item in shop.items.ids[:K]]
        assert signatures["with_user"](items=empty, user_state=state)["items"].numpy().tolist() == [popular] * 2
    sessions = tf.zeros((2, 0), tf.int32)
    assert signatures["with_sessions"](items=empty, sessions=sessions)["items"].numpy().tolist() == [popular] * 2


@pytest.mark.parametrize("signature", ["with_user", "with_sessions"])
def test_filters_with_user_states(served, shop, signature):
    model, signatures = served
    ids = shop.items.ids.tolist()
    past = {
        "with_user": {"user_state": some_states(model, shop, 3)},
        "with_sessions": {"sessions": tf.constant([[0, 1], [0, 0], [0, 0]])},
    }[signature]
    items = tf.constant([[ids[3], ids[9]], [ids[5], ""], ["", ""]])
    whole = signatures[signature](items=items, **past)
    padding = tf.fill((3, 1), "")
    unfiltered = signatures[f"{signature}_filtered"](items=items, **past, exclude=padding, only=padding)
    np.testing.assert_array_equal(unfiltered["items"], whole["items"])
    first = whole["items"].numpy()
    only = tf.constant([["", ""], [first[1, 4].decode(), first[1, 2].decode()], ["", ""]])
    lists = {"exclude": tf.constant(first[:, :3].tolist()), "only": only}
    answer = signatures[f"{signature}_filtered"](items=items, **past, **lists)["items"].numpy()
    assert answer[0, : K - 3].tolist() == first[0, 3:].tolist() and answer[2, : K - 3].tolist() == first[2, 3:].tolist()
    assert answer[1].tolist() == [first[1, 4], *[b""] * (K - 1)]  # the other one is excluded
    with pytest.raises(tf.errors.InvalidArgumentError, match="only: must have one row for each of items"):
        signatures[f"{signature}_filtered"](items=items, **past, exclude=padding, only=padding[:2])


@pytest.mark.parametrize("signature", ["with_user", "advance_user"])
def test_an_invalid_user_state_is_named(served, signature):
    model, signatures = served
    items, width = tf.constant([["a"], ["b"]]), model.user_width
    for wrong in (np.zeros((2, width + 1)), np.zeros((2, width - 1)), np.zeros((1, width)), np.zeros((2, 0))):
        with pytest.raises(tf.errors.InvalidArgumentError, match=rf"user_state must be \[n, {width}\]"):
            signatures[signature](items=items, user_state=tf.constant(wrong, tf.float32))
    for value in (np.nan, np.inf, -np.inf):
        wrong = np.zeros((2, width), np.float32)
        wrong[1, -1] = value
        with pytest.raises(tf.errors.InvalidArgumentError, match="user_state holds NaN or infinity"):
            signatures[signature](items=items, user_state=tf.constant(wrong))


def test_sessions_of_another_shape_are_named(served):
    _, signatures = served
    with pytest.raises(tf.errors.InvalidArgumentError, match="sessions must have the shape of items"):
        signatures["with_sessions"](items=tf.constant([["a", "b"]]), sessions=tf.constant([[1]]))


def test_other_models_have_no_user_states(shop, tmp_path):
    path = trs.models.GRU4Rec(shop.items, units=[4], negatives=trs.negatives.Popularity(8)).export(tmp_path / "1", k=3)
    signatures = tf.saved_model.load(str(path)).signatures
    assert not {"with_sessions", "with_user", "advance_user"} & set(signatures)
    assert "user_width" not in json.loads((path / "assets.extra" / "tfrecsession.json").read_text())


@pytest.mark.slow
def test_sessions_in_context(shop, tmp_path):
    """Context reaches every session of a user: at once, session by session, and in the export."""
    settings = {"units": [8], "user_units": [5], "context": ["hour", "gap"], "request": ["hour", "position"]}
    model = trs.models.HRNN(shop.items, negatives=trs.negatives.Popularity(8), **settings)
    for number, weight in enumerate(model.trainable_variables):
        weight.assign(np.random.default_rng(number).normal(size=weight.shape) * 0.5)
    ids, start = shop.items.ids.tolist(), 1_700_000_000
    users = [[[ids[3], ids[5]], [ids[8], "no-such-item", ids[3]]], [[ids[7]]], [[ids[2]], []]]
    time = [
        [[start + 90_000 * number + 40 * step for step in range(len(session))] for number, session in enumerate(user)]
        for user in users
    ]
    context, request = {"time": time}, {"hour": [3, None, 4]}
    expected = model.recommend_with_sessions(users, k=K, context=context, request=request)
    assert not np.allclose(expected.scores[:2], model.recommend_with_sessions(users, k=K).scores[:2])
    single = model.recommend(users[1], k=K, context={"time": time[1]}, request={"hour": [None]})
    np.testing.assert_allclose(single.scores[0], expected.scores[1], rtol=1e-5)
    assert expected.items[2].tolist() == ids[:K]

    signatures = tf.saved_model.load(str(model.export(tmp_path / "1", k=K))).signatures

    def ask(name, rows, times, hours, **inputs):
        longest = max(map(len, rows))
        texts = {
            "items": [[*row, *[""] * (longest - len(row))] for row in rows],
            "context_time": [[*map(str, row), *[""] * (longest - len(row))] for row in times],
            "request_hour": ["" if hour is None else str(hour) for hour in hours],
        }
        for other in signatures[name].structured_input_signature[1]:
            if other not in (*texts, *inputs):
                texts[other] = [[""] * longest] * len(rows) if other.startswith("context_") else [""] * len(rows)
        texts = {key: tf.constant(value, tf.string) for key, value in texts.items()}
        return signatures[name](**texts, **inputs)

    joined = [sum(user, []) for user in users[:2]]
    numbers = tf.constant([[0, 0, 1, 1, 1], [0, 0, 0, 0, 0]], tf.int32)
    times = [sum(user, []) for user in time[:2]]
    answer = ask("with_sessions_in_context", joined, times, request["hour"][:2], sessions=numbers)
    np.testing.assert_allclose(answer["scores"], expected.scores[:2], rtol=1e-4, atol=1e-5)
    new = tf.zeros((1, model.user_width))
    state = ask("advance_user_in_context", users[0][:1], time[0][:1], [None], user_state=new)["user_state"]
    plain = signatures["advance_user"](items=tf.constant(users[0][:1]), user_state=new)["user_state"]
    assert not np.allclose(state, plain)
    answer = ask("with_user_in_context", users[0][1:], time[0][1:], [3], user_state=state)
    np.testing.assert_allclose(answer["scores"], expected.scores[:1], rtol=1e-4, atol=1e-5)
    for wrong, message in (
        (
            {"time": [[[1, 2]], [[1]], [[1], []]]},
            r"context\['time'\]\[0\]: must have a list of values for each session",
        ),
        ({"time": time[:2]}, r"context\['time'\]: must have a list of sessions for each user, 3"),
        (
            {"time": [[[1], [1, 2, 3]], [[1]], [[1], []]]},
            r"context\['time'\]\[0\]\[0\]: must have a value for each event",
        ),
    ):
        with pytest.raises(trs.InputError, match=message):
            model.recommend_with_sessions(users, k=K, context=wrong)


def test_the_list_of_another_model_is_named(served):
    model, signatures = served
    state = tf.fill((1, model.user_width), 2.5)
    if not hasattr(model, "past"):
        pytest.skip("the state of an HRNN may hold any numbers")
    for name, inputs in (("with_user", {"items": tf.constant([["a"]])}), ("start_session", {})):
        with pytest.raises(tf.errors.InvalidArgumentError, match="user_state: must be the output of advance_user"):
            signatures[name](user_state=state, **inputs)
