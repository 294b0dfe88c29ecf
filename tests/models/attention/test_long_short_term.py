"""LongShortTerm: earlier items beside the session, the state that a shop keeps, and who is answered."""

import numpy as np
import pytest
import tensorflow as tf

import tfrecsession as trs
from tests.layers.attention.test_long_short_fusion import randomize, shan_by_hand
from tfrecsession import InputError
from tfrecsession.layers import SessionAttention, SessionNARM
from tfrecsession.models.attention.long_short_term import ENCODERS

PAST = 4


@pytest.fixture(scope="module")
def data():
    return trs.synthetic_sessions(
        items=30, sessions=200, seed=1, users=30, loyal=0.5, follow=0.3, taste=0.1, min_item_support=1
    )


@pytest.fixture(scope="module", params=ENCODERS)
def model(request, data):
    model = trs.models.LongShortTerm(
        data.items, dim=8, encoder=request.param, past=PAST, window=5, negatives=trs.negatives.Popularity(8)
    )
    rng = np.random.default_rng(0)
    for weight in model.trainable_variables:
        weight.assign(weight + 0.3 * rng.normal(size=weight.shape))
    return model


def visits(rng, data, sessions=5):
    return [rng.choice(data.items.ids, rng.integers(1, 8)).tolist() for _ in range(sessions)]


def test_shan_over_the_sessions_of_a_user_equals_numpy(data):
    model = trs.models.LongShortTerm(data.items, dim=8, encoder="shan", past=PAST)
    randomize(model.join, np.random.default_rng(3))
    table = np.asarray(model.output_items(np.arange(model.size)), np.float64)
    bias = np.asarray(model.output_items.biases, np.float64)
    sessions = [data.items.encode(session) for session in visits(np.random.default_rng(4), data)]
    for current in range(len(sessions)):
        earlier = np.concatenate([np.zeros(0, int), *sessions[:current]]).astype(int)[-PAST:]
        hidden = shan_by_hand(model.join, table[earlier], table[sessions[current]])[-1]
        expected = np.sort((table @ hidden + bias)[2:])[::-1][:5]
        names = [data.items.decode(session).tolist() for session in sessions[: current + 1]]
        best = model.recommend_with_sessions([names], k=5)
        np.testing.assert_allclose(best.scores[0], expected, atol=1e-4)


def test_the_user_state_equals_the_replay_of_all_sessions(model, data):
    users = [visits(np.random.default_rng(seed), data) for seed in range(3)]
    replay = model.recommend_with_sessions(users, k=10)
    state = tf.zeros([3, model.user_width])
    for number in range(4):
        ids = tf.ragged.constant([data.items.encode(user[number]).tolist() for user in users]).to_tensor()
        state = model.advance_user(ids, state)
    ids = tf.ragged.constant([data.items.encode(user[4]).tolist() for user in users]).to_tensor()
    _, scores = model.answer_user(ids, state, 10)
    np.testing.assert_allclose(scores, replay.scores, atol=1e-4)
    # event by event
    events = model.start_session(state)
    for step in range(ids.shape[1]):
        best, events = model.advance(data.items.decode(ids[:, step].numpy()).tolist(), events, k=10)
    np.testing.assert_allclose(best.scores, replay.scores, atol=1e-4)
    finished = model.finish_session(events)
    np.testing.assert_array_equal(finished, model.advance_user(ids, state))
    newest = np.concatenate([data.items.encode(session) for session in users[0]])[::-1][:PAST]
    np.testing.assert_array_equal(finished[0], newest)


def test_earlier_sessions_count_and_new_users_are_answered(model, data):
    first, session = data.items.ids[[3, 9, 12]].tolist(), data.items.ids[[5, 7]].tolist()
    alone = model.recommend([session], k=10)
    for sessions in ([session], [["no-such-item"], session], [[], session]):
        np.testing.assert_allclose(model.recommend_with_sessions([sessions], k=10).scores, alone.scores, atol=1e-5)
    known = model.recommend_with_sessions([[first, session]], k=10)
    assert np.abs(known.scores - alone.scores).max() > 1e-3
    nobody = model.recommend_with_sessions([[], [first, []]], k=3)
    assert nobody.items.tolist() == [data.items.ids[:3].tolist()] * 2


@pytest.mark.slow
def test_training_learns_from_packed_rows_and_from_lanes(model, data):
    for options, lanes in (({}, None), ({"carry": True}, 8)):
        built = trs.models.LongShortTerm(
            data.items, dim=8, encoder=model.short_term, past=PAST, window=5, lanes=lanes,
            attention_l2=0.001 * (model.short_term == "shan"), negatives=trs.negatives.Popularity(16),
        )  # fmt: skip
        built.compile(trs.optimizers.LazyAdam(0.02), trs.losses.CrossEntropy())
        history = built.fit(data.train.batches(rows=8, steps=10, by_user=True, **options), epochs=3, verbose=0)
        assert history.history["loss"][-1] < history.history["loss"][0]
    scored = trs.evaluation.evaluate(built, data.test, draws=0)
    with_past, without = scored.ranks, trs.evaluation.evaluate(built, data.test, draws=0, earlier=()).ranks
    assert 0 < (with_past != without).mean() < 1  # new users, and first sessions, are ranked as before


def test_a_short_session_is_encoded_as_by_narm():
    rng = np.random.default_rng(5)
    layer = SessionNARM(6, window=9)
    inputs, position = tf.constant(rng.normal(size=(2, 9, 4)), tf.float32), tf.constant([[*range(4), *range(5)]] * 2)
    found, _ = layer(inputs, position, tf.zeros([2, layer.state_width]))
    states, _ = layer.gru(inputs, position == 0)
    local = SessionAttention(6)
    local.build((None, None, 6))
    local.set_weights(layer.local.get_weights())
    expected = layer.decoder(tf.concat([states, local(states, position)], axis=-1))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"encoder": "lstm"}, "encoder='lstm': must be one of"),
        ({"past": 0}, "past=0: must be a whole number"),
        ({"attention_l2": 0.1}, "attention_l2=0.1: must be 0 with encoder='gru4rec'"),
        ({"past_dropout": 1.5}, "past_dropout=1.5"),
    ],
)
def test_invalid_arguments(data, options, message):
    with pytest.raises(InputError, match=message):
        trs.models.LongShortTerm(data.items, **options)


def test_batches_without_visits_are_refused(data):
    model = trs.models.LongShortTerm(data.items, dim=8)
    with pytest.raises(InputError, match="must have `visit`"):
        model.encode_from({"items": np.ones((1, 2), np.int32)}, tf.zeros([1, model.state_width]))
