"""Every layout gives an input event its own context, and a step that of the event it predicts."""

import numpy as np
import pytest

import tfrecsession as trs
from tests import logs

EVENTS = 600


@pytest.fixture(scope="module")
def split():
    """Sessions of 40 users, where each column names its event."""
    rng = np.random.default_rng(0)
    log, events = [], 0
    while events < EVENTS:
        log.append(rng.integers(2, 9, rng.integers(1, 12)).tolist())
        events += len(log[-1])
    users = np.array([f"u{number}" for number in rng.integers(0, 40, len(log))], object)
    return logs.sessions_of(
        log,
        times=np.arange(events) / 1000,
        user=users,
        number=np.arange(events, dtype=np.float64),
        name=np.array([f"e{event}" for event in range(events)], object),
    )


@pytest.fixture(scope="module")
def context(split):
    from tfrecsession.sessions.context import ContextLog

    return ContextLog(split, {}).learn(["name", "number", "position"], ["name", "number"])


LAYOUTS = {
    "packed": {"rows": 4, "steps": 8},
    "split": {"rows": 4, "steps": 3, "long": "split"},
    "prefixes": {"rows": 4, "steps": 12, "one_target": True},
    "lanes": {"rows": 4, "steps": 2, "carry": True},
    "every event": {"every_event": True},
    "every prefix": {"every_event": True, "one_target": True},
    "users": {"rows": 4, "steps": 30, "by_user": True},
    "users in lanes": {"rows": 4, "steps": 5, "by_user": True, "carry": True},
    "users joined": {"rows": 4, "steps": 30, "by_user": "joined"},
    "every event of users": {"by_user": True, "every_event": True},
}


@pytest.mark.parametrize("options", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.filterwarnings("ignore:.*begin before an earlier one")
def test_each_event_has_its_own(split, context, options):
    batches = split.batches(**options, context=context)
    assert {key: spec.dtype.name for key, spec in batches.element_spec[0].items() if "/" in key} == {
        "context/name": "int32",
        "context/number": "float32",
        "context/position": "int32",
        "request/name": "int32",
        "request/number": "float32",
    }
    numbers = split.encoded(context)["context/number"]
    order = np.argsort(context.encode(split.column, split.arrays.columns, split.offsets)["context/name"])
    seen = 0
    for batch, targets in batches.as_numpy_iterator():
        cells, scored = batch["segment"] > 0, targets > 0
        event, target = (order[np.maximum(batch[f"{side}/name"] - 2, 0)] for side in ("context", "request"))
        np.testing.assert_array_equal(split.values[event][cells], batch["items"][cells])
        np.testing.assert_array_equal(split.values[target][scored], targets[scored])
        follows = target[scored] == event[scored] + 1
        assert follows.all() or (options.get("by_user") == "joined" and follows.mean() > 0.5)
        np.testing.assert_array_equal(numbers[event][cells], batch["context/number"][cells])
        np.testing.assert_array_equal(numbers[target][scored], batch["request/number"][scored])
        assert (batch["context/name"][~cells] == 0).all() and np.isnan(batch["context/number"][~cells]).all()
        assert (batch["request/name"][~scored] == 0).all() and np.isnan(batch["request/number"][~scored]).all()
        seen += scored.sum()
    assert seen


def test_read_from_files_it_is_the_same(tmp_path):
    data = trs.events.Shop(items=40, sessions=700, seed=2)
    trs.prepare(data.spec, tmp_path / "shop", event="event")
    data = trs.load(tmp_path / "shop")
    context = data.context(["event", "gap", "hour"], ["gap"])

    def cells(batches):
        found = []
        for batch, targets in batches.as_numpy_iterator():
            columns = [batch["items"], batch["position"], targets, *(batch[key] for key in context.keys)]
            found.append(np.stack(columns, axis=-1)[batch["segment"] > 0])
        return sorted(map(tuple, np.concatenate(found).tolist()))

    shape = {"rows": 8, "steps": 10}
    held = cells(data.train.batches(**shape, context=context))
    assert cells(data.train.batches(**shape, context=context, memory="50MB")) == held


def test_a_resumed_epoch_has_the_same_batches(split, context):
    from tfrecsession.batches.epochs import starting_at

    plain = split.batches(rows=4, steps=8)
    late = starting_at(plain, 1, 3).in_context(context)
    whole = [batch for batch, _ in split.batches(rows=4, steps=8, context=context).repeat(2).as_numpy_iterator()]
    for found, expected in zip(late.as_numpy_iterator(), whole[len(whole) // 2 + 3 :], strict=True):
        assert all(np.array_equal(found[0][key], expected[key], equal_nan=True) for key in expected)
