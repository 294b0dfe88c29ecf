import keras
import pytest

from tfrecsession import training
from tfrecsession.models import MODELS, SequenceModel

QUICK = {"epochs": 3, "rows": 16, "steps": 8, "negatives": 64}


@pytest.fixture(scope="session")
def fitted(shop):
    """model name -> that model, fitted once on the shop."""
    made = {}

    def get(name):
        if name not in made:
            keras.utils.set_random_seed(1)
            known = training.settings_of(name)
            settings = {**known, **{key: value for key, value in QUICK.items() if key in known}}
            model = training.build(name, shop.items, settings)
            training.fit(model, shop, settings)
            made[name] = model
        return made[name]

    return get


def pytest_generate_tests(metafunc):
    """A test that asks for `name` runs over every registered model, `neural` over those learned by gradient."""
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", list(MODELS))
    if "neural" in metafunc.fixturenames:
        metafunc.parametrize("neural", [name for name, model in MODELS.items() if issubclass(model, SequenceModel)])
