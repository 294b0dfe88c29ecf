"""A training that goes on sees the very batches that it would have seen."""

import numpy as np
import pytest
import tensorflow as tf

from tests.logs import sessions_of
from tfrecsession import InputError
from tfrecsession.batches import datasets
from tfrecsession.batches.epochs import starting_at
from tfrecsession.batches.interactions import Interactions
from tfrecsession.batches.triples import triples

LAYOUTS = {
    "packed": lambda sessions: sessions.batches(rows=4, steps=6, seed=3),
    "one_target": lambda sessions: sessions.batches(rows=4, steps=6, seed=3, one_target=True),
    "in the order of the log": lambda sessions: sessions.batches(rows=4, steps=6, shuffle=False),
    "lanes": lambda sessions: sessions.batches(rows=8, steps=2, carry=True),
    "people": lambda sessions: sessions.batches(rows=4, steps=6, seed=3, by_user=True),
    "people in lanes": lambda sessions: sessions.batches(rows=8, steps=3, seed=3, by_user=True, carry=True),
    "joined": lambda sessions: sessions.batches(rows=8, steps=3, seed=3, by_user="joined", carry=True),
    "triples": lambda sessions: triples(Interactions.of(sessions), rows=32, seed=3),
}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """So that an epoch has several of them, and a start may lie in any."""
    monkeypatch.setattr(datasets, "CELLS_A_CHUNK", 100)
    monkeypatch.setattr("tfrecsession.batches.triples.PAIRS_A_CHUNK", 100)


def flat(dataset):
    """The batches of the next epoch, each as one list of numbers."""
    return [np.concatenate([np.ravel(array) for array in tf.nest.flatten(batch)]).tolist() for batch in dataset]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.filterwarnings("ignore:.*begin before an earlier one")
def test_from_any_batch_on_it_is_what_it_would_have_been(shop, layout):
    sessions = shop.train.only(np.arange(len(shop.train)) < 150)
    whole = LAYOUTS[layout](sessions)
    all_of_it = [flat(whole) for _ in range(4)]
    number = len(all_of_it[0])
    assert number > 10 and all(len(epoch) == number for epoch in all_of_it)
    for epoch, batch in [(0, 0), (0, 1), (1, 0), (1, number // 2), (2, number - 1), (2, 5)]:
        rest = starting_at(LAYOUTS[layout](sessions), epoch, batch)
        assert int(rest.cardinality()) == number
        assert flat(rest) == all_of_it[epoch][batch:]
        assert flat(rest) == all_of_it[epoch + 1]
        # wherever the data set that is asked stands
        assert flat(starting_at(whole, epoch, batch)) == all_of_it[epoch][batch:]


def test_what_lies_before_is_not_laid_out(shop, monkeypatch):
    laid_out = []
    real = datasets.layout.lay_out
    monkeypatch.setattr(datasets.layout, "lay_out", lambda *where, **how: laid_out.append(1) or real(*where, **how))
    rest = starting_at(shop.train.batches(rows=4, steps=6), 0, shop.train.batches(rows=4, steps=6).cardinality() - 1)
    assert len(list(rest)) == 1 and len(laid_out) == 1


def test_it_stays_what_models_look_at(shop):
    batches = shop.train.batches(rows=4, steps=6, one_target=True)
    rest = starting_at(batches, 1, 1)
    assert rest.sessions is shop.train and rest.one_target is True and rest.by_user is False
    pairs = triples(Interactions.of(sessions_of([[2, 3], [4, 5]])), 2)
    assert starting_at(pairs, 0, 1).interactions is pairs.interactions


def test_batches_of_ones_own_making(shop):
    with pytest.raises(InputError, match="cannot begin in the middle"):
        starting_at(shop.train.batches(rows=4, steps=6).map(lambda *batch: batch), 1)
