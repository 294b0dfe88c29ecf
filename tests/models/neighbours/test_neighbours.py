"""The session neighbours against their formulas, written out slowly over small random logs."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.logs import packed
from tfrecsession import InputError
from tfrecsession.batches import Sessions
from tfrecsession.evaluation import evaluate
from tfrecsession.models import SKNN, STAN, VSKNN, VSTAN
from tfrecsession.sessions.store import SessionArrays
from tfrecsession.sessions.vocabulary import Items

ITEMS = 8
DAY = 86_400_000_000


def log(sessions, gap=DAY // 4, step=1000, start=0, role="train", size=ITEMS):
    """Sessions of item ids; each starts `gap` after the one before."""
    counts = np.bincount(np.concatenate(sessions), minlength=size + 2)[2:] if sessions else np.zeros(size, int)
    values = np.concatenate(sessions) if sessions else np.zeros(0, np.int32)
    offsets = np.cumsum([0, *map(len, sessions)])
    times = np.concatenate(
        [start + number * gap + step * np.arange(len(session)) for number, session in enumerate(sessions)] or [[]]
    )
    items = Items(np.array([f"i{n}" for n in range(size)]), counts)
    return Sessions(SessionArrays(items, values, offsets, {"times": times.astype(np.int64)}), role)


def reference(train, history, settings, now=None, gap=DAY // 4, step=1000, size=ITEMS):
    """Scores of all item ids: candidates, similarities, votes, one after the other."""
    ends = [number * gap + step * (len(session) - 1) for number, session in enumerate(train)]
    order = sorted(range(len(train)), key=lambda n: (ends[n], n), reverse=True)  # newest first
    sessions = [(n, [item for item in train[n] if item > 1]) for n in order]
    history = [item for item in history if item > 1]
    length = len(history)
    place = {item: position for position, item in enumerate(history, 1)}  # a later one overwrites
    weight = {item: settings["w"](position, length) for item, position in place.items()}
    candidates = [(n, s) for n, s in sessions if set(s) & set(history) and (now is None or ends[n] < now)]
    candidates = candidates[: settings["recent"]]
    similar = []
    for n, session in candidates:
        both = set(session) & set(history)
        if settings["similarity"] == "cosine":
            norm = math.sqrt(sum(w * w for w in weight.values())) * math.sqrt(len(set(session)))
            value = sum(weight[item] for item in both) / norm if norm else 0.0
        elif settings["similarity"] == "vec":
            value = sum(weight[item] for item in both) / len(weight)
        else:
            value = len(both) / len(set(session) | set(history))
        if settings.get("session_decay"):
            value *= math.exp(-(max(ends) - ends[n]) / DAY / settings["session_decay"])
        similar.append((value, session))
    similar.sort(key=lambda pair: -pair[0])  # stable: of equals the newest
    events = np.bincount(np.concatenate(train), minlength=size + 2)
    scores = np.zeros(size + 2)
    for value, session in similar[: settings["neighbours"]]:
        back = next(number for number, item in enumerate(reversed(history), 1) if item in session)
        last = {item: position for position, item in enumerate(session, 1)}
        anchor = max(position for item, position in last.items() if item in place)
        for item in set(session):
            vote = value * settings["d"](back)
            vote *= max(0.0, 1 + settings.get("idf", 0) * math.log(len(train) / events[item]))
            if settings.get("item_decay"):
                vote *= math.exp(-abs(last[item] - anchor) / settings["item_decay"])
            scores[item] += vote
    return scores


W = {
    "same": lambda p, n: 1.0,
    "div": lambda p, n: p / n,
    "linear": lambda p, n: max(0.0, 1 - 0.1 * (n - p)),
    "log": lambda p, n: 1 / math.log10(n - p + 1.7),
    "quadratic": lambda p, n: (p / n) ** 2,
}
D = {
    "same": lambda s: 1.0,
    "div": lambda s: 1 / s,
    "linear": lambda s: max(0.0, 1 - 0.1 * s),
    "log": lambda s: 1 / math.log10(s + 1.7),
    "quadratic": lambda s: 1 / s**2,
}
CASES = [
    (SKNN, {}, {"w": W["same"], "d": D["same"], "similarity": "cosine"}),
    (SKNN, {"similarity": "jaccard"}, {"w": W["same"], "d": D["same"], "similarity": "jaccard"}),
    *[
        (
            VSKNN,
            {"similarity": similarity, "weighting": w, "score_weighting": d, "idf": idf, "session_decay": decay},
            {"w": W[w], "d": D[d], "similarity": similarity, "idf": idf, "session_decay": decay},
        )
        for similarity, w, d, idf, decay in [
            ("cosine", "quadratic", "quadratic", 0.0, None),
            ("vec", "div", "div", 0.5, None),
            ("vec", "linear", "linear", 0.0, 2.0),
            ("cosine", "log", "log", 2.0, None),
            ("vec", "same", "same", 0.0, None),
        ]
    ],
    (
        STAN,
        {"position_decay": 1.5, "session_decay": 3.0, "item_decay": 2.0},
        {
            "w": lambda p, n: math.exp((p - n) / 1.5),
            "d": D["same"],
            "similarity": "cosine",
            "session_decay": 3.0,
            "item_decay": 2.0,
        },
    ),
    (
        STAN,
        {"position_decay": None, "session_decay": None, "item_decay": None},
        {"w": W["same"], "d": D["same"], "similarity": "cosine"},
    ),
    (
        VSTAN,
        {
            "similarity": "vec",
            "position_decay": 1.5,
            "session_decay": 3.0,
            "item_decay": 2.0,
            "match_decay": 1.2,
            "idf": 0.7,
        },
        {
            "w": lambda p, n: math.exp((p - n) / 1.5),
            "d": lambda s: math.exp((1 - s) / 1.2),
            "similarity": "vec",
            "session_decay": 3.0,
            "item_decay": 2.0,
            "idf": 0.7,
        },
    ),
]
ids = st.integers(1, ITEMS + 1)  # 1: an unknown item
sessions = st.lists(st.lists(ids, min_size=1, max_size=6).map(lambda s: np.array(s, np.int32)), min_size=1, max_size=12)


def batch_of(history, target, now=None):
    batch = packed([history])
    if now is not None:
        batch["context/times"] = np.full((1, len(history)), now, np.int64)
    targets = np.zeros_like(batch["items"])
    targets[0, -1] = target
    return batch, targets


def ranks_allow(scores, target, rank):
    """Whether `rank` is that of the target, ties against it, whichever way sums were rounded."""
    scores = scores[2:]
    own = scores[target - 2]
    return (scores > own + 1e-9).sum() < rank <= (scores >= own - 1e-9).sum()


@pytest.mark.parametrize("case", range(len(CASES)))
@settings(max_examples=25)
@given(train=sessions, history=st.lists(ids, min_size=1, max_size=6), recent=st.integers(1, 6), k=st.integers(1, 4))
def test_equals_the_formula(case, train, history, recent, k):
    cls, arguments, formula = CASES[case]
    data = log(train)
    model = cls(data.items, neighbours=k, recent=recent, **arguments)
    model.fit(data)
    expected = reference(train, history, {**formula, "recent": recent, "neighbours": k})
    batch, targets = batch_of(history, target=2)
    scored = np.asarray(model.score_all(model.encode(batch)[:, -1]))[0]
    np.testing.assert_allclose(scored[2:], expected[2:], rtol=1e-4, atol=1e-6)
    for target in range(2, ITEMS + 2):
        _, targets = batch_of(history, target)
        ranks, lists = model.target_ranks(batch, targets, best=5)
        assert ranks_allow(expected, target, ranks[0])
    listed = expected[lists[0]]
    np.testing.assert_allclose(listed, np.sort(expected[2:])[::-1][:5], atol=1e-9)
    assert len(set(lists[0])) == 5 and (lists[0] > 1).all()


@settings(max_examples=25)
@given(train=sessions, history=st.lists(ids, min_size=1, max_size=4), seen=st.integers(0, 12))
def test_sessions_that_have_not_ended_are_not_seen(train, history, seen):
    data = log(train)
    model = VSKNN(data.items, neighbours=3, recent=4)
    model.fit(data)
    now = seen * DAY // 4 + 2000
    formula = {"w": W["quadratic"], "d": D["quadratic"], "similarity": "cosine", "recent": 4, "neighbours": 3}
    expected = reference(train, history, formula, now=now)
    for target in range(2, ITEMS + 2):
        batch, targets = batch_of(history, target, now)
        assert ranks_allow(expected, target, model.target_ranks(batch, targets)[0][0])


@pytest.mark.parametrize("model", [SKNN, VSKNN, STAN, VSTAN])
def test_evaluating_the_train_split_does_not_find_the_session_itself(model):
    """Every session has items of its own: only from itself could a model know what comes next."""
    train = log([[2 + 2 * n, 3 + 2 * n] for n in range(50)], size=100)
    fitted = model(train.items)
    fitted.fit(train)
    assert evaluate(fitted, train, (20,)).metrics["recall@20"] == 0.0
    later = log([[2 + 2 * n, 3 + 2 * n] for n in range(50)], start=100 * DAY, role="test", size=100)
    later.items = train.items
    assert evaluate(fitted, later, (20,)).metrics["recall@20"] == 1.0


def test_equal_histories_at_different_times_see_different_pasts():
    train = log([[2, 3], [2, 3]], size=100)
    model = SKNN(train.items)
    model.fit(train)
    assert evaluate(model, train, (20,)).ranks.tolist() == [100, 2]  # nobody before; then the first (its 2 ties)


def test_in_a_log_without_times_all_of_train_is_past():
    train, test = log([[2, 3], [4, 5]], size=100), log([[2, 3]], role="test", size=100)
    test.items, test.timed = train.items, False  # its rows are numbered from 0 again
    model = SKNN(train.items)
    model.fit(train)
    assert evaluate(model, test, (20,)).metrics["recall@20"] == 1.0


def test_the_newest_of_equals_are_neighbours():
    train = log([[2, 3], [2, 4], [2, 5]])
    model = SKNN(train.items, neighbours=2, recent=10)
    model.fit(train)
    assert set(model.recommend([["i0"]], k=3, exclude_seen=True).items[0][:2]) == {"i2", "i3"}
    model = SKNN(train.items, neighbours=10, recent=1)
    model.fit(train)
    recommended = model.recommend([["i0"]], k=2, exclude_seen=True)
    assert recommended.items[0][0] == "i3" and recommended.scores[0][1] == 0.0


def test_the_window_keeps_the_newest_events():
    train = log([[2, 3], [4, 5], [2, 6], [4, 7]])
    model = VSKNN(train.items, window=1)
    model.fit(train)
    model_of_all = VSKNN(train.items)
    model_of_all.fit(train)
    for history, target in (([2, 4], 5), ([4, 2], 3), ([8, 2, 4], 7)):
        batch, targets = batch_of(history, target)
        last, last_targets = batch_of(history[-1:], target)
        assert model.target_ranks(batch, targets)[0] == model_of_all.target_ranks(last, last_targets)[0]
        scores = model.score_all(model.encode(batch)[:, -1])
        np.testing.assert_allclose(scores, model_of_all.score_all(model_of_all.encode(last)[:, -1]))


def test_a_second_fit_forgets_the_first(shop):
    model = VSKNN(shop.items)
    model.fit(shop.train)
    history = [list(shop.items.ids[3:5])]
    before, answer = evaluate(model, shop.test).metrics, model.recommend(history, k=5)
    model.fit(shop.validation)
    assert model.recommend(history, k=5).scores.tolist() != answer.scores.tolist()
    model.fit(shop.train)
    assert evaluate(model, shop.test).metrics == before
    assert model.recommend(history, k=5).items.tolist() == answer.items.tolist()


@pytest.mark.parametrize(
    ("model", "arguments"),
    [
        (VSKNN, {"neighbours": 0}),
        (VSKNN, {"recent": -1}),
        (VSKNN, {"window": 0}),
        (VSKNN, {"similarity": "dot"}),
        (VSKNN, {"weighting": "cubic"}),
        (VSKNN, {"score_weighting": "cubic"}),
        (VSKNN, {"session_decay": 0}),
        (STAN, {"position_decay": 0.0}),
        (VSTAN, {"match_decay": -1.0}),
        (STAN, {"item_decay": float("nan")}),
    ],
)
def test_bad_arguments_are_named(shop, model, arguments):
    (name,) = arguments
    with pytest.raises(InputError, match=name):
        model(shop.items, **arguments)
