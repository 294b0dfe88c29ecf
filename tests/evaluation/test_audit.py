"""The audit catches scorers that leak in the known ways, each by the right line, and no honest one."""

import json

import keras
import numpy as np
import pytest

import tfrecsession as trs
from tests.logs import sessions_of
from tfrecsession import InputError
from tfrecsession.evaluation import audit

ITEMS = 40
RNG = np.random.default_rng(0)
LOG = [list(RNG.integers(2, ITEMS + 2, RNG.integers(2, 9))) for _ in range(60)]
SESSIONS = sessions_of(LOG, items=ITEMS)
TABLE = RNG.normal(size=(ITEMS, ITEMS))  # scores of the next item by an item of the history
IDS = {item: row for row, item in enumerate(SESSIONS.items.ids)}


def rows(histories):
    return [[IDS[item] for item in history] for history in histories]


# Honest scorers


def honest(histories):
    return np.stack([TABLE[history].mean(axis=0) for history in rows(histories)])


def with_padding_and_unknown(histories):
    return np.pad(honest(histories), [(0, 0), (2, 0)], constant_values=99)


def of_the_best(histories):
    scores = honest(histories)
    best = np.argsort(-scores, axis=1)[:, :10]
    return SESSIONS.items.ids[best], np.take_along_axis(scores, best, axis=1)


def by_step(histories):
    steps = max(map(len, histories))
    found = np.zeros((len(histories), steps, ITEMS))
    for row, history in zip(found, rows(histories), strict=True):
        row[: len(history)] = np.cumsum(TABLE[history], axis=0)
    return found


def in_float32_products(histories):
    bags = np.zeros((len(histories), ITEMS), np.float32)
    for row, history in zip(bags, rows(histories), strict=True):
        np.add.at(row, history, 1)
    return bags @ TABLE.astype(np.float32)  # rounds otherwise in batches of other sizes


def with_a_mask_of_large_numbers(histories):
    return np.where(np.arange(ITEMS) % 3 == 0, -1e9, honest(histories))


class OfTorch:
    """Behaves like a tensor of PyTorch that has a gradient."""

    def __init__(self, values):
        self.values = values

    def detach(self):
        return self

    def cpu(self):
        return self

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


def of_torch(histories):
    return OfTorch(honest(histories))


def popularity(histories):
    return np.tile(SESSIONS.items.counts, (len(histories), 1))


HONEST = [
    honest,
    with_padding_and_unknown,
    of_the_best,
    by_step,
    in_float32_products,
    with_a_mask_of_large_numbers,
    of_torch,
]


@pytest.mark.parametrize("scorer", HONEST, ids=lambda scorer: scorer.__name__)
def test_an_honest_scorer_passes(scorer):
    found = audit(scorer, SESSIONS, k=5)
    assert found.passed and all(check.passed for check in found.checks), found


def test_popular_items_tie_a_little():
    assert audit(popularity, SESSIONS, k=5, ties="against").passed


# Scorers that leak


def normalized_over_the_batch(histories):
    scores = honest(histories)
    return (scores - scores.mean(axis=0)) / (scores.std(axis=0) + 1e-3)


def popular_in_the_batch(histories):
    counts = np.bincount(np.concatenate(rows(histories)), minlength=ITEMS)
    return honest(histories) + 0.2 * counts


def looks_for_a_longer_one(histories):
    scores = honest(histories)
    for row, history in zip(scores, histories, strict=True):
        for other in histories:
            if len(other) > len(history) and other[: len(history)] == history:
                row[IDS[other[len(history)]]] += 100
    return scores


def averages_the_padding(histories):
    steps = max(map(len, histories))
    return np.stack([TABLE[row].sum(axis=0) / steps + TABLE[row[-1]] for row in rows(histories)])


def squeezed(histories):
    return np.squeeze(honest(histories))


def reads_the_target(histories, targets):
    scores = honest(histories)
    scores[np.arange(len(scores)), [IDS[target] for target in targets]] += 1
    return scores


def reads_both_directions(histories):
    found = by_step(histories)
    for row, history in zip(found, rows(histories), strict=True):
        row[: len(history)] += 0.1 * TABLE[history].sum(axis=0)  # and so what comes behind a step
    return found


class CountsWhatItWasHanded:
    def __init__(self):
        self.counts = np.zeros(ITEMS)

    def __call__(self, histories):
        self.counts += np.bincount(np.concatenate(rows(histories)), minlength=ITEMS)
        return honest(histories) + 0.01 * self.counts


def counts_duplicates(histories):
    return np.stack([scores * histories.count(one) for scores, one in zip(honest(histories), histories, strict=True)])


def reads_the_place_in_the_batch(histories):
    return honest(histories) + np.arange(len(histories))[:, None] * TABLE[0]


def constant(histories):
    return np.full((len(histories), ITEMS), 0.5)


def rounded(histories):
    return np.sign(honest(histories))


def not_a_number(histories):
    return np.where(np.arange(ITEMS) % 2, np.nan, honest(histories))


def at_random(histories):
    return np.random.default_rng().normal(size=(len(histories), ITEMS))


