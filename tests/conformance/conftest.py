import keras
import pytest

from tfrecsession import training
from tfrecsession.models import MODELS, SequenceModel, Streaming

# Further shapes of a model that are promised the same: name -> (model, settings).
VARIANTS = {
    "gru4rec-lstm": ("gru4rec", {"cell": "lstm", "discount": 0.5}),
    "gru4rec-rnn": ("gru4rec", {"cell": "rnn", "embedding": "one_hot", "learning_rate": 0.05}),
    "gru4rec-residual": ("gru4rec", {"units": [64, 64], "residual": True, "embedding": "separate"}),
    "gru4rec-joined": ("gru4rec", {"joined": True, "lanes": 16}),
    "gru4rec-bidirectional": ("gru4rec", {"units": [32, 32], "bidirectional": True, "epochs": 3}),
    "item_knn-div": ("item_knn", {"history": "div"}),
    "matrix_factorization-all_pairs": ("matrix_factorization", {"loss": "all_pairs", "dim": 16}),
    "narm-raw": ("narm", {"normalize": False, "activation": "hard_sigmoid", "bias": True, "reset_after": False}),
    "slist-whole": ("slist", {"neighbours": None, "direction": "part"}),
}
BOTH_ENDS = {name for name, (_, settings) in VARIANTS.items() if settings.get("bidirectional")}
QUICK = {"epochs": 3, "rows": 16, "steps": 8, "negatives": 64}


@pytest.fixture(scope="session")
def built():
    """(name, items, wanted settings) -> the compiled model, and all its settings."""

    def build(name, items, wanted):
        model, variant = VARIANTS.get(name, (name, {}))
        known = training.settings_of(model, variant)
        wanted = {key: value for key, value in wanted.items() if key in known and key not in variant}
        settings = {**known, **wanted}
        return training.build(model, items, settings), settings

    return build


@pytest.fixture(scope="session")
def trained(built):
    """(name, data, wanted settings, seed) -> the model, fitted to the train split."""

    def train(name, data, wanted, seed=0):
        model, settings = built(name, data.items, wanted)
        training.fit(model, data, settings, seed=seed)
        return model

    return train


@pytest.fixture(scope="session")
def fitted(shop, trained):
    """name -> that model, fitted once on the shop."""
    made = {}

    def get(name):
        if name not in made:
            keras.utils.set_random_seed(1)
            made[name] = trained(name, shop, QUICK)
        return made[name]

    return get


def pytest_generate_tests(metafunc):
    """A test that asks for `name` runs over every registered model, `neural` over those learned by gradient,
    `recurrent` over those that go on from a state."""
    models = MODELS | {variant: MODELS[model] for variant, (model, _) in VARIANTS.items()}
    recurrent = [name for name, model in models.items() if issubclass(model, Streaming) and name not in BOTH_ENDS]
    neural = [name for name, model in models.items() if issubclass(model, SequenceModel)]
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", list(models))
    if "neural" in metafunc.fixturenames:
        metafunc.parametrize("neural", neural)
    if "recurrent" in metafunc.fixturenames:
        metafunc.parametrize("recurrent", recurrent)
