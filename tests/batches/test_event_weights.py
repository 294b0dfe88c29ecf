"""Weights of events, in every layout of a batch."""

import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession import InputError
from tfrecsession.batches import Sessions
from tfrecsession.sessions import write
from tfrecsession.sessions.store import SessionArrays
from tfrecsession.sessions.vocabulary import Items

DAY = 86_400_000_000
ITEMS = Items([f"i{number}" for number in range(2, 10)], [30, 20, 10, 10, 10, 10, 5, 5])


def split(sessions, role="train", **columns):
    """Builds a split from lists of item ids."""
    values = np.concatenate([*map(np.array, sessions)]).astype(np.int32)
    columns = {name: np.asarray(column) for name, column in columns.items()}
    return Sessions(SessionArrays(ITEMS, values, np.cumsum([0, *map(len, sessions)]), columns), role)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set of several shards, with users and a column of numbers."""
    folder = tmp_path_factory.mktemp("weights") / "data"
    rng = np.random.default_rng(0)
    lines = ["session,user,item,time,event,dwell"]
    for session in range(400):
        for step in range(int(rng.integers(2, 7))):
            kind = ("view", "view", "cart", "purchase")[rng.integers(4)]
            time = 1_700_000_000 + session * 3000 + step
            lines.append(f"{session},{session % 60},{rng.integers(25)},{time},{kind},{rng.integers(0, 9) / 2}")
    (folder.parent / "log.csv").write_text("\n".join(lines) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "PART", 200)
        patch.setattr(write, "BLOCK", 32)
        patch.setattr(write, "ROWS", 64)
        columns = {"session": "session", "user": "user", "item": "item", "time": "time", "event": "event"}
        options = {"context": ("dwell",), "test_span": "1d", "validation_span": "1d"}
        trs.prepare(folder.parent / "log.csv", folder, **columns, **options)
    return folder


@pytest.fixture
def data(folder):
    return trs.load(folder)


def sums(dataset):
    """Returns target item -> the sum of its weights, and checks that a weight stands at every target alone."""
    found = np.zeros(40)
    for batch, targets in dataset.as_numpy_iterator():
        assert batch["weight"].dtype == np.float32 and batch["weight"].shape == targets.shape
        assert ((batch["weight"] > 0) == (targets > 0)).all()
        np.add.at(found, targets.ravel(), batch["weight"].ravel())
    return found


def test_the_weight_is_that_of_the_target():
    train = split([[2, 3, 4], [5, 6]], event=["view", "cart", "buy", "buy", None]).weighted({"buy": 5, "cart": 2})
    ((batch, targets),) = train.batches(rows=1, steps=4, shuffle=False).as_numpy_iterator()
    found = {int(target): float(weight) for target, weight in zip(targets[0], batch["weight"][0], strict=True)}
    assert found == {3: 2.0, 4: 5.0, 6: 1.0, 0: 0.0}
    assert (batch["items"] > 0).sum() == 3, "all events are inputs"


def test_all_weights_are_multiplied():
    train = split([[2, 3], [4, 5]], event=["view", "buy"] * 2, dwell=[0.0, 3.0, 7.0, 0.5], times=[0, 0, 0, 2 * DAY])
    weighted = train.weighted({"buy": 4}, weight="dwell", session_decay=2, target_events=["buy"])
    # the age is that of the session's last event
    assert weighted.weights.example == pytest.approx([0, 12 * np.exp(-1), 0, 2])
    assert train.weights is None and weighted.weighted().weights is None
    assert weighted.only(np.array([False, True])).weights.example == pytest.approx([0, 2])


@pytest.mark.parametrize(
    "layout",
    [
        {"rows": 4, "steps": 6},
        {"rows": 4, "steps": 6, "one_target": True},
        {"rows": 4, "steps": 6, "long": "split"},
        {"rows": 4, "steps": 6, "carry": True},
        {"rows": 4, "steps": 200, "by_user": True},
        {"rows": 4, "steps": 6, "by_user": True, "carry": True},
        {"rows": 4, "steps": 6, "memory": "100MB"},
        {"rows": 4, "steps": 6, "memory": "100MB", "one_target": True},
        {"every_event": True},
        {"every_event": True, "by_user": True},
    ],
    ids=str,
)
def test_every_layout_gives_every_target_its_weight(data, layout):
    train = data.train.weighted({"purchase": 5}, weight="dwell", session_decay=1, target_events=["purchase", "cart"])
    follows = np.ones(train.events, bool)
    follows[train.offsets[:-1]] = False
    expected = np.bincount(train.values, train.weights.example * follows, minlength=40)
    assert sums(train.batches(**layout)) == pytest.approx(expected, rel=1e-5)
    events = np.asarray(train.column("event"))
    assert (train.weights.example > 0).sum() < np.isin(events, ["purchase", "cart"]).sum(), "some dwell is 0"


def test_by_user_the_next_session_of_a_user_is_no_target(data):
    train = data.train.weighted({"purchase": 5})
    assert sums(train.batches(rows=4, steps=200, by_user="joined")).sum() > sums(train.batches(rows=4, steps=9)).sum()


def test_pieces_without_a_target_are_left_out(data):
    train = data.train.weighted(target_events=["purchase"])
    for layout in ({"one_target": True}, {}, {"one_target": True, "memory": "100MB"}):
        whole = data.train.batches(rows=4, steps=6, **layout).cardinality().numpy()
        assert train.batches(rows=4, steps=6, **layout).cardinality().numpy() < whole


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"event_weights": {"buy": 5}}, "event_weights='buy': must be an event type of the train split, one of view"),
        ({"event_weights": {"purchas": 5}}, "did you mean 'purchase'"),
        ({"target_events": ["sale"]}, "target_events='sale': must be an event type of the train split"),
        ({"event_weights": {"cart": -1}}, "event_weights: the weight of 'cart' must be a number of at least 0, not -1"),
        ({"event_weights": {"cart": float("nan")}}, "event_weights: the weight of 'cart' must be a number"),
        ({"event_weights": {"cart": "much"}}, "event_weights: the weight of 'cart' must be a number"),
        ({"event_weights": 5}, r"event_weights=5: must be a weight for each event type"),
        ({"event_weights": "cart"}, "event_weights: the weight of 'cart' must be a number"),
        ({"target_events": []}, r"target_events=\[\]: must be a list of event types"),
        ({"target_events": 3}, r"target_events=3: must be a list of event types"),
        ({"weight": "stay"}, "weight='stay': must be a column of the events.*dwell.*context='stay'"),
        ({"weight": "dwel"}, "did you mean 'dwell'"),
        ({"weight": "user"}, "weight='user': must be a column of the events"),
        ({"weight": "event"}, "weight='event': must be a column of numbers"),
        ({"weight": 3}, "weight=3: must be the name of a column"),
        ({"session_decay": 0}, "session_decay=0: must be a number of days above 0"),
        ({"session_decay": "2d"}, "session_decay='2d': must be a number of days above 0"),
        ({"event_weights": {"view": 0, "cart": 0, "purchase": 0}}, "no event after the first .* weight above 0"),
    ],
    ids=str,
)
def test_bad_weights_are_refused_in_one_line(data, arguments, message):
    for memory in (None, "100MB"):
        with pytest.raises(InputError, match=message) as refused:
            data.train.weighted(**arguments).batches(rows=4, steps=6, memory=memory)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("value", "shown"), [(-1.0, "-1"), (np.nan, "missing"), (np.inf, "inf")])
def test_a_weight_that_is_none_is_named_with_its_event(value, shown):
    train = split([[2, 3], [4, 5, 6]], dwell=[1, 1, 1, 1, value])
    with pytest.raises(InputError, match=f"1 events have none, the first is event 3 of session 2: {shown}"):
        train.weighted(weight="dwell").batches(rows=1, steps=4)


def test_a_log_without_types_or_times():
    train = split([[2, 3]])
    for arguments in ({"event_weights": {"buy": 2}}, {"target_events": ["buy"]}):
        with pytest.raises(InputError, match="the log has no event types: prepare it with event=COLUMN"):
            train.weighted(**arguments)
    with pytest.raises(InputError, match="session_decay=2: needs the times of the events"):
        train.weighted(session_decay=2)


def test_texts_as_on_the_command_line(data):
    expected = data.train.weighted({"purchase": 5, "cart": 2}, target_events=["cart", "purchase"]).weights.example
    for table in ("purchase=5,cart=2", "{purchase: 5, cart: 2}"):
        found = data.train.weighted(table, target_events="cart,purchase").weights.example
        assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("case when event = 'b' then 5 else 1 end", [1, 5, 1, 5]),
        ("Dwell / 2", [0.5, 1, 1.5, 2]),
        ("dwell * (event = 'a')::int", [1, 0, 3, 0]),
    ],
)
def test_a_weight_may_be_an_expression(expression, expected):
    train = split([[2, 3], [4, 5]], event=list("abab"), dwell=[1.0, 2.0, 3.0, 4.0])
    assert train.weighted(weight=expression).weights.example.tolist() == expected


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("case when event", "must be the name of a column, or SQL of the columns of an event, e.g. "),
        ("dwel + 1", "'dwel' must be a column of the events, which are: event, dwell; did you mean 'dwell'"),
        ("1 + 1", "must name a column of the events"),
        ("dwell - 2", "must be a number of at least 0 for every event; 1 events have none, the first is event 1"),
        ("nosuch(dwell)", "nosuch"),
        ("sum(dwell)", "must be the name of a column, or SQL"),
    ],
)
def test_bad_expressions_are_one_line(expression, message):
    train = split([[2, 3], [4, 5]], event=list("abab"), dwell=[1.0, 2.0, 3.0, 4.0])
    with pytest.raises(InputError) as error:
        train.weighted(weight=expression).weights  # noqa: B018
    assert message in str(error.value) and "\n" not in str(error.value)
