import keras
import numpy as np
import pytest

import tfrecsession as trs
from tests.logs import sessions_of
from tfrecsession import InputError, evaluation, training
from tfrecsession.models.ensemble.learn_blend import _choice, _gains, lattice
from tfrecsession.models.ensemble.scales import comparable, range_of
from tfrecsession.sessions.context import ContextLog

HISTORIES = [["item-1", "item-2"], [], ["nothing"], ["item-5"], ["item-3", "nothing", "item-9", "item-4", "item-3"]]


@pytest.fixture(scope="module")
def data():
    return trs.synthetic_sessions(items=50, sessions=400, seed=1)


def fitted(data, name, **settings):
    settings = training.settings_of(name, settings, data=data)
    built = training.build(name, data.items, settings)
    training.fit(built, data, settings)
    return built


@pytest.fixture(scope="module")
def members(data):
    network = fitted(data, "gru4rec", epochs=1, units=[8], negatives=16, rows=16)
    return [network, fitted(data, "markov"), fitted(data, "sknn"), fitted(data, "popularity")]


@pytest.fixture(scope="module")
def blend(members):
    scales = [("softmax", 0.5), ("share", 1.0), ("share", 2.0), ("share", 1.0)]
    return trs.models.Blend(members, [[0.5, 0.5, 0, 0], [0.2, 0.3, 0.5, 0]], lengths=(1, 3), scales=scales)


def probabilities(member, history, kind, sharpness):
    """Returns item -> the probability of a member, from its scores of the whole catalogue."""
    answer = member.recommend([history], k=len(member.items))
    scores = answer.scores[0].astype(np.float64)
    powers = np.exp(scores / sharpness) if kind == "softmax" else np.maximum(scores, 0) ** sharpness
    return dict(zip(answer.items[0], powers / powers.sum(), strict=True))


def test_scores_are_the_weighted_sum_of_the_members_probabilities(blend, members):
    for history, weights in ((["item-1", "item-2"], [0.5, 0.5, 0]), (["item-1", "item-2", "item-4"], [0.2, 0.3, 0.5])):
        answer = blend.recommend([history], k=len(blend.items))
        parts = [probabilities(member, history, *scale) for member, scale in zip(members, blend.scales, strict=False)]
        for item, score in zip(answer.items[0], answer.scores[0], strict=True):
            expected = sum(weight * part[item] for weight, part in zip(weights, parts, strict=False))
            assert score == pytest.approx(expected, abs=1e-6)
        assert (np.diff(answer.scores[0]) <= 0).all()


def test_evaluation_ranks_in_the_order_of_recommend(blend, data):
    scored = evaluation.evaluate(blend, data.test, slices=False, draws=0)
    for rank, event in list(zip(scored.ranks, scored.event, strict=True))[:20]:
        session = np.searchsorted(data.test.offsets, event, side="right") - 1
        history = data.items.decode(data.test.values[data.test.offsets[session] : event]).tolist()
        answer = blend.recommend([history], k=len(blend.items))
        target = data.items.decode(data.test.values[event : event + 1])[0]
        score = answer.scores[0][answer.items[0].tolist().index(target)]
        assert rank == (answer.scores[0] >= score).sum()


@pytest.mark.slow
@pytest.mark.filterwarnings("error::UserWarning")
def test_saved_and_exported_blends_answer_alike(blend, tmp_path):
    blend.save(tmp_path / "blend.keras")
    loaded = keras.models.load_model(tmp_path / "blend.keras")
    expected = blend.recommend(HISTORIES, k=10, exclude_seen=True)
    again = loaded.recommend(HISTORIES, k=10, exclude_seen=True)
    assert again.items.tolist() == expected.items.tolist()
    np.testing.assert_allclose(again.scores, expected.scores, atol=1e-7)
    assert loaded.learned is None and loaded.lengths == (1, 3) and loaded.items.ids.tolist() == blend.items.ids.tolist()
    loaded.export(tmp_path / "blend" / "1", k=10, exclude_seen=True)
    items, scores = trs.export.ask(tmp_path / "blend", HISTORIES)
    popular = blend.items.ids[np.argsort(-blend.items.counts, kind="stable")][:10]
    assert items[1].tolist() == items[2].tolist() == popular.tolist()
    assert items.tolist() == expected.items.tolist()
    np.testing.assert_allclose(scores, expected.scores, atol=1e-6)
    files = [file.name for file in (tmp_path / "blend" / "1" / "assets").iterdir()]
    assert len(files) == 1  # one vocabulary


def test_fit_is_never_worse_than_the_best_member_on_its_split(members, data):
    blend = trs.models.Blend(members)
    assert blend.fit(data.validation, metric="mrr@10").history == {}
    learned = blend.learned
    assert learned.value >= max(learned.alone) and learned.metric == "mrr@10"
    assert "gains" not in learned.as_json() and learned.gain <= learned.value - max(learned.alone) + 1e-9
    np.testing.assert_allclose(blend.weights_by_length.sum(axis=1), 1, atol=1e-6)
    scored = evaluation.evaluate(blend, data.validation, (10,), slices=False, draws=0)
    assert scored.metrics["mrr@10"] == pytest.approx(learned.value, abs=1e-6)
    for member, alone in zip(members[:2], learned.alone, strict=False):
        measured = evaluation.evaluate(member, data.validation, (10,), slices=False, draws=0).metrics["mrr@10"]
        assert measured == pytest.approx(alone, abs=2e-3)  # float32 rounds probabilities: more ties


