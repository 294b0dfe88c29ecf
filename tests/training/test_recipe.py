import pytest

from tfrecsession import InputError, presets, training
from tfrecsession.models import MODELS


def test_later_settings_win():
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
    with pytest.raises(InputError, match=f"{key}='{value}': say one of"):
        training.build("gru4rec", shop.items, training.settings_of("gru4rec", {key: value}))


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_fits_its_model(name):
    preset = presets.read(name)
    assert preset["model"] in MODELS
    training.settings_of(preset["model"], preset["settings"])
    assert preset["measured"]


def test_a_preset_of_another_model_is_refused():
    with pytest.raises(InputError, match="is for gru4rec, not for item_knn"):
        presets.read(presets.names()[0], "item_knn")
    with pytest.raises(InputError, match="no preset 'nothing'; there are: "):
        presets.read("nothing")
