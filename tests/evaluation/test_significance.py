import itertools

import numpy as np
import pytest

from tfrecsession import InputError, evaluation
from tfrecsession.batches import Sessions
from tfrecsession.evaluation.significance import sign_flip_p
from tfrecsession.sessions.store import SessionArrays
from tfrecsession.sessions.vocabulary import Items

ITEMS = Items([f"i{number}" for number in range(50)], np.arange(50, 0, -1))


def split(lengths, seed=0):
    values = np.random.default_rng(seed).integers(2, 52, sum(lengths))
    return Sessions(SessionArrays(ITEMS, values, np.cumsum([0, *lengths])), "test")


def scored(sessions, ranks, **how):
    event = np.setdiff1d(np.arange(sessions.events), sessions.offsets[:-1])
    return evaluation.measure(sessions, event, np.asarray(ranks, np.int32), (20,), slices=False, draws=50, **how)


def test_by_brute_force():
    sessions = split([3, 2, 4, 2])
    a, b = scored(sessions, [1, 2, 4, 1, 3, 30, 2]), scored(sessions, [2, 2, 1, 5, 30, 30, 1])
    found = evaluation.paired(a, b, sessions)
    scores_a, scores_b = (np.array([1 / rank if rank <= 20 else 0 for rank in x.ranks]) for x in (a, b))
    assert found.difference == pytest.approx((scores_a - scores_b).mean())
    assert found.difference == pytest.approx(a.metrics["mrr@20"] - b.metrics["mrr@20"])
    assert (found.events, found.sessions, found.metric) == (7, 4, "mrr@20")
    sums = [(scores_a - scores_b)[part].sum() for part in (slice(0, 2), slice(2, 3), slice(3, 6), slice(6, 7))]
    flipped = [abs(np.dot(signs, sums)) for signs in itertools.product((1, -1), repeat=4)]
    exact = np.mean(np.array(flipped) >= abs(sum(sums)) - 1e-9)
    assert found.p_value == pytest.approx(exact, abs=0.02)


def test_every_sign_of_few_differences():
    rng = np.random.default_rng(0)
    for size in (1, 2, 5, 8):
        differences = rng.integers(-3, 4, size) / 4
        signs = np.array(list(itertools.product((1, -1), repeat=size)))
        exact = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12)
        assert sign_flip_p(differences, flips=20_000) == pytest.approx(exact, abs=0.015)


def test_blocks_of_sessions_add_up(monkeypatch):
    from tfrecsession.evaluation import significance

    differences = np.random.default_rng(1).normal(0.1, 1, 300)
    whole = sign_flip_p(differences, flips=4000)
    monkeypatch.setattr(significance, "CELLS", 4000 * 16)
    assert sign_flip_p(differences, flips=4000, seed=1) == pytest.approx(whole, abs=0.03)


def test_noise_gives_uniform_p_values():
    rng = np.random.default_rng(0)
    sessions = split(rng.integers(2, 7, 150).tolist())
    events = sessions.scored_events
    found, covered = [], 0
    for _ in range(200):
        a, b = (scored(sessions, rng.integers(1, 40, events)) for _ in range(2))
        test = evaluation.paired(a, b, sessions, draws=300, flips=500)
        found.append(test.p_value)
        covered += test.interval[0] <= 0 <= test.interval[1]
    edges = np.histogram(found, bins=5, range=(0, 1))[0]
    assert (edges > 20).all() and (edges < 65).all()  # 40 expected, standard deviation 5.7
    assert np.mean(np.array(found) <= 0.05) < 0.1 and covered / 200 > 0.9


def test_a_real_difference_is_found():
    rng = np.random.default_rng(0)
    sessions = split([4] * 300)
    ranks = rng.integers(2, 40, sessions.scored_events)
    a, b = scored(sessions, np.maximum(ranks - 2, 1)), scored(sessions, ranks)
    for metric in ("mrr@20", "recall@20", "ndcg@5"):
        found = evaluation.paired(a, b, sessions, metric)
        assert found.p_value < 0.001 and 0 < found.interval[0] < found.difference < found.interval[1]
    b_a, a_b = evaluation.paired(b, a, sessions), evaluation.paired(a, b, sessions)
    assert b_a.interval == pytest.approx([-a_b.interval[1], -a_b.interval[0]], rel=1e-5)


def test_a_model_is_no_better_than_itself():
    sessions = split([3, 4, 5])
    a = scored(sessions, [1, 2, 3, 4, 5, 6, 7, 8, 9])
    found = evaluation.paired(a, a, sessions)
    assert found.difference == 0 and found.p_value == 1 and found.interval == [0, 0]


def test_events_that_differ_are_refused():
    sessions, others = split([3, 4]), split([3, 4], seed=1)
    a, b = scored(sessions, [1, 2, 3, 4, 5]), scored(others, [1, 2, 3, 4, 5])
    with pytest.raises(InputError, match="b was not evaluated on these sessions"):
        evaluation.paired(a, b, sessions)
    with pytest.raises(InputError, match="a was not evaluated"):
        evaluation.paired(a, a, others)
    fewer = evaluation.measure(sessions, a.event[1:], a.ranks[1:], (20,))
    with pytest.raises(InputError, match=r"different events \(5 and 4\)"):
        evaluation.paired(a, fewer, sessions)
    with pytest.raises(InputError, match="b has no ranks"):
        evaluation.paired(a, evaluation.chance(50, 5), sessions)


@pytest.mark.parametrize(
    ("metric", "message"), [("hits@20", "mrr@20"), ("mrr", "mrr@20"), ("mrr@0", "mean"), ("map@20", "beyond_accuracy")]
)
def test_metrics_that_cannot_be_compared(metric, message):
    sessions = split([3, 4])
    a = scored(sessions, [1, 2, 3, 4, 5])
    with pytest.raises(InputError, match=message):
        evaluation.paired(a, a, sessions, metric)


def test_precision_and_map_compare_lists():
    sessions = split([3, 4])
    first = np.tile(np.arange(2, 22), (5, 1))
    hit = first.copy()
    event = np.setdiff1d(np.arange(sessions.events), sessions.offsets[:-1])
    hit[:, 0] = sessions.values[event]
    a, b = (scored(sessions, [30] * 5, lists=lists) for lists in (hit, first))
    for metric in ("map@20", "precision@20"):
        found = evaluation.paired(a, b, sessions, metric)
        assert found.difference == pytest.approx(a.metrics[metric] - b.metrics[metric]) and found.difference >= 0


def test_holm_by_hand():
    # in order: 0.01 * 4, 0.02 * 3, 0.03 * 2 (but not below 0.06), 0.9 * 1
    np.testing.assert_allclose(evaluation.holm([0.03, 0.01, 0.9, 0.02]), [0.06, 0.04, 0.9, 0.06])
    assert evaluation.holm([0.6, 0.7]).tolist() == [1.0, 1.0] and evaluation.holm([]).tolist() == []
