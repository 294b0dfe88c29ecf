import numpy as np
import pytest

from tests.logs import scores_after, sessions_of
from tfrecsession import InputError, evaluation
from tfrecsession.models import Random

LOG = [[2, 3, 4, 3], [5, 2]]


def random(**settings):
    sessions = sessions_of(LOG, items=1000)
    model = Random(sessions.items, **settings)
    model.fit(sessions)
    return model


def test_the_order_depends_on_the_history_and_the_seed_alone():
    model = random()
    histories = [[2], [3], [2, 3], [3, 2], [2, 2], [2, 2, 2], [2, 3, 4, 5]]
    scores = np.stack([scores_after(model, history) for history in histories])
    assert len({tuple(row) for row in scores}) == len(histories)
    np.testing.assert_array_equal(scores_after(model, [2, 1, 3]), scores[2])  # unknown items are skipped
    assert not np.array_equal(scores_after(random(seed=1), [2]), scores[0])
    np.testing.assert_array_equal(scores_after(random(seed=0), [2]), scores[0])


def test_scores_are_uniform_and_uncorrelated():
    model = random()
    scores = np.stack([scores_after(model, [a, b])[2:] for a in range(2, 12) for b in range(2, 12)])  # (100, 1000)
    assert (scores >= 0).all() and (scores < 1).all()
    assert all(len(np.unique(row)) > 995 for row in scores)
    tenths = np.histogram(scores, bins=10, range=(0, 1))[0]
    expected = scores.size / 10
    assert ((tenths - expected) ** 2 / expected).sum() < 40  # chi squared, 9 degrees of freedom: p < 1e-5
    correlations = np.corrcoef(scores)[np.triu_indices(len(scores), 1)]
    assert np.abs(correlations).max() < 6 / np.sqrt(scores.shape[1])


def test_recall_is_that_of_chance(shop):
    model = Random(shop.items)
    model.fit(shop.train)
    scored = evaluation.evaluate(model, shop.test)
    chance = 20 / len(shop.items)
    assert abs(scored.metrics["recall@20"] - chance) < 4 * np.sqrt(chance * (1 - chance) / scored.events)


def test_bad_arguments(shop):
    with pytest.raises(InputError, match="^seed=0.5: must be a whole number"):
        Random(shop.items, seed=0.5)
