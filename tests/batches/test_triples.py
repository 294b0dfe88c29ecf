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
def test_an_epoch_has_every_pair_once_and_padding_of_weight_0(rows):
    pairs = Interactions.of(sessions_of(LOG))
    batches = epoch(dataset := triples(pairs, rows, seed=3))
    assert len(batches) == len(dataset) == -(-len(PAIRS) // rows)
    assert all(array.shape == (rows,) for batch in batches for array in batch.values())
    columns = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    is_pair = columns["weight"] == 1
    assert is_pair.sum() == len(PAIRS) and set(columns["weight"]) <= {0.0, 1.0}
    seen = list(zip(columns["user"][is_pair], columns["item"][is_pair], strict=True))
    assert set(seen) == PAIRS
    assert dict(zip(seen, columns["value"][is_pair], strict=True)) == {pair: 1 + (pair == (0, 3)) for pair in PAIRS}
    for user, item, n, m in zip(*(columns[name] for name in ("user", "item", "user_pairs", "item_pairs")), strict=True):
        assert (n, m) == (sum(u == user for u, _ in PAIRS), sum(i == item for _, i in PAIRS))
    last = batches[-1]  # its padding touches no further users and items
    real = set(last["user"][last["weight"] == 1]), set(last["item"][last["weight"] == 1])
    assert set(last["user"]) <= real[0] and set(last["item"]) <= real[1]


def test_every_epoch_has_another_order_and_a_seed_repeats_it():
    pairs = Interactions.of(sessions_of(LOG))
    one, same, other = triples(pairs, 10, seed=1), triples(pairs, 10, seed=1), triples(pairs, 10, seed=2)
    first, second = epoch(one)[0]["item"].tolist(), epoch(one)[0]["item"].tolist()
    assert first != second and epoch(other)[0]["item"].tolist() != first
    assert [epoch(same)[0]["item"].tolist() for _ in range(2)] == [first, second]
    assert epoch(triples(pairs, 10, shuffle=False))[0]["item"].tolist() == pairs.values.tolist()


def test_a_log_without_pairs_and_invalid_rows_are_refused():
    with pytest.raises(InputError, match="nothing to train on"):
        triples(Interactions.of(sessions_of([[1], [1, 1]])))
    with pytest.raises(InputError, match="rows=0"):
        triples(Interactions.of(sessions_of(LOG)), 0)
