"""Location sequences: the model by its equations, what of a trip it may see, and the trips it generates."""

import keras
import numpy as np
import pyarrow as pa
import pytest

import tfrecsession as trs
from tests.numpy_reference import sigmoid
from tfrecsession import InputError, evaluation
from tfrecsession.models.recurrent.trips import END, HOUR, HOURS, START
from tfrecsession.sessions.places import kilometres

PLACES = 12
NAMES = [f"p{place}" for place in range(PLACES)]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Walks around a ring of places, an hour apart, half of them backwards."""
    random = np.random.default_rng(0)
    rows = []
    for session in range(480):
        place, way, hour = random.integers(PLACES), random.choice([1, -1]), random.integers(6, 12)
        for step in range(5):
            place = (place + way) % PLACES
            rows.append((session, NAMES[place], place, 86_400 * session // 16 + 3600 * (hour + step)))
    session, names, place, time = zip(*rows, strict=True)
    angle = 2 * np.pi * np.array(place) / PLACES
    table = pa.table(
        {
            "session": session,
            "item": names,
            "time": np.array(time) + 1_700_000_000,
            "lat": 48 + np.cos(angle) / 10,
            "lon": 11 + np.sin(angle) / 10,
            "category": [("park", "bar", "shop")[number % 3] for number in place],
        }
    )
    out = tmp_path_factory.mktemp("places") / "data"
    trs.prepare(
        table, out, item="item", time="time", session="session", context=["lat", "lon", "category"], min_item_support=1
    )
    return trs.load(out)


def model_of(data, random=True, **settings):
    """A small model whose trained weights are all random."""
    settings = {"units": [4], "negatives": trs.negatives.Popularity(8), "dropout": 0.0, **settings}
    model = trs.models.LocationSequences(data.items, **settings)
    rng = np.random.default_rng(0)
    for weight in model.trainable_variables if random else ():
        weight.assign(rng.normal(size=weight.shape) * 0.5)
    return model


@pytest.fixture(scope="module")
def traveller(data):
    """A model that has learned trips."""
    keras.utils.set_random_seed(0)
    model = model_of(data, random=False, units=[24], trips=0.5, context=["hour"], negatives=None)
    model.compile(trs.optimizers.LazyAdam(0.02), trs.losses.CrossEntropy(), [trs.metrics.Recall(5)])
    model.fit(data.train.batches(rows=8, steps=8, seed=0), epochs=20, verbose=0)
    return model


def batch_of(data, model, split="test"):
    batches = getattr(data, split).batches(rows=4, steps=9, every_event=True, context=model.context)
    return next(batches.as_numpy_iterator())


def attributes_of(model, batch):
    """a of each event, from the tables of the model, in NumPy."""
    tables = {name: getattr(model.places, name).numpy() for name in ("positions", "numbers", "categories", "distance")}
    items, found = batch["items"], []
    for row in range(len(items)):
        for t, item in enumerate(items[row]):
            here, before = tables["positions"][item], tables["positions"][items[row, t - 1]]
            known = batch["position"][row, t] > 0 and here.any() and before.any()
            mean, deviation = tables["distance"]
            distance = (np.log1p(kilometres(here, before)) - mean) / deviation if known else 0.0
            category = model.places.category_table.numpy()[tables["categories"][item]]
            found.append([distance / 2, float(known) / 2, *tables["numbers"][item] / 2, *category])
    return np.reshape(found, (*items.shape, -1))


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
@pytest.mark.parametrize("context", [[], ["hour"]])
def test_it_equals_its_equations(data, cell, context):
    model = model_of(data, cell=cell, context=context)
    batch, _ = batch_of(data, model)
    layer, a = model.recurrent[0], attributes_of(model, batch)
    if context:
        a = np.concatenate([a, model.event_input.table.numpy()[batch["context/hour"]]], axis=-1)
    factor = 1 + np.tanh(a @ layer.attribute_kernel.numpy())
    x = model.output_items(batch["items"]).numpy() @ layer.kernel.numpy() + layer.bias.numpy()
    u, h, m, expected = layer.recurrent_kernel.numpy(), np.zeros((len(x), 4)), np.zeros((len(x), 4)), []
    for t in range(x.shape[1]):
        start = batch["position"][:, t, None] == 0
        h, m = np.where(start, 0, h), np.where(start, 0, m)
        gates = x[:, t] + (h * factor[:, t]) @ u
        if cell == "rnn":
            h = np.tanh(gates)
        else:
            i, f, o = sigmoid(gates[:, :12] + np.tile(m, 3) * layer.peepholes.numpy()).reshape(-1, 3, 4).swapaxes(0, 1)
            m = f * m + i * np.tanh(gates[:, 12:])
            h = o * np.tanh(m)
        expected.append(h)
    np.testing.assert_allclose(model.encode(batch), np.stack(expected, axis=1), rtol=1e-4, atol=1e-4)


def test_places_are_those_of_the_train_split(data):
    model = model_of(data)
    here = data.items.encode(["p3", "p4"])
    positions = model.places.positions.numpy()[here]
    side = 2 * np.pi / PLACES / 10
    assert 0.5 < kilometres(*positions) / (side * np.pi / 180 * 6371) < 1.1
    np.testing.assert_allclose(model.places.hours.numpy()[2:], 1.0, rtol=1e-4)
    again = type(model).from_config(model.get_config())
    for name in ("positions", "numbers", "categories", "hours", "distance", "frame"):
        np.testing.assert_array_equal(getattr(again.places, name), getattr(model.places, name))


@pytest.mark.slow
def test_a_saved_model_needs_no_log(traveller, data, tmp_path):
    traveller.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    expected, found = (model.recommend([["p3", "p4"]], k=5) for model in (traveller, loaded))
    assert found.items.tolist() == expected.items.tolist()
    np.testing.assert_array_equal(loaded.places.positions, traveller.places.positions)
    assert loaded.generate("p3", "p9", 5) == traveller.generate("p3", "p9", 5)


def test_next_places_never_see_the_trip(traveller, data):
    """No score of a step changes with what comes later, or with how a trip ends."""
    batch, _ = batch_of(data, traveller)
    assert not {START, END, HOURS, HOUR} & set(batch)
    expected = np.asarray(traveller.encode(batch))
    step = 4
    for value in (2, 5, 9):
        changed = {**batch, "items": batch["items"].copy()}
        changed["items"][:, step:] = value
        np.testing.assert_allclose(np.asarray(traveller.encode(changed))[:, :step], expected[:, :step], atol=1e-6)
    plain = {name: weight.numpy() for name, weight in (("f", traveller.recurrent[0].feature_kernel),)}

    def ranks_of_test():
        return evaluation.evaluate(traveller, data.test, k=[5], slices=False, draws=0).ranks

    ranks = ranks_of_test()
    recommended = traveller.recommend([["p3", "p4"]], k=5)
    traveller.recurrent[0].feature_kernel.assign(plain["f"] * -9)
    output = traveller.output_features.kernel.numpy()
    traveller.output_features.kernel.assign(output + 3)
    try:
        np.testing.assert_array_equal(
            evaluation.evaluate(traveller, data.test, k=[5], slices=False, draws=0).ranks, ranks
        )
        np.testing.assert_array_equal(traveller.recommend([["p3", "p4"]], k=5).scores, recommended.scores)
        loss = traveller.evaluate(data.test.batches(), verbose=0, return_dict=True)["recall@5"]
        np.testing.assert_allclose(loss, np.mean(ranks <= 5), atol=1e-6)
    finally:
        traveller.recurrent[0].feature_kernel.assign(plain["f"])
        traveller.output_features.kernel.assign(output)


def test_training_sees_each_trip_whole(data):
    model = model_of(data, trips=1.0, context=["hour"])
    batch, targets = next(data.train.batches(rows=4, steps=9, context=model.context).as_numpy_iterator())
    columns = {key: np.asarray(value) for key, value in model.trip_columns(batch, targets).items()}
    stays, shown = model.places.hours.numpy(), {"end": 0, "hours": 0, "trips": 0}
    for row in range(4):
        starts = np.flatnonzero((batch["position"][row] == 0) & (batch["segment"][row] > 0))
        for begin, stop in zip(starts, [*starts[1:], 9], strict=True):
            cells = np.arange(begin, stop)[batch["segment"][row, begin:stop] > 0]
            assert (columns[START][row, cells] == batch["items"][row, begin]).all()
            assert (columns[HOUR][row, cells] == batch["context/hour"][row, begin]).all()
            last = cells[targets[row, cells] > 0][-1]
            hours = stays[batch["items"][row, begin : last + 1]].sum()
            assert set(columns[END][row, cells]) <= {0, targets[row, last]}
            assert np.isin(columns[HOURS][row, cells].round(4), [0, round(float(hours), 4)]).all()
            shown["trips"] += 1
            shown["end"] += columns[END][row, begin] > 0
            shown["hours"] += columns[HOURS][row, begin] > 0
    assert 0 < shown["end"] <= shown["trips"] and 0 < shown["hours"] <= shown["trips"]
    none = model_of(data, trips=1e-9, context=["hour"]).trip_columns(batch, targets)
    assert not np.asarray(none[START]).any() and not np.asarray(none[HOURS]).any()


def test_trips_lead_to_their_end(traveller):
    trips = traveller.generate("p3", end="p8", hours=4.5, hour=9)
    assert 1 < len(trips) <= 10
    for trip in trips:
        assert trip.places[0] == "p3" and trip.places[-1] == "p8" and len(set(trip.places)) == len(trip.places)
        assert trip.hours <= 4.5
        np.testing.assert_allclose(trip.hours, len(trip.places) - 1, rtol=1e-3)  # each place takes an hour
    assert [trip.score for trip in trips] == sorted((trip.score for trip in trips), reverse=True)
    assert traveller.generate("p3", end="p8", hours=4.5, hour=9) == trips
    open_ended = traveller.generate("p3", hours=3, trips=5)
    assert {len(trip.places) for trip in open_ended} == {4} or {len(trip.places) for trip in open_ended} == {5}
    assert all(len(trip.places) <= 3 for trip in traveller.generate("p3", "p8", 8, longest=3))


def test_the_end_draws_trips_towards_it(traveller):
    """The best trip goes around the ring the way where the end is."""
    for way in (1, -1):
        trip = [f"p{(3 + way * step) % PLACES}" for step in range(5)]
        assert traveller.generate("p3", end=trip[-1], hours=4.2, samples=100)[0].places == trip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": "nowhere"}, "start='nowhere': must be a place of the catalogue"),
        ({"end": "nowhere"}, "end='nowhere': must be a place of the catalogue"),
        ({"end": "p3"}, "end='p3': must be another place than start"),
        ({"hours": 0}, "hours=0: must be a number above 0"),
        ({"hours": 0.1}, "hours=0.1: must be at least 1, the typical time from 'p3' to the next event"),
        ({"hour": 24}, "hour=24: must be a whole number from 0 to 23"),
        ({"longest": 1}, "longest=1: must be a whole number, at least 2"),
        ({"temperature": 0}, "temperature=0: must be a number above 0"),
    ],
)
def test_bad_trips(traveller, arguments, message):
    with pytest.raises(InputError, match=message):
        traveller.generate(**{"start": "p3", **arguments})


def test_a_model_without_trips(data):
    model = model_of(data)
    assert model.output_features is None
    assert model.generate("p3", hours=3)[0].places[0] == "p3"
    with pytest.raises(InputError, match="end='p4': must be None for a model that was trained with trips=0"):
        model.generate("p3", "p4")
    with pytest.raises(InputError, match="hour=9: must be None for a model that does not read the context 'hour'"):
        model.generate("p3", hour=9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cell": "gru"}, "cell='gru': must be one of lstm, rnn"),
        ({"trips": 2}, "trips=2: must be a number from 0 to 1"),
        (
            {"latitude": "latitude"},
            "latitude='latitude': must be a column of the log; to keep it, prepare",
        ),
        ({"context_as": "concat"}, "context_as='concat': must be one of .*; did you mean 'concatenate'"),
    ],
)
def test_bad_arguments(data, settings, message):
    with pytest.raises(InputError, match=message):
        model_of(data, **settings)
