"""Sessions much longer than the others: the same ranks and answers in any block, in memory that follows the events."""

import numpy as np
import pytest

from tests.logs import packed, sessions_of
from tfrecsession import models
from tfrecsession.layers import blocks
from tfrecsession.models.neighbours import session_search

MODELS = {
    "session_aggregation": {},
    "session_aggregation, plain mean": {"discount": 1.0},
    "session_aggregation, last item": {"discount": 0.0},
    "slist": {},
    "slist, all events alike": {"inference_decay": None},
    "slist, slow decay": {"inference_decay": 10.0},
    "slist, whole table": {"neighbours": None},
    "item_knn": {"history": "mean", "window": 300},
    "sequential_rules": {"history": "div"},
    "session_popularity": {},
    "random": {},
    "sknn": {"recent": 5, "neighbours": 3},
    "vsknn": {"recent": 5, "neighbours": 3},
    "vsknn, windowed": {"recent": 5, "neighbours": 3, "window": 7},
    "stan": {"recent": 5, "neighbours": 3},
    "vstan": {"recent": 5, "neighbours": 3},
    "als": {"factors": 4, "sweeps": 2},
}


@pytest.fixture(scope="module")
def log():
    random = np.random.default_rng(5)
    lengths = [3, 2, 250, 5, 31, 1, 7, 130, *random.integers(1, 6, 60)]
    return [random.integers(1, 14, length).tolist() for length in lengths]


def fitted(name, log):
    users = np.array([f"user-{number}" for number in range(len(log))], object)
    times = np.repeat(np.arange(len(log)), [len(session) for session in log])
    sessions = sessions_of(log, items=12, times=times, user=users)
    model = models.by_name(name.partition(",")[0])(sessions.items, **MODELS[name])
    model.fit(sessions)
    return model, sessions


@pytest.mark.parametrize("name", MODELS)
def test_the_ranks_of_long_sessions_are_those_of_each_history_alone_in_any_block(name, log, monkeypatch):
    model, _ = fitted(name, log)
    history = [item for item in log[2] if item > 1]
    batch = packed([history, log[7]], [log[4]])
    targets = np.where(batch["segment"] > 0, np.roll(batch["items"], -1), 0)
    whole = model.target_ranks(batch, targets, best=4)
    for events in (1, 60, 150, len(history)):
        alone = packed([history[:events]])
        scores = np.asarray(model.score_all(model.encode(alone)[:, -1]))[0]
        last = np.asarray(model.score_all(model.encode_last(alone, np.array([events], np.int32))))[0]
        np.testing.assert_allclose(last[2:], scores[2:], rtol=1e-4, atol=1e-6)
        event = events - 1
        own = scores[targets[0, event]]
        if targets[0, event] > 1:
            near = 1e-5 * abs(own) + 1e-7
            assert (scores[2:] >= own + near).sum() <= whole[0][event] <= (scores[2:] >= own - near).sum()
        np.testing.assert_allclose(scores[whole[1][event]], np.sort(scores[2:])[::-1][:4], rtol=1e-4, atol=1e-6)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1 << 12)  # an event or a few at a time
    monkeypatch.setattr(session_search, "EVENTS", 16)
    small, _ = fitted(name, log)
    ranks, lists = small.target_ranks(batch, targets, best=4)
    assert (ranks == whole[0]).mean() > 0.98 and (lists == whole[1]).mean() > 0.98  # the last bit may differ


def test_one_long_history_does_not_widen_the_others(log, monkeypatch):
    model, sessions = fitted("slist", log)
    histories = [sessions.items.decode(np.array(session)).tolist() for session in log]
    expected = model.recommend(histories, k=5)
    shapes = []
    answer = model._traced

    def traced(*arguments):
        graph = answer(*arguments)

        def called(*arrays):
            shapes.append(tuple(arrays[0].shape))
            return graph(*arrays)

        called.outputs = graph.outputs
        return called

    monkeypatch.setattr(model, "_traced", traced)
    monkeypatch.setattr("tfrecsession.recommender.recommend.BLOCK_BYTES", 4 * 1024 * 300)
    again = model.recommend(histories, k=5)
    assert again.items.tolist() == expected.items.tolist()
    np.testing.assert_allclose(again.scores, expected.scores, rtol=1e-5)
    assert max(rows * steps for rows, steps in shapes) <= 300 and sum(rows for rows, _ in shapes) == len(log)
