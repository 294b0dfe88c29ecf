"""A resumed training reads the same batches as an uninterrupted one."""

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
    "users": lambda sessions: sessions.batches(rows=4, steps=6, seed=3, by_user=True),
    "users in lanes": lambda sessions: sessions.batches(rows=8, steps=3, seed=3, by_user=True, carry=True),
    "joined": lambda sessions: sessions.batches(rows=8, steps=3, seed=3, by_user="joined", carry=True),
    "triples": lambda sessions: triples(Interactions.of(sessions), rows=32, seed=3),
}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Gives every epoch several chunks, so that a start may lie in any of them."""
    monkeypatch.setattr(datasets, "CELLS_A_CHUNK", 100)
    monkeypatch.setattr("tfrecsession.batches.triples.PAIRS_A_CHUNK", 100)


def flat(dataset):
    """Returns the batches of the next epoch, each as one list of numbers."""
    return [np.concatenate([np.ravel(array) for array in tf.nest.flatten(batch)]).tolist() for batch in dataset]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.filterwarnings("ignore:.*begin before an earlier one")
def test_a_start_at_any_batch_gives_the_batches_of_an_uninterrupted_pass(shop, layout):
    sessions = shop.train.only(np.arange(len(shop.train)) < 150)
    whole = LAYOUTS[layout](sessions)
    epochs = [flat(whole) for _ in range(4)]
    count = len(epochs[0])
    assert count > 10 and all(len(epoch) == count for epoch in epochs)
    for epoch, batch in [(0, 0), (0, 1), (1, 0), (1, count // 2), (2, count - 1), (2, 5)]:
        rest = starting_at(LAYOUTS[layout](sessions), epoch, batch)
        assert int(rest.cardinality()) == count
        assert flat(rest) == epochs[epoch][batch:]
        assert flat(rest) == epochs[epoch + 1]
        # also for a data set that has been read already
        assert flat(starting_at(whole, epoch, batch)) == epochs[epoch][batch:]


def test_batches_before_the_start_are_not_laid_out(shop, monkeypatch):
    laid_out = []
    real = datasets.layout.packed_rows
    monkeypatch.setattr(datasets.layout, "packed_rows", lambda *args, **more: laid_out.append(1) or real(*args, **more))
    rest = starting_at(shop.train.batches(rows=4, steps=6), 0, shop.train.batches(rows=4, steps=6).cardinality() - 1)
    assert len(list(rest)) == 1 and len(laid_out) == 1


def test_a_later_start_keeps_the_attributes_that_models_read(shop):
    batches = shop.train.batches(rows=4, steps=6, one_target=True)
    rest = starting_at(batches, 1, 1)
    assert rest.sessions is shop.train and rest.one_target is True and rest.by_user is False
    pairs = triples(Interactions.of(sessions_of([[2, 3], [4, 5]])), 2)
    assert starting_at(pairs, 0, 1).interactions is pairs.interactions


def test_other_data_sets_cannot_start_in_the_middle(shop):
    with pytest.raises(InputError, match="cannot begin in the middle"):
        starting_at(shop.train.batches(rows=4, steps=6).map(lambda *batch: batch), 1)
