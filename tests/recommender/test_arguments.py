"""Arguments that a model or its batches do not have: one line with the name that is meant."""

import re

import pytest

import tfrecsession as trs
from tfrecsession.models import MODELS
from tfrecsession.near_names import MEANINGS, by_meaning, meant
from tfrecsession.recommender.settings import settings_of_class


@pytest.fixture(scope="module")
def data():
    return trs.synthetic_sessions(items=60, sessions=300, seed=1)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_refuses_an_argument_that_it_does_not_have(model, data):
    cls = MODELS[model]
    with pytest.raises(trs.InputError, match=rf"^wdith=3: {cls.__name__} has no such argument; it has: .*\bitems\b"):
        cls(data.items, wdith=3)


WRONG = {
    ("GRU4Rec", "unit"): "did you mean units?",
    ("GRU4Rec", "embedding_dim"): "its width is units",
    ("SASRec", "units"): "its width is dim",
    ("SASRec", "num_blocks"): "its number of layers is layers",
    ("SASRec", "context_a"): "did you mean context_as?",  # of a base class
    ("ALS", "epochs"): "its number of epochs is sweeps",
    ("ItemKNN", "neighbors"): "did you mean neighbours?",
    ("GRU4Rec", "learning_rate"): "it belongs to compile, fit, batches or negatives=trs.negatives",
    ("SessionPopularity", "days"): "it has: name, items",
}


@pytest.mark.parametrize(("model", "name"), WRONG)
def test_the_line_names_the_argument_that_is_meant(model, name, data):
    with pytest.raises(trs.InputError) as error:
        getattr(trs.models, model)(data.items, **{name: [100]})
    assert str(error.value) == f"{name}=[100]: {model} has no such argument; {WRONG[model, name]}"


def test_models_of_models_and_long_values(data):
    knn = trs.models.ItemKNN(data.items)
    knn.fit(data.train)
    with pytest.raises(
        trs.InputError, match=re.escape("weight=[1]: Blend has no such argument; did you mean weights?")
    ):
        trs.models.Blend([knn, knn], weight=[1])
    with pytest.raises(trs.InputError, match="^data=<Data>: GRU4Rec has no such argument; it has: "):
        trs.models.GRU4Rec(data.items, data=data)


def test_arguments_of_keras_stay(data):
    assert trs.models.GRU4Rec(data.items, name="mine", trainable=False, dtype="float32").name == "mine"


def test_batches_refuse_an_argument_that_they_do_not_have(data):
    lines = {"row": "did you mean rows?", "batch_size": "its batch size is rows", "sed": "did you mean seed?"}
    for name, line in lines.items():
        with pytest.raises(trs.InputError, match=re.escape(f"{name}=3: batches has no such argument; {line}")):
            data.train.batches(**{name: 3})
    with pytest.raises(trs.InputError, match="^long='all': must be left out with by_user"):
        data.train.batches(by_user=True, long="all")


def test_settings_of_another_model_name_those_of_the_same_meaning():
    for model, name, line in (
        ("sasrec", "units", "its width is 'dim'"),
        ("gru4rec", "lr", "its learning rate is 'learning_rate'"),
        ("als", "epochs", "its number of epochs is 'sweeps'"),
        ("popularity", "units", "it has: .*"),
    ):
        with pytest.raises(trs.InputError, match=rf"^{model} has no setting '{name}'; {line}$"):
            settings_of_class(model, MODELS[model], {name: 1})


def test_meanings_are_of_names_that_models_have():
    known = {name for cls in MODELS.values() for name in settings_of_class("", cls)[0]}
    for meaning, names in MEANINGS.items():
        assert names.split()[0] in known, meaning
    assert by_meaning("units", ["dim", "layers"]) == ("width", "dim") and by_meaning("colour", ["dim"]) is None
    assert meant("colour", []) == "it has: none"