@pytest.mark.parametrize(
    "scorer, caught",
    [
        (normalized_over_the_batch, {"neighbours", "duplicates", "batch_size", "future", "target"}),
        (popular_in_the_batch, {"neighbours", "duplicates", "batch_size", "future", "target"}),
        (looks_for_a_longer_one, {"future", "target"}),
        (averages_the_padding, {"batch_size", "padding"}),
        (squeezed, {"batch_size"}),
        (reads_the_target, {"target"}),
        (reads_both_directions, {"future", "target"}),
        (CountsWhatItWasHanded(), {"calls"}),
        (at_random, {"calls"}),
        (counts_duplicates, {"duplicates"}),
        (reads_the_place_in_the_batch, {"permuted"}),
        (constant, {"constant"}),
        (rounded, {"ties"}),
        (not_a_number, {"finite"}),
    ],
    ids=lambda value: getattr(value, "__name__", "") if callable(value) else "",
)
def test_a_leak_is_caught_by_its_line(scorer, caught):
    found = audit(scorer, SESSIONS, k=5)
    assert not found.passed and caught <= set(found.failed), found
    strangers = {"finite", "constant", "ties", "calls"} - caught
    assert not strangers & set(found.failed), found


def test_lines_say_what_would_be_reported():
    check = {check.name: check for check in audit(constant, SESSIONS, k=5).checks}["constant"]
    assert (check.recall, check.flattered) == (0, 1) and "\n" not in check.line
    assert "Recall@5 is 0.0000 with ties against the target, it would be 1.0000" in check.line
    check = {check.name: check for check in audit(reads_the_target, SESSIONS, k=5).checks}["target"]
    assert check.flattered > check.recall and f"{check.flattered:.4f} instead of {check.recall:.4f}" in check.line


def test_the_true_target_is_handed_over_in_one_call_alone():
    calls = []

    def watching(histories, targets):
        calls.append((histories, targets))
        return honest(histories)

    assert audit(watching, SESSIONS).passed
    sessions = [SESSIONS.items.decode(np.array(session)).tolist() for session in LOG]
    following = {(tuple(items[:end]), items[end]) for items in sessions for end in range(1, len(items))}
    handed = [all((tuple(one), target) in following for one, target in zip(*call, strict=True)) for call in calls]
    assert sum(handed) == 1


def test_the_result_is_json_and_repeats():
    one, other = (audit(rounded, SESSIONS, k=5, seed=3).as_dict() for _ in range(2))
    assert json.loads(json.dumps(one)) == other and set(one) >= {"passed", "failed", "checks", "recall", "k"}


def test_context_is_handed_beside_the_histories():
    times = np.arange(sum(map(len, LOG))) / 7
    split = sessions_of(LOG, items=ITEMS, times=times)

    def scorer(histories, context):
        assert [len(values) for values in context["time"]] == list(map(len, histories))
        return honest(histories) + np.array([values[-1] % 86_400 for values in context["time"]])[:, None] * TABLE[1]

    assert audit(scorer, split, k=5, context=["time"]).passed
    with pytest.raises(InputError, match="context=.*times"):
        audit(scorer, split, context=["device"])


def test_a_keras_model_of_ids():
    items = keras.Input((None,), dtype="int32")
    embedded = keras.layers.Embedding(ITEMS + 2, 8, mask_zero=True)(items)
    masked = keras.Model(items, keras.layers.Dense(ITEMS + 2)(keras.layers.GlobalAveragePooling1D()(embedded)))
    assert audit(masked, SESSIONS, k=5).passed
    embedded = keras.layers.Embedding(ITEMS + 2, 8)(items)
    padded = keras.Model(items, keras.layers.Dense(ITEMS + 2)(keras.layers.GlobalAveragePooling1D()(embedded)))
    assert "padding" in audit(padded, SESSIONS, k=5).failed


def test_a_model_whose_evaluation_sees_more_is_caught():
    model = trs.models.MODELS["markov"](SESSIONS.items)
    model.fit(SESSIONS)
    assert audit(model, SESSIONS, k=5).passed

    def shifted(batch, targets, best=0):
        ranks, lists = type(model).target_ranks(model, batch, targets, best)
        return np.ones_like(ranks), lists

    model.target_ranks = shifted
    assert audit(model, SESSIONS, k=5).failed == ["evaluation"]


@pytest.mark.parametrize(
    "scorer, more, message",
    [
        ("item_knn", {}, "scorer: must be a function"),
        (
            lambda histories: np.zeros((len(histories), 3)),
            {},
            r"must return scores .*\[30, 40\], not \(30, 3\)",
        ),
        (lambda histories: 1 / 0, {}, "scorer: fails on 30 histories: ZeroDivisionError"),
        (honest, {"k": 0}, "k=0: must be"),
        (honest, {"histories": 2.5}, "histories=2.5: must be"),
        (honest, {"ties": "for"}, "ties='for': must be"),
    ],
)
def test_bad_input(scorer, more, message):
    with pytest.raises(InputError, match=message):
        audit(scorer, SESSIONS, **more)


def test_a_split_of_few_sessions():
    with pytest.raises(InputError, match="needs four"):
        audit(honest, sessions_of([[2, 3], [4, 5], [6]], items=ITEMS))
    with pytest.raises(InputError, match="data: must be"):
        audit(honest, LOG)
