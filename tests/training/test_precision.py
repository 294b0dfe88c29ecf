"""Half precision by a setting: training, saving, continuing and recommending."""

import keras
import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession import InputError, evaluation, training
from tfrecsession.optimizers import LossScale

SMALL = {"epochs": 2, "rows": 16, "steps": 8, "negatives": 32, "units": [16], "precision": "mixed_float16"}
TRAININGS = {
    "adam": ("gru4rec", {"optimizer": "adam", "learning_rate": 0.01, "accumulate": 2}),
    "bpr_max": ("gru4rec", {"loss": "bpr_max", "lanes": 16, "cell": "lstm"}),
    "narm": ("narm", {"dim": 16}),
    "hrnn": ("hrnn", {"lanes": 16, "user_units": [16]}),
}
QUICK = ("adam",)
pytestmark = pytest.mark.filterwarnings("ignore:.*begin before an earlier one")


@pytest.fixture(scope="module")
def data():
    return trs.synthetic_sessions(items=100, sessions=1200, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in TRAININGS])
def test_a_model_trained_in_float16_is_saved_and_exported(name, data, tmp_path):
    model, own = TRAININGS[name]
    settings = training.settings_of(model, SMALL, own)
    trained = training.train(data, model, tmp_path / "run", settings, seed=1)
    assert keras.config.dtype_policy().name == "float32"  # of everything else
    assert trained.compute_dtype == "float16" and trained.output_items.table.dtype == "float32"
    assert isinstance(trained.optimizer, LossScale) and float(trained.optimizer.dynamic_scale) >= 2**10
    history = trained.history.history["loss"]
    assert history[-1] < history[0] and np.isfinite(history).all()

    again = training.open_run(tmp_path / "run").model()
    assert again.compute_dtype == again.output_items.compute_dtype == "float16"
    assert isinstance(again.optimizer, LossScale) and int(again.optimizer.iterations) == int(
        trained.optimizer.iterations
    )
    scored = evaluation.evaluate(again, data.test, slices=False).metrics["recall@20"]
    assert scored > 1.5 * evaluation.chance(len(data.items), 1).metrics["recall@20"]
    histories = [data.items.ids[:3].tolist()]
    best = trained.recommend(histories, k=5)
    assert again.recommend(histories, k=5).items.tolist() == best.items.tolist()
    items, scores = trs.export.ask(again.export(tmp_path / "saved" / "1", k=5), histories)
    assert items.tolist() == best.items.tolist() and np.isfinite(scores).all()


def test_float16_continues_with_a_newer_log(data):
    settings = training.settings_of("gru4rec", SMALL)
    model = training.build("gru4rec", data.items, settings)
    newer = trs.synthetic_sessions(items=120, sessions=300, seed=2)
    grown = training.grow(model, newer)
    assert isinstance(grown.optimizer, LossScale) and grown.output_items.compute_dtype == "float16"


def test_a_precision_is_given_by_name(data):
    settings = training.settings_of("gru4rec", {"precision": "mixed_bfloat16"})
    model = training.build("gru4rec", data.items, settings)
    assert model.compute_dtype == "bfloat16" and not isinstance(model.optimizer, LossScale)
    with pytest.raises(InputError, match="precision='half': must be one of float32, mixed_bfloat16, mixed_float16"):
        training.build("gru4rec", data.items, settings | {"precision": "half"})
    with pytest.raises(InputError, match="precision='mixed_float16': matrix_factorization learns in float32"):
        settings = training.settings_of("matrix_factorization", {"precision": "mixed_float16"})
        training.build("matrix_factorization", data.items, settings)
