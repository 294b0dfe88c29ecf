import keras
import numpy as np
import pytest

from tfrecsession import InputError, presets, training
from tfrecsession.models import MODELS, ItemKNN, SequenceModel
from tfrecsession.recommender import training_values
from tfrecsession.training import recipe
from tfrecsession.training.decay import DECAYS


def test_later_settings_override_earlier_ones():
    settings = training.settings_of("gru4rec", {"units": [50], "epochs": 3}, {"epochs": 9})
    assert settings["units"] == [50] and settings["epochs"] == 9


def test_an_unknown_setting_lists_the_known_ones_nearest_first():
    with pytest.raises(InputError, match="no setting 'unit'; it has: units"):
        training.settings_of("gru4rec", {"unit": 3})


def test_an_unknown_model_lists_the_known_ones_nearest_first():
    with pytest.raises(InputError, match="'gru4rek'; there are: gru4rec"):
        training.settings_of("gru4rek")


@pytest.mark.parametrize(("key", "value"), [("loss", "hinge"), ("optimizer", "sgd")])
def test_unknown_choices_list_the_known_ones(shop, key, value):
    with pytest.raises(InputError, match=f"{key}='{value}': must be one of"):
        training.build("gru4rec", shop.items, training.settings_of("gru4rec", {key: value}))


def test_the_setting_accumulate_reaches_the_optimizer(shop):
    def optimizer(name, **more):
        settings = training.settings_of("gru4rec", {"optimizer": name, **more})
        return training.build("gru4rec", shop.items, settings).optimizer

    for name in training.recipe.OPTIMIZERS:
        assert optimizer(name).gradient_accumulation_steps is None
        assert optimizer(name, accumulate=4).gradient_accumulation_steps == 4
    for wrong in (0, -1, 2.5, True):
        with pytest.raises(InputError, match=f"accumulate={wrong}: must be the number of batches"):
            optimizer("adam", accumulate=wrong)


def test_two_accumulated_halves_of_a_batch_make_the_step_of_the_whole(shop):
    """Covers sparse gradients (of the input table) and dense ones (of the output table of a full softmax)."""
    given = {"units": [8], "sampler": "full", "embedding": "separate", "dropout": 0.0}
    batch, targets = next(iter(shop.train.batches(rows=16, steps=8, seed=1)))
    halves = [({name: array[i : i + 8] for name, array in batch.items()}, targets[i : i + 8]) for i in (0, 8)]
    trained = []
    for more, parts in (({}, [(batch, targets)]), ({"accumulate": 2}, halves)):
        keras.utils.set_random_seed(1)
        model = training.build("gru4rec", shop.items, training.settings_of("gru4rec", given, more))
        for _ in range(2):
            for part in parts:
                model.train_step(part)
        trained.append(model)
    one, other = trained
    assert int(one.optimizer.iterations) == int(other.optimizer.iterations) == 2
    for weight, expected in zip(other.weights, one.weights, strict=True):
        np.testing.assert_allclose(weight.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", MODELS["gru4rec"].learning.losses)
def test_every_loss_gets_its_settings(shop, loss):
    given = {"loss": loss, "regularization": 0.7, "elu": 0.5, "logq": 0.25}
    built = training.build("gru4rec", shop.items, training.settings_of("gru4rec", given)).ranking_loss
    assert type(built).__name__.lower() == loss.replace("_", "")
    config = built.get_config()
    # the logQ correction belongs to the softmax; the authors use it for cross-entropy alone
    assert config["logq"] == (0.25 if loss == "cross_entropy" else 0.0)
    assert config.get("regularization", 0.7) == 0.7 and config.get("elu", 0.5) == 0.5


@pytest.mark.parametrize("loss", MODELS["matrix_factorization"].learning.losses)
def test_a_factorization_learns_with_every_loss_and_two_more(shop, loss):
    given = {"loss": loss, "unobserved_weight": 0.3, "l2": 0.2, "dim": 4}
    if loss == "mean_squared_error":
        given["rating"] = "rating"
    model = training.build("matrix_factorization", shop.items, training.settings_of("matrix_factorization", given))
    assert type(model.ranking_loss).__name__.lower() == loss.replace("_", "")
    assert (model.l2, model.dim, model.negatives.count) == (0.2, 4, 512)
    assert getattr(model.ranking_loss, "unobserved_weight", 0.3) == 0.3
    if loss not in training.recipe.LOSSES:
        with pytest.raises(InputError, match=f"loss='{loss}': must be one of"):
            training.build("gru4rec", shop.items, training.settings_of("gru4rec", {"loss": loss}))


@pytest.mark.parametrize(
    ("sampler", "counts"),
    [
        ("popularity", {"Popularity": 10}),
        ("uniform", {"Uniform": 10}),
        ("log_uniform", {"LogUniform": 10}),
        ("in_batch", {"InBatch": None}),
        ("in_batch+popularity", {"InBatch": None, "Popularity": 10}),
    ],
)
def test_samplers_by_name(shop, sampler, counts):
    settings = training.settings_of("gru4rec", {"sampler": sampler, "negatives": 10, "alpha": 0.2, "mask_hits": False})
    negatives = training.build("gru4rec", shop.items, settings).negatives
    parts = getattr(negatives, "draws", [negatives])
    assert {type(part).__name__: part.count for part in parts} == counts
    # alpha is not ignored
    assert all(not part.mask_hits and getattr(part, "alpha", 0.2) == 0.2 for part in parts)


def test_the_full_softmax_by_name(shop):
    settings = training.settings_of("gru4rec", {"sampler": "full"})
    assert training.build("gru4rec", shop.items, settings).negatives is None
    with pytest.raises(InputError, match="BPRMax needs a sampler"):
        training.build("gru4rec", shop.items, {**settings, "loss": "bpr_max"})


@pytest.mark.parametrize("sampler", ["zipf", "in_batch+full", "", 3])
def test_unknown_samplers_list_the_known_ones(shop, sampler):
    with pytest.raises(InputError, match=r"sampler=.*: must be one of popularity, .* in_batch\+popularity"):
        training.build("gru4rec", shop.items, training.settings_of("gru4rec", {"sampler": sampler}))


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_fits_its_model(name):
    preset = presets.read(name)
    assert preset["model"] in MODELS
    training.settings_of(preset["model"], preset["settings"])
    assert preset["measured"] or preset["reported"]


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_trains(shop, name):
    model = SequenceModel.from_preset(name, shop.items, units=[8], negatives=16)
    lanes = getattr(model, "lanes", None)
    batches = shop.train.batches(rows=lanes or 16, steps=1 if lanes else 8, carry=bool(lanes)).take(3)
    assert model.fit(batches, verbose=0).history["loss"][0] > 0


def test_a_preset_of_another_model_is_refused_by_the_model(shop):
    with pytest.raises(InputError, match="must be a preset of ItemKNN, not of GRU4Rec"):
        ItemKNN.from_preset("yoochoose", shop.items)


def test_a_preset_of_another_model_is_refused():
    with pytest.raises(InputError, match="is for gru4rec, not for item_knn"):
        presets.read(presets.names()[0], "item_knn")
    with pytest.raises(InputError, match="no preset 'nothing'; must be one of "):
        presets.read("nothing")


def test_the_names_that_are_checked_before_tensorflow_are_those_of_the_tables():
    assert set(training_values.OPTIMIZERS) == set(recipe.OPTIMIZERS)
    assert set(training_values.SAMPLERS) == set(recipe.SAMPLERS)
    assert set(training_values.DECAYS) == set(DECAYS)
