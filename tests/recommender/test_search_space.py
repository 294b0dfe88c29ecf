import json

import numpy as np
import pytest

from tfrecsession import InputError, presets, training
from tfrecsession.models import MODELS, SequenceModel
from tfrecsession.recommender.search_space import Choice, Float, Int, starting_at, walk

STARTING = {"loss": {"repeats"}}  # settings that a range compares by the value that the search starts from


def ranges(space):
    """Returns every (name, range), alternatives one by one."""
    return [
        (name, alternative)
        for name, declared in space.items()
        for alternative in (declared if isinstance(declared, tuple) else (declared,))
    ]


@pytest.mark.parametrize("model", MODELS)
def test_every_model_declares_its_space(model):
    assert "search_space" in vars(MODELS[model]), "the class must declare search_space, {} if nothing is searched"
    known, space = training.settings_of(model), training.space_of(model)
    for name, declared in ranges(space):
        assert name in known
        assert isinstance(declared, Float | Choice)
        if isinstance(declared, Choice):
            json.dumps(declared.options)  # must fit into a preset file
    # the default lies in the range that applies to the defaults
    wrong = {}

    def check(name, applying):
        return known[name] if applying.holds(known[name]) else wrong.setdefault(name, applying)

    walk(space, known, check)
    assert not wrong
    for alternatives in space.values():
        assert not isinstance(alternatives, tuple) or len(set(map(type, alternatives))) == 1


@pytest.mark.parametrize("model", MODELS)
def test_a_range_depends_on_known_settings_that_come_before(model):
    space = training.space_of(model)
    # the space of all sequence models may depend on a setting that only some of them have
    all_settings = {name for other in MODELS for name in training.settings_of(other)}
    before = set()
    for name, alternatives in space.items():
        for _, declared in ranges({name: alternatives}):
            assert set(declared.when) <= all_settings
            below = set(declared.when) & set(space) - before
            assert below <= STARTING.get(name, set()), f"{name} stands above the setting it depends on"
        before.add(name)


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_can_start_a_search(name):
    preset = presets.read(name)
    start = training.settings_of(preset["model"], preset["settings"])
    space = starting_at(training.space_of(preset["model"]), start)
    drawn = walk(space, start, lambda name, applying: applying.holds(start[name]))
    assert drawn and all(drawn.values())


@pytest.mark.slow
@pytest.mark.parametrize("model", [name for name, cls in MODELS.items() if issubclass(cls, SequenceModel)])
def test_every_drawn_model_can_be_built(shop, model):
    """Corners and random points of the space, with small values of costly settings."""
    random = np.random.default_rng(1)
    small = {"negatives": 16, "epochs": 1}
    fixed = small | ({"units": [8]} if "units" in training.settings_of(model) else {})
    start = training.settings_of(model, fixed)
    space = {name: declared for name, declared in training.space_of(model).items() if name not in fixed}

    def draw(name, applying):
        if isinstance(applying, Choice):
            return applying.options[random.integers(len(applying.options))]
        value = random.choice([applying.low, applying.high, random.uniform(applying.low, applying.high)])
        return round(value) if isinstance(applying, Int) else float(value)

    for _ in range(5):
        training.build(model, shop.items, {**start, **walk(space, start, draw)})


def test_values_in_and_out_of_a_range():
    number, whole, choice = Float(0.1, 2.0), Int(1, 5), Choice("a", None, [100], (7, 8), 0.0, True)
    assert all(number.holds(value) for value in (0.1, 2, np.float32(1.5)))
    assert not any(number.holds(value) for value in (0.09, 2.01, True, "1", None, float("nan")))
    assert whole.holds(1) and whole.holds(np.int64(5)) and not whole.holds(2.0) and not whole.holds(True)
    assert all(choice.holds(value) for value in ("a", None, (100,), [7, 8], 0, True))
    assert not any(choice.holds(value) for value in ("b", 100, 1, False))


@pytest.mark.parametrize("wrong", [lambda: Float(1.0, 1.0), lambda: Int(5, 1), lambda: Float(0.0, 1.0, log=True)])
def test_an_empty_range_is_refused(wrong):
    with pytest.raises(ValueError, match="low must be below high"):
        wrong()


def test_walk_draws_only_ranges_that_apply():
    space = {
        "loss": Choice("bpr_max", "cross_entropy"),
        "regularization": Float(0, 2, when={"loss": ("bpr_max", "top1_max")}),
        "momentum": Float(0, 1, when={"optimizer": "adagrad", "regularization": 2}),
        "rate": (Float(0.1, 1, when={"optimizer": "adagrad"}), Float(0.01, 0.1)),
        "rows": Int(1, 9, when={"lanes": None}),
    }

    def highest(name, applying):
        return applying.options[0] if isinstance(applying, Choice) else applying.high

    drawn = walk(space, {"optimizer": "adagrad", "lanes": 8}, highest)
    assert drawn == {"loss": "bpr_max", "regularization": 2, "momentum": 1, "rate": 1}
    # a setting that is not drawn keeps its value; one that the model does not have counts as None
    del space["loss"]
    drawn = walk(space, {"optimizer": "adam", "loss": "cross_entropy"}, highest)
    assert drawn == {"rate": 0.1, "rows": 9}


def test_a_start_outside_of_the_space_widens_it():
    space = {
        "units": Choice([100], [200], when={"cell": "gru"}),
        "dropout": Float(0.1, 0.5),
        "rows": Int(8, 64, log=True),
        "rate": (Float(0.1, 1.0, when={"cell": "lstm"}), Float(0.01, 0.1, log=True)),
        "decay": Choice(None, "linear", when={"cell": "rnn"}),
    }
    start = {"cell": "gru", "units": [512], "dropout": 0, "rows": 100, "rate": 0.05, "decay": "cosine"}
    wide = starting_at(space, start)
    assert wide["units"] == Choice([100], [200], [512], when={"cell": "gru"})
    assert wide["dropout"] == Float(0, 0.5) and wide["rows"] == Int(8, 100, log=True)
    assert wide["rate"] == space["rate"]
    assert starting_at(space, {**start, "rate": 0.2})["rate"] == (space["rate"][0], Float(0.01, 0.2, log=True))
    assert wide["decay"] == space["decay"]  # does not apply
    for name, value in {"rate": 0.0, "dropout": None, "rows": 8.5}.items():
        with pytest.raises(InputError, match=f"{name}={value}: .*fix it with settings={{'{name}': {value}}}"):
            starting_at(space, {**start, name: value})


def test_a_search_that_starts_from_repeats_keeps_the_loss_that_learns_them():
    """Every setting that is drawn can be trained together."""
    space, rng = training.space_of("gru4rec"), np.random.default_rng(0)

    def draw(name, range_):
        return range_.options[rng.integers(len(range_.options))] if isinstance(range_, Choice) else range_.low

    for given in ({"repeats": True}, {"loss": "bpr_max"}, {}):
        settings, free = training.settings_of("gru4rec", given), {n: r for n, r in space.items() if n not in given}
        found = [{**settings, **walk(free, settings, draw)} for _ in range(60)]
        assert all(one["loss"] == "cross_entropy" for one in found if one["repeats"])
        assert not any(one["repeats"] and one["label_smoothing"] > 0 for one in found)
        assert any(one["repeats"] for one in found) == (given != {"loss": "bpr_max"})
