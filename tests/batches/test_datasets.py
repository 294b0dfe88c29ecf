import numpy as np
import pytest

from tfrecsession import InputError
from tfrecsession.batches import datasets


def test_a_batch_by_hand():
    values, offsets = np.array([5, 6, 7, 8, 9], np.int32), np.array([0, 3, 5])
    ((batch, targets),) = datasets.packed(values, offsets, rows=2, steps=4, shuffle=False)
    assert batch["items"].numpy().tolist() == [[5, 6, 8, 0], [0, 0, 0, 0]]
    assert batch["position"].numpy().tolist() == [[0, 1, 0, 0], [0, 0, 0, 0]]
    assert batch["segment"].numpy().tolist() == [[1, 1, 2, 0], [0, 0, 0, 0]]
    assert targets.numpy().tolist() == [[6, 7, 9, 0], [0, 0, 0, 0]]


def all_cells(dataset):
    return np.concatenate([targets.numpy().ravel() for _, targets in dataset])


def test_epochs_differ_and_repeat_under_a_seed(shop):
    once, again = (shop.train.batches(rows=8, steps=10, seed=3) for _ in range(2))
    first, second = all_cells(once), all_cells(once)
    assert not (first == second).all()
    assert sorted(first) == sorted(second)
    assert (all_cells(again) == first).all() and (all_cells(again) == second).all()
    assert not (all_cells(shop.train.batches(rows=8, steps=10, seed=4)) == first).all()


def test_shapes_are_static_and_the_number_of_batches_is_known(shop):
    dataset = shop.train.batches(rows=8, steps=10)
    assert dataset.element_spec[1].shape == (8, 10)
    assert sum(1 for _ in dataset) == dataset.cardinality().numpy()


def test_evaluation_batches_have_every_scored_event_as_a_target(shop):
    assert (all_cells(shop.test.batches()) > 0).sum() == shop.test.scored_events
    assert (all_cells(shop.train.batches(every_event=True)) > 0).sum() == shop.train.scored_events


@pytest.mark.parametrize(
    ("options", "named"),
    [({"rows": 0}, "rows=0"), ({"steps": 2.5}, "steps=2.5"), ({"long": "oldest"}, "long='oldest'")],
)
def test_an_error_names_the_invalid_option(shop, options, named):
    with pytest.raises(InputError, match=named):
        shop.train.batches(**options)


def test_sessions_without_a_target_are_refused():
    with pytest.raises(InputError, match="two events"):
        datasets.packed(np.array([2, 3], np.int32), np.array([0, 1, 2]))


def test_every_prefix_has_one_target_after_its_last_step(shop):
    prefixes = shop.train.batches(rows=8, steps=200, one_target=True)
    targets = all_cells(prefixes)
    assert (targets > 0).sum() == shop.train.scored_events
    batch, targets = next(iter(prefixes))
    last = np.pad(batch["position"].numpy()[:, 1:] == 0, [[0, 0], [0, 1]], constant_values=True)
    assert ((targets.numpy() > 0) == (last & (batch["segment"].numpy() > 0))).all()


@pytest.mark.parametrize(("options", "named"), [({"carry": True}, "carry"), ({"long": "split"}, "long='split'")])
def test_one_target_is_refused_with_carry_and_split(shop, options, named):
    with pytest.raises(InputError, match=named):
        shop.train.batches(one_target=True, **options)