def test_members_with_context_get_it():
    train, test = (
        sessions_of(log, items=4, device=np.arange(np.sum([len(row) for row in log])) % 2)
        for log in ([[2, 3, 4, 5], [3, 2, 5, 4], [4, 5, 2, 3]], [[2, 4, 3], [5, 3]])
    )
    train.items.context_log = ContextLog(train, {})
    settings = training.settings_of("gru4rec", {"units": [8], "negatives": 4, "epochs": 1, "context": ["device"]})
    network = training.build("gru4rec", train.items, settings)
    markov = trs.models.MarkovChain(train.items)
    markov.fit(train)
    blend = trs.models.Blend([network, markov], [1, 0])
    scored = [evaluation.evaluate(model, test, (2,), slices=False, draws=0).ranks for model in (network, blend)]
    np.testing.assert_array_equal(*scored)
    request = {"context": {"device": [["1", "0"]]}, "k": 4}
    assert blend.recommend([["i2", "i3"]], **request).items.tolist() == (
        network.recommend([["i2", "i3"]], **request).items.tolist()
    )


def test_weights_by_length_need_a_gain_on_other_sessions():
    """Candidate 0 is right after one item, candidate 1 after two; then candidate 2 is best overall, and chance."""
    session = np.repeat(np.arange(200), 2)
    length = np.tile([1, 2], 200)
    values = np.array([length == 1, length == 2, np.full(400, 0.6)], float)
    lengths, chosen = _choice(values, session, length)
    assert lengths == (1, 2, 3, 5) and chosen[:2].tolist() == [0, 1]
    noise = np.random.default_rng(0).random((3, 400))
    lengths, chosen = _choice(noise, session, length)
    assert lengths == (1,) and chosen.tolist() == [np.argmax(noise.mean(axis=1))]


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"trend": [1]}])
def test_networks_with_a_repeat_head_are_blended(data, monkeypatch, settings):
    """The width of what they encode follows the length of the sessions of a batch."""
    network = fitted(data, "gru4rec", epochs=1, units=[8], negatives=16, rows=16, repeats=True, **settings)
    blend, batches = trs.models.Blend([network, fitted(data, "markov")]), trs.models.Blend._batches

    def of_several_lengths(x):
        for most in (3, 6, 100):
            yield from batches(blend, x.only(np.diff(x.offsets) <= most))

    monkeypatch.setattr(blend, "_batches", of_several_lengths)
    blend.fit(data.validation)
    assert 0 < blend.learned.value <= 1 and blend.learned.events > data.validation.scored_events


def test_gains_are_those_of_sessions_that_the_weights_were_not_learned_on():
    rng = np.random.default_rng(0)
    session, values = np.repeat(np.arange(200), 2), rng.random((4, 400)) / 10
    values[3] += 0.2  # the best of four candidates everywhere; the first is compared with
    gains = _gains(values, session, np.ones(400, int), 0)
    np.testing.assert_allclose(gains, np.bincount(session, values[3] - values[0]))
    half = session // 2 % 2 == 0
    values[3, half] -= 0.4  # each half chooses what is bad for the other
    values[2, half] += 0.2
    gains = _gains(values, session, np.ones(400, int), 0)
    expected = np.where(half, values[3], values[2]) - values[0]
    np.testing.assert_allclose(gains, np.bincount(session, expected))
    assert _gains(values[:, :1], session[:1], np.ones(1, int), 0).tolist() == [0.0]


@pytest.mark.parametrize("members", [2, 3, 4, 5, 7])
def test_the_lattice_has_single_members_and_sums_of_one(members):
    weights = lattice(members)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_array_equal(weights[:members], np.eye(members))
    assert (weights >= 0).all() and len(np.unique(weights.round(9), axis=0)) == len(weights)


def test_scales_and_ranges_by_hand():
    scores = np.array([[1.0, 3.0, -1.0], [0.0, 0.0, 0.0]], np.float32)
    np.testing.assert_allclose(comparable(scores, "share", 2.0), [[0.1, 0.9, 0], [0, 0, 0]], atol=1e-6)
    soft = np.exp(scores[0] / 2) / np.exp(scores[0] / 2).sum()
    np.testing.assert_allclose(comparable(scores, "softmax", 2.0), [soft, [1 / 3] * 3], atol=1e-6)
    assert range_of(np.array([0, 1, 2, 4, 5, 90]), (1, 2, 5)).numpy().tolist() == [0, 0, 1, 1, 2, 2]


def test_what_cannot_be_blended(members, data):
    other = fitted(trs.synthetic_sessions(items=40, sessions=200, seed=2), "popularity")
    with pytest.raises(InputError, match=r"members\[1\], a Popularity, is of other data"):
        trs.models.Blend([members[0], other])
    with pytest.raises(InputError, match="at least two"):
        trs.models.Blend(members[:1])
    with pytest.raises(InputError, match=r"members\[1\]: must be one of trs.models, not str"):
        trs.models.Blend([members[0], "markov"])
    with pytest.raises(InputError, match=r"members\[1\], a HRNN, reads earlier sessions"):
        trs.models.Blend([members[0], trs.models.HRNN(data.items)])
    with pytest.raises(InputError, match="cannot score the whole catalogue"):
        trs.models.Blend([members[0], trs.models.Recommender(data.items)])
    for weights in ([1, -1], [0, 0], [1], [1, float("nan")]):
        with pytest.raises(InputError, match="weights=.*2 numbers of at least 0"):
            trs.models.Blend(members[:2], weights)
    with pytest.raises(InputError, match="lengths"):
        trs.models.Blend(members[:2], lengths=(2, 3))
    blend = trs.models.Blend(members[:2])
    with pytest.raises(InputError, match="metric='hits@3'"):
        blend.fit(data.validation, metric="hits@3")
    with pytest.raises(InputError, match="x: must be data.validation"):
        blend.fit(data)
