import numpy as np
import pytest

from tfrecsession.evaluation import bootstrap
from tfrecsession.evaluation.bootstrap import POISSON, Group, averages


def intervals(session, values, draws=1000, seed=0):
    """Returns the textbook bootstrap interval: whole sessions sampled with replacement, one draw at a time."""
    by_session = [values[session == index] for index in np.unique(session)]
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(draws):
        drawn = [by_session[i] for i in rng.integers(0, len(by_session), len(by_session))]
        means.append(np.concatenate(drawn).mean())
    return np.quantile(means, [0.025, 0.975])


def random_events(sessions=400, seed=0):
    """Returns events that correlate within sessions, so that a bootstrap over events would be too narrow."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 8, sessions)
    session = np.repeat(np.arange(sessions) * 3, lengths)  # the other indices are sessions without events
    values = np.repeat(rng.random(sessions), lengths) + 0.1 * rng.random(len(session))
    return session, values


def one_group(values):
    return [Group(np.zeros(len(values), int), 1, [0])]


def test_the_interval_is_the_textbooks():
    session, values = random_events()
    (found,) = averages(session, lambda chunk: values[chunk, None], one_group(values), draws=4000)
    low, high = intervals(session, values, draws=4000)
    width = high - low
    assert found.low[0, 0] == pytest.approx(low, abs=0.05 * width)
    assert found.high[0, 0] == pytest.approx(high, abs=0.05 * width)
    assert found.mean[0, 0] == pytest.approx(values.mean()) and found.events[0] == len(values)
    assert found.sessions[0] == 400
    by_event = 2 * 1.96 * values.std() / np.sqrt(len(values))
    assert width > 1.5 * by_event


def test_the_interval_covers_the_truth_in_95_percent():
    rng = np.random.default_rng(1)
    covered = 0
    for seed in range(200):
        session, values = random_events(sessions=60, seed=[2, seed])
        values = values * 0 + np.repeat(rng.random(60), np.bincount(session // 3))  # mean 1/2
        (found,) = averages(session, lambda chunk, v=values: v[chunk, None], one_group(values), draws=300, seed=seed)
        covered += found.low[0, 0] <= 0.5 <= found.high[0, 0]
    assert 0.89 < covered / 200 <= 0.99


def test_blocks_change_nothing_but_the_draws(monkeypatch):
    session, values = random_events(sessions=50)
    label = np.random.default_rng(0).integers(-1, 3, len(values))
    columns = np.stack([values, values**2], axis=1)
    groups = [Group(np.zeros(len(values), int), 1, [0, 1]), Group(label, 4, [1])]
    monkeypatch.setattr(bootstrap, "BLOCK", 7)
    whole, parts = averages(session, columns.__getitem__, groups, draws=200)
    np.testing.assert_allclose(whole.mean, [columns.mean(axis=0)])
    for number in range(3):
        mask = label == number
        assert parts.events[number] == mask.sum()
        assert parts.sessions[number] == len(np.unique(session[mask]))
        assert parts.mean[number, 0] == pytest.approx(columns[mask, 1].mean())
        assert parts.low[number, 0] < parts.mean[number, 0] < parts.high[number, 0]
    assert parts.events[3] == 0 and np.isnan([parts.mean[3], parts.low[3], parts.high[3]]).all()


def test_one_session_has_no_interval():
    (found,) = averages(np.array([4, 4]), lambda chunk: np.ones((2, 1))[chunk], one_group([0, 1]))
    assert found.mean[0, 0] == 1 and np.isnan(found.low[0, 0]) and np.isnan(found.high[0, 0])


def test_equal_seeds_give_equal_draws():
    session, values = random_events()
    first, again, other = (
        averages(session, lambda chunk: values[chunk, None], one_group(values), seed=seed)[0] for seed in (3, 3, 4)
    )
    assert first.low == again.low and first.low != other.low


def test_without_draws_or_events():
    session, values = random_events()
    (found,) = averages(session, lambda chunk: values[chunk, None], one_group(values), draws=0)
    assert found.mean[0, 0] == pytest.approx(values.mean()) and np.isnan(found.low[0, 0])
    (nothing,) = averages(session[:0], lambda chunk: values[chunk, None], one_group([]), draws=10)
    assert nothing.events[0] == 0 and np.isnan(nothing.mean[0, 0])


def test_the_weights_are_poisson():
    assert POISSON.mean() == pytest.approx(1, abs=1e-4) and POISSON.var() == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(np.bincount(POISSON.astype(int))[:3] / len(POISSON), np.exp(-1) / [1, 1, 2], atol=1e-4)
