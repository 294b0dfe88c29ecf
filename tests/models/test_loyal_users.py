"""Models of users on shops whose law knows each user's taste, which the first item of a session does not reveal."""

import keras
import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession import evaluation, training
from tfrecsession.batches import Sessions
from tfrecsession.sessions.store import SessionArrays

LOYAL = {"loyal": 0.6, "follow": 0.2, "taste": 0.1, "seed": 4}
MODELS = {
    "GRU4Rec": ("gru4rec", {}),
    "linear": ("user_gru", {"cell": "linear"}),
    "rectified": ("user_gru", {"cell": "rectified"}),
    "attentional": ("user_gru", {"cell": "attentional"}),
    "HRNN": ("hrnn", {}),
    "SHAN": ("long_short_term", {"encoder": "shan"}),
    "SDM": ("long_short_term", {"encoder": "gru4rec"}),
}


def of_new_users(sessions):
    """Returns the same sessions, each that of a new user."""
    arrays = sessions.arrays
    columns = {name: np.asarray(sessions.column(name)) for name in arrays.columns}
    columns["user"] = np.array([f"new-{number}" for number in range(len(sessions))], object)
    arrays = SessionArrays(arrays.items, arrays.values, arrays.offsets, columns)
    return Sessions(arrays, sessions.role, sessions.timed, sessions.earlier)


def recalls(shop, name, given):
    """Returns Recall@20 on test, and on the same sessions of new users."""
    model, own = MODELS[name]
    keras.utils.set_random_seed(0)
    settings = training.settings_of(model, {"negatives": 64, **given}, own)
    if "lanes" in settings and settings["lanes"]:
        settings |= {"lanes": 16}
    built = training.build(model, shop.items, settings)
    training.fit(built, shop, settings, seed=0, verbose=0)
    parts = (shop.test, of_new_users(shop.test))
    return [evaluation.evaluate(built, part, slices=False, draws=0).metrics["recall@20"] for part in parts]


@pytest.fixture(scope="module")
def busy():
    """A loyal shop whose users have 30 sessions, and Recall@20 of a model that does not know them."""
    shop = trs.synthetic_sessions(items=200, sessions=6000, users=200, **LOYAL)
    return shop, recalls(shop, "GRU4Rec", {"epochs": 8, "rows": 32})[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("GRU4Rec", "SHAN")])
def test_models_of_users_know_their_taste_and_serve_new_ones_as_well(busy, name):
    shop, alone = busy
    known, new = recalls(shop, name, {"epochs": 8, "rows": 32})
    assert known > alone + 0.02 and new > alone - 0.02, (known, new, alone)


@pytest.mark.slow
def test_shan_knows_a_taste_and_serves_new_users_as_well_where_order_says_nothing():
    """SHAN ignores the order of the session, so that it is behind a GRU where the last item leads to the next one."""
    shop = trs.synthetic_sessions(items=200, sessions=4000, users=130, **LOYAL | {"follow": 0, "taste": 0.3})
    given = {"epochs": 8, "rows": 32}
    (alone, _), (known, new) = recalls(shop, "GRU4Rec", given), recalls(shop, "SHAN", given)
    assert known > alone + 0.02 and new > alone - 0.02, (known, new, alone)


@pytest.mark.slow
def test_vectors_of_users_know_a_taste():
    shop = trs.synthetic_sessions(items=60, sessions=500, users=10, **LOYAL | {"loyal": 0.9, "follow": 0, "taste": 0})
    given = {"epochs": 5, "rows": 16, "steps": 8, "units": [12]}
    (alone, _), (known, new) = recalls(shop, "GRU4Rec", given), recalls(shop, "linear", given)
    assert known > alone + 0.05 and new > alone - 0.05, (alone, known, new)


@pytest.mark.slow
def test_models_of_users_beat_a_network_without_users_and_grow_with_the_history():
    """All learn from the same batches, with one loss and optimizer; Recall@20 by the number of past sessions."""
    law = LOYAL | {"loyal": 0.8, "follow": 0.15, "taste": 0.05}
    shop = trs.synthetic_sessions(items=200, sessions=6000, users=900, days=20, test_span="4d", **law)
    negatives = trs.negatives.Popularity(128)
    shared = {"lanes": 16, "negatives": negatives}
    models = {
        "GRU4Rec": lambda: trs.models.GRU4Rec(shop.items, units=[64], **shared),
        "UserGRU": lambda: trs.models.UserGRU(shop.items, units=[64], **shared),
        "HRNN": lambda: trs.models.HRNN(shop.items, units=[64], user_units=[64], **shared),
        "SHAN": lambda: trs.models.LongShortTerm(shop.items, dim=64, encoder="shan", **shared),
        "SDM": lambda: trs.models.LongShortTerm(shop.items, dim=64, encoder="gru4rec", **shared),
    }

    def recalls(made):
        """Returns Recall@20 of all events, and of those of users with up to 2 past sessions and with 5 and more."""
        keras.utils.set_random_seed(0)
        model = made()
        model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy(logq=1.0))
        batches = shop.train.batches(rows=16, steps=20, by_user=True, carry=True, context=model.context, seed=0)
        model.fit(batches.map(lambda *both: both), epochs=4, verbose=0)  # a plain dataset: any model reads it
        found = evaluation.evaluate(model, shop.test, draws=0)
        past = {name: (part["recall@20"], part["events"]) for name, part in found.slices["past_sessions"].items()}
        few, many = (np.array([past[name] for name in names]) for names in (("0", "1", "2"), ("5-9", "10+")))
        return np.array(
            [found.metrics["recall@20"], *((part[:, 0] @ part[:, 1]) / part[:, 1].sum() for part in (few, many))]
        )

    found = {name: recalls(made) for name, made in models.items()}
    alone = found.pop("GRU4Rec")
    for name, known in found.items():
        assert known[0] > alone[0] + 0.01 and known[2] > known[1], (name, alone, known)
