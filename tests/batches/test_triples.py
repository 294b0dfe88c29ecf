import numpy as np
import pytest

from tests.logs import sessions_of
from tfrecsession import InputError
from tfrecsession.batches.interactions import Interactions
from tfrecsession.batches.triples import triples

LOG = [[2, 3, 3, 8], [4], [2, 1, 5, 6, 7], [3, 4]]
PAIRS = {(0, 2), (0, 3), (0, 8), (1, 4), (2, 2), (2, 5), (2, 6), (2, 7), (3, 3), (3, 4)}


def epoch(dataset):
    return [{name: array.numpy() for name, array in batch.items()} for batch in dataset]


@pytest.mark.parametrize("rows", [1, 3, 4, 10, 64])
def test_every_pair_once_an_epoch_and_the_rest_weighs_nothing(rows):
    people = Interactions.of(sessions_of(LOG))
    batches = epoch(dataset := triples(people, rows, seed=3))
    assert len(batches) == len(dataset) == -(-len(PAIRS) // rows)
    assert all(array.shape == (rows,) for batch in batches for array in batch.values())
    columns = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    there = columns["weight"] == 1
    assert there.sum() == len(PAIRS) and set(columns["weight"]) <= {0.0, 1.0}
    seen = list(zip(columns["user"][there], columns["item"][there], strict=True))
    assert set(seen) == PAIRS
    assert dict(zip(seen, columns["value"][there], strict=True)) == {pair: 1 + (pair == (0, 3)) for pair in PAIRS}
    for user, item, n, m in zip(*(columns[name] for name in ("user", "item", "user_pairs", "item_pairs")), strict=True):
        assert (n, m) == (sum(u == user for u, _ in PAIRS), sum(i == item for _, i in PAIRS))
    last = batches[-1]  # what fills it up touches nothing that it does not hold anyway
    held = set(last["user"][last["weight"] == 1]), set(last["item"][last["weight"] == 1])
    assert set(last["user"]) <= held[0] and set(last["item"]) <= held[1]


def test_every_epoch_is_shuffled_anew_and_a_seed_repeats_it():
    people = Interactions.of(sessions_of(LOG))
    one, same, other = triples(people, 10, seed=1), triples(people, 10, seed=1), triples(people, 10, seed=2)
    first, second = epoch(one)[0]["item"].tolist(), epoch(one)[0]["item"].tolist()
    assert first != second and epoch(other)[0]["item"].tolist() != first
    assert [epoch(same)[0]["item"].tolist() for _ in range(2)] == [first, second]
    assert epoch(triples(people, 10, shuffle=False))[0]["item"].tolist() == people.values.tolist()


def test_nothing_to_train_on():
    with pytest.raises(InputError, match="nothing to train on"):
        triples(Interactions.of(sessions_of([[1], [1, 1]])))
    with pytest.raises(InputError, match="rows=0"):
        triples(Interactions.of(sessions_of(LOG)), 0)
