"""Every method that takes ids answers all their forms as their texts."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import tfrecsession as trs
from tfrecsession.errors import InputError


@pytest.fixture(scope="module")
def numbered():
    """A log whose items and users are numbers."""
    rng = np.random.default_rng(0)
    steps = np.cumsum(rng.integers(1, 4, (60, 4)), axis=1) % 12 + 17850
    log = {"session": np.repeat(np.arange(60), 4), "user": np.repeat(np.arange(60) % 9, 4), "item": steps.ravel()}
    return pd.DataFrame(log)


@pytest.fixture(scope="module")
def data(numbered, tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "numbered"
    trs.prepare(numbered.astype({"item": float}), out, test_span="10%", min_item_support=1)
    return trs.load(out)


FORMS = {
    "ints": lambda text: [int(text)],
    "floats": lambda text: [float(text)],
    "bytes": lambda text: [text.encode()],
    "numpy": lambda text: np.array([float(text)]),
    "tensor": lambda text: tf.constant([text]),
    "series": lambda text: pd.Series([float(text)]),
    "generator": lambda text: (cell for cell in [text]),
}


@pytest.mark.parametrize("form", FORMS)
def test_items(form, data, numbered):
    model = trs.models.ItemKNN(data.items)
    model.fit(data.train)
    item = data.items.ids[2]
    assert item in numbered["item"].astype(str).to_numpy()
    assert data.items.encode(FORMS[form](item)).tolist() == [4]
    expected = model.recommend([[item]], k=3).items.tolist()
    assert expected != model.recommend([[]], k=3).items.tolist()
    assert model.recommend([FORMS[form](item)], k=3).items.tolist() == expected
    assert model.recommend(iter([FORMS[form](item)]), k=3).items.tolist() == expected
    assert model.recommend([["x"]], k=1, candidates=FORMS[form](item)).items.tolist() == [[item]]
    assert model.similar_items(FORMS[form](item), k=2).items.tolist() == model.similar_items([item], k=2).items.tolist()


@pytest.mark.parametrize("form", FORMS)
def test_users(form, data):
    model = trs.models.ALS(data.items, factors=4)
    model.fit(data.train, epochs=1)
    user, item = model.users[3], data.items.ids[2]
    assert model.recommend_users(FORMS[form](user), k=3).items.tolist() == model.recommend_users([user], 3)[0].tolist()
    assert model.similar_users(FORMS[form](user), k=2)[0].tolist() == model.similar_users([user], k=2)[0].tolist()
    assert model.explain(FORMS[form](item), item) == model.explain([item], item)
    assert model.predict_ratings(FORMS[form](user), FORMS[form](item)) == model.predict_ratings([user], [item])


@pytest.mark.parametrize("form", FORMS)
def test_states_and_attention(form, data):
    item = data.items.ids[2]
    model = trs.models.GRU4Rec(data.items, units=[4])
    best, state = model.advance(FORMS[form](item), model.initial_state(1), k=3)
    expected, after = model.advance([item], model.initial_state(1), k=3)
    assert best.items.tolist() == expected.items.tolist() and (state == after).all()
    narm = trs.models.NARM(data.items, dim=4, units=[4])
    assert narm.attention(FORMS[form](item)).tolist() == narm.attention([item]).tolist() != [0.0]


def test_what_is_no_id(data, tmp_path):
    model = trs.models.ItemKNN(data.items)
    model.fit(data.train)
    item = data.items.ids[2]
    path = tmp_path / "model" / "1"
    model.export(path, k=3)
    for call, argument in (
        (lambda: model.recommend([[item, None]], k=3), r"histories\[0\]\[1\]=None"),
        (lambda: model.recommend([[float("nan")]], k=3), r"histories\[0\]\[0\]=nan"),
        (lambda: model.recommend(item, k=3), "histories: must be a list of lists"),
        (lambda: model.recommend([item], k=3), "histories: must be a list of lists"),
        (lambda: model.recommend([[item]], k=3, candidates=item), "candidates: must be a list of ids"),
        (lambda: model.similar_items(item, k=2), "items: must be a list of ids"),
        (lambda: model.similar_items([{}], k=2), r"items\[0\]={}"),
        (lambda: data.items.encode(item), "items: must be a list of ids"),
        (lambda: data.items.encode([item, pd.NA]), r"items\[1\]=<NA>"),
        (lambda: trs.export.ask(path, [[None]]), r"histories\[0\]\[0\]=None"),
    ):
        with pytest.raises(InputError, match=f"^{argument}"):
            call()
    expected = model.recommend([[item], []], k=3).items.tolist()
    forms = [[float(item)], []], tf.ragged.constant([[item], []]), np.array([[item], [""]]), iter([[item], []])
    for given in forms:
        assert trs.export.ask(path, given)[0].tolist() == expected


def test_a_catalogue_of_numbers():
    items = trs.sessions.vocabulary.Items(np.array([17850.0, 3.0]), [2, 1])
    assert items.ids.tolist() == ["17850", "3"] and items.encode(["3", 17850]).tolist() == [3, 2]


@pytest.mark.parametrize("model", ["gru4rec", "item_knn", "parallel_rnn"])
def test_the_data_set_in_place_of_its_items_is_named(model, data):
    for wrong in (data, data.train, data.items.ids.tolist()):
        with pytest.raises(InputError, match=r"^items: must be the vocabulary of a data set, data\.items, not"):
            trs.models.MODELS[model](wrong)
