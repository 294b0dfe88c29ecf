"""Content of the recommended items as a reason: its parts are exact, and a law of the shop is found."""

import keras
import numpy as np
import pyarrow as pa
import pytest

import tfrecsession as trs

ITEMS, KINDS = 40, 4


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A shop in which the kind of an item follows from the kind before, and its colour from nothing."""
    folder = tmp_path_factory.mktemp("law")
    rng = np.random.default_rng(0)
    kind, colour = np.arange(ITEMS) % KINDS, rng.integers(0, 4, ITEMS)
    sessions, length = 400, 5
    start = rng.integers(0, KINDS, (sessions, 1))
    items = (start + np.arange(length)) % KINDS + KINDS * rng.integers(0, ITEMS // KINDS, (sessions, length))
    log = pa.table(
        {
            "session": np.repeat(np.arange(sessions), length),
            "item": [f"i{item}" for item in items.ravel()],
            "time": 1_700_000_000 + np.arange(sessions * length) * 600,
        }
    )
    content = {
        "item": [f"i{item}" for item in range(ITEMS)],
        "kind": [f"k{value}" for value in kind],
        "colour": [f"c{value}" for value in colour],
        "size": rng.random(ITEMS),
    }
    trs.prepare(log, folder / "data", items=content, test_span="1d", validation_span="1d")
    return trs.load(folder / "data")


@pytest.fixture(scope="module")
def network(data):
    keras.utils.set_random_seed(0)
    model = trs.models.GRU4Rec(data.items, units=[16], content=["kind", "colour"], id_dropout=1.0)
    model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy())
    model.fit(data.train.batches(rows=16, steps=6, seed=0), epochs=6, verbose=0)
    return model


@pytest.fixture(scope="module")
def pipeline(data):
    keras.utils.set_random_seed(0)
    first = trs.models.Popularity(data.items)
    first.fit(data.train)
    ranker = trs.models.WideAndDeep(
        data.items,
        content=["kind", "colour"],
        crosses=["last.kind*item.kind", "last.colour*item.colour"],
        support=10**6,
        dim=4,
        hidden=[8],
        buckets=100,
    )
    made = trs.models.Pipeline(first, ranker, n=ITEMS - 5)
    made.fit(data.train, epochs=6)
    return made


def histories_of(data, count=20):
    return [data.items.decode(data.test[session][:3]).tolist() for session in range(count)]


@pytest.mark.parametrize("name", ["network", "pipeline"])
def test_the_column_that_matters_comes_first(name, data, request):
    found = request.getfixturevalue(name).explain(histories_of(data), k=5)
    assert set(found.features) == {"item/kind", "item/colour"}
    first = found.strongest()[..., 0]
    assert (first == "item/kind").mean() > 0.95
    assert found.features["item/kind"].mean() > 3 * np.abs(found.features["item/colour"]).mean()
    assert f"{found.items[0, 0]}, because of" in repr(found) and "item/kind" in repr(found)


def random_weights(model):
    """Gives a model weights that matter, without training."""
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    model.fitted = True
    return model


def untrained(name, data):
    content = ["kind", "colour", "size"]
    if name == "blend":
        counted = trs.models.Popularity(data.items)
        counted.fit(data.train)
        members = [untrained("network", data), counted, untrained("repeats", data)]
        scales = [("share", 2.0), ("share", 1.0), ("softmax", 1.5)]
        return trs.models.Blend(members, [[0.2, 0.5, 0.3], [0.5, 0.2, 0.3]], lengths=(1, 2), scales=scales)
    if name == "two_tower":
        model = random_weights(trs.models.TwoTower(data.items, dim=4, layers=[6], features=content))
        model.item_table.assign(model.item_tower(np.arange(model.size)))
        return model
    options = {"repeats": {"repeats": True}, "normalized": {"normalize": True, "bias": False}}.get(name, {})
    cls = trs.models.NARM if name == "normalized" else trs.models.GRU4Rec
    model = random_weights(cls(data.items, units=[4], content=content, content_side="output", **options))
    model.settle(force=True)
    return model


def emptied(model, column, item):
    """Empties a column of one item, as if the item table had no value there."""
    if isinstance(model, trs.models.Blend):
        for member in model.members[::2]:
            emptied(member, column, item)
        return
    if isinstance(model, trs.models.TwoTower):
        read = model.content.all_but(next(one for one in model.content.columns if one.name == column))
        weights = zip((model.item_tower.codes, model.item_tower.standardized), read, strict=True)
    else:
        content = model.ranker.features.content if isinstance(model, trs.models.Pipeline) else model.item_content
        weights = [(weight, 0) for key, weight in content.stored.items() if key.split("/")[0] == column]
    for weight, kept in weights:
        rows = weight.numpy()
        rows[item] = rows[item] * kept
        weight.assign(rows)
    if isinstance(model, trs.models.TwoTower):
        model.item_table.assign(model.item_tower(np.arange(model.size)))
    elif not isinstance(model, trs.models.Pipeline):
        model.settle(force=True)


@pytest.mark.parametrize("name", ["network", "repeats", "normalized", "two_tower", "pipeline", "blend"])
def test_a_part_is_what_the_score_loses_without_the_value(name, data, request):
    model = request.getfixturevalue(name) if name == "pipeline" else untrained(name, data)
    history = data.items.ids[[3, 8]].tolist()
    item = 10 if name == "repeats" else 12  # of the history, whose content is read there, or not
    found = model.explain([history, []], [[data.items.ids[item - 2]], [data.items.ids[4]]])
    kept = [weight.numpy() for weight in model.weights]
    for column, parts in found.features.items():
        emptied(model, column.removeprefix("item/"), item)
        left = np.asarray(model.scores_after(data.items.encode(history)[None]))[0, item]
        near = {"rel": 2e-2, "abs": 1e-5} if name == "blend" else {"rel": 1e-3, "abs": 1e-4}  # copies, see Blend
        assert parts[0, 0] == pytest.approx(found.scores[0, 0] - left, **near), column
        assert parts[1, 0] == 0  # without history the popular items come first
        for weight, value in zip(model.weights, kept, strict=True):
            weight.assign(value)
    assert len(found.features) == (2 if name == "pipeline" else 3)
    assert any(parts[0, 0] for parts in found.features.values())


def test_models_whose_scores_read_no_content_have_no_such_features(data):
    model = trs.models.GRU4Rec(data.items, units=[4], content=["kind"], content_side="input")
    model.fitted = True
    assert model.explain([["i3"]], k=2).features == {}
    assert model.explain([["i3"]], k=2).strongest().shape == (1, 2, 0)
