"""A training that dies ends as if nothing had been, bit for bit."""

import random

import keras
import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession import training
from tfrecsession.training.checkpoint import variables_of

SMALL = {"epochs": 3, "negatives": 16}
PACKED = {**SMALL, "rows": 16, "steps": 8}
TRAININGS = {
    "packed": ("gru4rec", {**PACKED, "units": [8], "dropout": 0.3, "embedding_dropout": 0.2, "decay": "linear"}),
    "momentum": ("gru4rec", {**PACKED, "units": [8], "momentum": 0.5, "clipnorm": 1.0, "cell": "lstm"}),
    "adam": ("gru4rec", {**PACKED, "units": [8], "optimizer": "adam", "learning_rate": 0.01}),
    "lanes": ("gru4rec", {**SMALL, "units": [8], "lanes": 32, "steps": 4, "dropout": 0.2, "loss": "bpr_max"}),
    "joined": ("gru4rec", {**SMALL, "units": [8], "lanes": 32, "steps": 4, "joined": True}),
    "mixture": ("gru4rec", {**PACKED, "units": [8], "sampler": "in_batch+popularity"}),
    "full": ("gru4rec", {**PACKED, "units": [8], "sampler": "full"}),
    "hrnn": ("hrnn", {**SMALL, "units": [8], "user_units": [8], "lanes": 32, "steps": 6, "user_dropout": 0.2}),
    "narm": ("narm", {**PACKED, "units": [8]}),
    "factors": ("matrix_factorization", {**SMALL, "rows": 128, "dim": 8}),
    "all pairs": ("matrix_factorization", {**SMALL, "rows": 128, "dim": 8, "loss": "all_pairs"}),
    "two towers": ("two_tower", {**SMALL, "rows": 128, "dim": 8, "layers": [8]}),
}
QUICK = ("packed", "lanes", "hrnn", "all pairs", "two towers")
pytestmark = pytest.mark.filterwarnings("ignore:.*begin before an earlier one")


class Killed(BaseException):
    """Nothing that training could catch."""


class Kill(keras.callbacks.Callback):
    """Dies after so many batches; between batches and the end of an epoch, and after it, too."""

    def __init__(self, after):
        super().__init__()
        self.left = after

    def on_train_batch_end(self, batch, logs=None):
        self.left -= bool(logs)  # not the batches that are passed over
        if self.left < 0:
            raise Killed

    def on_epoch_end(self, epoch, logs=None):
        self.on_train_batch_end(None, logs)


@pytest.fixture(scope="module")
def data():
    return trs.synthetic_sessions(items=100, sessions=500, seed=1)


def settings_of(name, **more):
    model, said = TRAININGS[name]
    return model, training.settings_of(model, {**said, **more})


def assert_same(one, other):
    """Every bit of two models: weights, optimizer, random generators (which no .keras file holds), running means."""
    for mine, yours in zip(variables_of(one), variables_of(other), strict=True):
        assert np.asarray(mine.numpy()).tobytes() == np.asarray(yours.numpy()).tobytes(), getattr(mine, "path", mine)


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in TRAININGS])
def test_ends_as_if_nothing_had_been(name, data, tmp_path):
    model, settings = settings_of(name)
    whole = training.train(data, model, tmp_path / "whole", settings, seed=3, checkpoint=None)
    batches = 3 * int(whole.training_batches(data.train, settings, 3).cardinality())
    first = random.Random(name).randrange(2, batches - 4)
    again = random.Random(name + "2").randrange(3, batches - first + 1)
    for after in (first, again):
        with pytest.raises(Killed):
            training.train(
                data, model, tmp_path / "broken", settings, seed=3, checkpoint=3, callbacks=[Kill(after)]
            )  # fmt: skip
        assert {path.name for path in tmp_path.iterdir()} <= {"whole", "broken.unfinished"}
    resumed = training.train(data, model, tmp_path / "broken", settings, seed=3, checkpoint=3)
    assert_same(whole, resumed)
    for file in ("history.json", "metrics.json"):
        assert (tmp_path / "broken" / file).read_text() == (tmp_path / "whole" / file).read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "whole"]
