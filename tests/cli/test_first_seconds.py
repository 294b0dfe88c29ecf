"""Wrong arguments, paths and names are reported before TensorFlow is imported."""

import inspect
import json
import subprocess
import sys

import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession.cli import declared_models, main, values
from tfrecsession.evaluation import study
from tfrecsession.models import MODELS
from tfrecsession.recommender import settings
from tfrecsession.recommender.log_defaults import following
from tfrecsession.recommender.search_space import Choice

RUN = """
import contextlib, io, json, sys
from tfrecsession.cli import main
for line in json.load(sys.stdin):
    error = io.StringIO()
    with contextlib.redirect_stderr(error), contextlib.redirect_stdout(io.StringIO()):
        code = main(line.split())
    heavy = [name for name in ("tensorflow", "keras") if name in sys.modules]
    print(json.dumps([code, error.getvalue().strip().splitlines(), heavy]))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a data set, and a run, a comparison and an export that only look like such."""
    place = tmp_path_factory.mktemp("place")
    assert main(["prepare", "synthetic:items=60,sessions=500,seed=1", "--out", f"{place}/data"]) == 0
    data = trs.load(place / "data")
    run = {"model": "item_knn", "settings": trs.training.settings_of("item_knn", data=data), "seed": 0}
    run |= {"data": {"path": f"{place}/data", "fingerprint": data.fingerprint}, "seconds": 1.0}
    for folder in ("run", "compared/runs/item_knn"):
        (place / folder).mkdir(parents=True)
        (place / folder / "run.json").write_text(json.dumps(run))
        (place / folder / "model.keras").write_text("none")
    (place / "compared/comparison.json").write_text(json.dumps({"data": data.fingerprint}))
    (place / "other").mkdir()
    (place / "other/run.json").write_text(json.dumps(run | {"data": {**run["data"], "fingerprint": "f0"}}))
    (place / "other/model.keras").write_text("none")
    (place / "blended").mkdir()
    (place / "blended/run.json").write_text(json.dumps(run | {"model": "blend"}))
    (place / "blended/model.keras").write_text("none")
    (place / "incomplete").mkdir()
    (place / "incomplete/run.json").write_text(json.dumps(run))
    (place / "saved/knn/1/assets.extra").mkdir(parents=True)
    (place / "saved/knn/1/saved_model.pb").write_text("none")
    (place / "saved/knn/1/assets.extra/tfrecsession.json").write_text('{"k": 7}')
    (place / "file").write_text("a file")
    return place


LINES = [
    ("recommend NO_SUCH_FOLDER item-1", "NO_SUCH_FOLDER: has no SavedModel"),
    ("recommend run item-1", "it is a run: export it with `tfrecsession export run --out saved_models/run`"),
    ("recommend saved/knn/1/saved_model.pb item-1", "it is a file: name the folder of the model"),
    ("recommend compared item-1", "tfrecsession export compared/runs/item_knn --out saved_models/item_knn"),
    ("recommend saved item-1", "name one of the models in it: saved/knn"),
    ("recommend saved/knn item-1 --k 8", "--k 8: must be 1 to 7"),
    ("export wrong/path --out x", "wrong/path is not a run folder (no run.json)"),
    ("export saved/knn --out x", "it is an export, name the run"),
    ("export run --out x --k 0", "--k 0"),
    ("export run --out x --version 0", "--version 0"),
    ("export run --out file", "cannot write there"),
    ("export run --out saved/knn", "exclude_seen: None there, False now"),
    ("export incomplete --out x", "no model.keras"),
    ("train data --model grru4rec --out x", "no model is called 'grru4rec'; there are: gru4rec"),
    ("train data --model gru4rec --set unitz=[100] --out x", "gru4rec has no setting 'unitz'; it has: units"),
    ("train data --model gru4rec --set units --out x", "--set units: must be KEY=VALUE"),
    ("train data --model gru4rec --preset gru4rec_yoochose --out x", "no preset 'gru4rec_yoochose'"),
    ("train data --model gru4rec --k 0 --out x", "--k 0: must be whole numbers"),
    ("train data --model gru4rec --k 5000 --out x", "--k 5000: must be at most"),
    ("train data --model gru4rec --checkpoint 5x --out x", "--checkpoint 5x"),
    ("train data --model gru4rec --data-memory much --out x", "much"),
    ("train nodata --model gru4rec --out x", "nodata: no such folder"),
    ("train run --model gru4rec --out x", "run: not a prepared data set"),
    ("train data --model item_knn --out file", "exists and is not a folder"),
    ("train data --model item_knn --out file/x", "file: Not a directory"),
    ("train data --model item_knn --set neighbours=7 --out run", "neighbours: 100 there, 7 now"),
    ("train data --model popularity --out run", "model: 'item_knn' there, 'popularity' now"),
    ("train data --model item_knn --out run", "exists already, a run of the same settings"),
    ("train data --model item_knn --out x --tensorboard file/x", "file: Not a directory"),
    ("train data --model item_knn --out x --json data", "is a folder"),
    ("train data --model item_knn --out x --json file/x.json", "file: Not a directory"),
    ("train data --from norun --out x", "norun is not a run folder"),
    ("train data --from run --out x", "--from run: item_knn is counted and does not continue: train it anew"),
    ("train data --from run --model gru4rec --out x", "--model gru4rec: must be item_knn, the model of run"),
    ("add-items saved/knn --items new.csv", "saved/knn/1: its model reads no content, so new items have no vectors"),
    ("train data --from blended --out x", "--from blended: a blend does not continue: train its members anew"),
    ("train data --model gru4rec --set units=abc --out x", "units='abc': must be a list of layer widths, e.g. [100]"),
    ("train data --model gru4rec --set learning_rate=-1 --out x", "learning_rate=-1: must be a number above 0"),
    ("train data --model gru4rec --set cell=gruu --out x", "must be one of gru, lstm, rnn; did you mean 'gru'?"),
    ("train data --model gru4rec --set loss=bprmax --out x", "gbce; did you mean 'bpr_max'?"),
    ("train data --model gru4rec --epochs 0 --out x", "--epochs 0: must be a whole number, at least 1"),
    ("train data --model sasrec --set units=[100] --out x", "sasrec has no setting 'units'; its width is 'dim'"),
    ("tune data --model als --set factors=no --out x", "factors='no': must be a whole number, at least 1"),
    ("compare data --models slist --set slist.alpha=3 --out x", "alpha=3: must be a number from 0 to 1"),
    ("evaluate nofolder", "nofolder is not a run folder"),
    ("evaluate data", "it is a data set, train on it"),
    ("evaluate compared", "name one of its runs: compared/runs/item_knn"),
    ("evaluate run --k x", "--k x"),
    ("evaluate run --data nodata", "nodata: no such folder"),
    ("compare data --models popularity,itemknn --out x", "no model is called 'itemknn'; there are: item_knn"),
    ("compare nodata --models popularity --out x", "nodata: no such folder"),
    ("compare data --models item_knn --set item_knn.neighbors=5 --out x", "no setting 'neighbors'"),
    ("compare data --models item_knn --out data", "is neither empty nor a comparison"),
    ("compare data --models item_knn --out file/x", "file: Not a directory"),
    ("compare data --models item_knn --seed 3 --out compared", "seed: 0 there, 3 now"),
    ("compare data --models item_knn --runs norun --out x", "norun is not a run folder"),
    ("tune data --model item_kn --out x", "no model is called 'item_kn'"),
    ("tune data --model item_knn --metric map@20 --out x", "map@20: must be one of recall@k"),
    ("tune data --model item_knn --out data", "exists and holds no study"),
    ("tune data --model item_knn --set shrink=1 --out x", "item_knn has no setting 'shrink'"),
    ("presets nofolder", "nofolder: no such folder; name one with presets"),
    ("serve nofolder", "nofolder: no such folder"),
    ("serve saved/knn", "holds the versions of one model"),
    ("report nofolder", "nofolder: no results.json"),
    ("models grru4rec", "no model is called 'grru4rec'"),
    ("describe nofolder", "nofolder: no such folder"),
    ("blend run other --out x", "other: was made from data f0, but"),
    ("pipeline run other --out x", "other: was made from data f0, but"),
    ("describe run", "run: not a prepared data set, it has no dataset.json: it is a run"),
    (
        "prepare log.csv --items kind --out x",
        "--items must be the path of a table of items, and the",
    ),
    ("describe data/dataset.json", "is a part of a prepared data set: name its folder, data"),
    ("train data/train --model item_knn --out x", "is a part of a prepared data set: name its folder, data"),
    ("evaluate run --overwrite", "evaluate: has no option --overwrite, it is one of prepare, train"),
    ("evaluate run other", "evaluate: no argument 'other' is expected; see `tfrecsession evaluate --help`"),
    ("train data --model item_knn --epochs 3 --out x", "--epochs 3: item_knn does not train in epochs"),
    ("tune data --model item_knn --epochs 3 --out x", "--epochs 3: item_knn does not train in epochs"),
    ("prepare nolog.csv --out x", "nolog.csv"),
    ("describe file", "file: is a file: name a folder made by `tfrecsession prepare LOG --out FOLDER`"),
    ("prepare log.csv --event-type kind --out x", "prepare: has no option --event-type: is --event meant?"),
    (
        "train data --model gru4rec --context=gap --out x",
        "--context, it is one of prepare, recommend, audit; a setting",
    ),
    (
        "train data --model gru4rec --units 9 --out x",
        "has no option --units; a setting of a model is --set units=VALUE",
    ),
    ("describe data other", "describe: no argument 'other' is expected; see `tfrecsession describe --help`"),
    ("demo --out data", "is neither empty nor a demo"),
]
LIGHT = ["models", "models gru4rec", "describe data"]


@pytest.fixture(scope="module")
def outcomes(place):
    """Returns line -> exit code, lines of stderr and the heavy modules imported so far, all from one process."""
    before = sorted(place.rglob("*"))
    lines = [*LIGHT, *(line for line, _ in LINES)]
    words = {"input": json.dumps(lines), "capture_output": True, "text": True, "cwd": place}
    done = subprocess.run([sys.executable, "-c", RUN], **words)
    assert done.returncode == 0, done.stderr
    assert sorted(place.rglob("*")) == before
    return dict(zip(lines, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize(("line", "message"), LINES, ids=[line for line, _ in LINES])
def test_a_wrong_word_is_one_line_without_tensorflow(outcomes, line, message):
    code, errors, heavy = outcomes[line]
    assert code == 2 and errors[-1].startswith("error: ") and message in errors[-1], errors
    assert heavy == []


@pytest.mark.parametrize("line", LIGHT)
def test_commands_that_need_no_tensorflow(outcomes, line):
    assert outcomes[line] == [0, [], []]


def test_declared_models_equal_the_real_ones(shop):
    declared_models._declarations.cache_clear()
    read = declared_models._declared()  # not the models themselves, which stand in where reading fails
    assert list(read) == list(MODELS)
    for name, model in MODELS.items():
        cls = read[name]
        assert cls is not model and cls.__name__ == model.__name__
        assert inspect.getdoc(cls) == inspect.getdoc(model)
        assert settings.defaults_of_class(cls) == trs.training.settings_of(name)
        assert list(settings.defaults_of_class(cls)) == list(trs.training.settings_of(name))
        assert settings.space_of_class(cls) == trs.training.space_of(name)
        assert cls.learning == model.learning
        assert list(cls.log_defaults) == list(model.log_defaults)
        assert following(cls, shop.statistics) == following(model, shop.statistics)


@pytest.mark.parametrize("model", ["gru4rec", "hrnn", "sasrec", "item_knn", "vstan", "slist", "als"])
def test_values_are_refused_in_the_words_of_the_constructor(model, shop):
    checked = {name for cls in declared_models.declared(model).__mro__ for name, *_ in vars(cls).get("_checks", ())}
    assert len(checked) >= 5
    for name in checked & set(inspect.signature(MODELS[model].__init__).parameters):
        with pytest.raises(trs.InputError) as early:
            declared_models.settings_of(model, {name: "nonsense"})
        with pytest.raises(trs.InputError) as late:
            MODELS[model](shop.items, **{name: "nonsense"})
        assert str(early.value) == str(late.value)


@pytest.mark.parametrize("model", MODELS)
def test_defaults_and_searched_values_pass_the_checks(model):
    declared_models.settings_of(model)
    for name, ranges in trs.training.space_of(model).items():
        for each in ranges if isinstance(ranges, tuple) else (ranges,):
            for value in each.options if isinstance(each, Choice) else (each.low, each.high):
                declared_models.settings_of(model, {name: list(value) if isinstance(value, tuple) else value})


def test_a_source_that_cannot_be_read_is_imported(monkeypatch):
    def unreadable():
        raise NameError("search_space")

    declared_models.declared_models.cache_clear()
    monkeypatch.setattr(declared_models, "_declared", unreadable)
    assert declared_models.declared("gru4rec") is MODELS["gru4rec"]
    declared_models.declared_models.cache_clear()


def test_the_metrics_of_a_search_are_those_of_an_evaluation():
    assert {f"{name}@5" for name in study.METRICS} == set(trs.evaluation.metrics_of(np.ones(1, int), [5]))


@pytest.mark.parametrize("package", ["batches", "recommender", "training", "evaluation", "export"])
def test_lazy_names_are_what_their_package_says(package):
    module = getattr(trs, package)
    assert sorted(module.__all__) == sorted(module._NAMES) == sorted(dir(module))
    for name in module.__all__:
        assert getattr(module, name).__name__ == name or name == "Choice"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = module.nothing


def test_a_function_is_not_hidden_by_a_module_of_its_name():
    import tfrecsession.export.retrieval  # noqa: F401

    assert callable(trs.export.retrieval_index)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[Description]", ["Description"]),
        ("[title, brand]", ["title", "brand"]),
        ("[a,[b,2],true]", ["a", ["b", 2], True]),
        ("(a,b)", ["a", "b"]),
        ("['a b',c d]", ["a b", "c d"]),
        ("['a,b',c]", ["a,b", "c"]),
        ("[100]", [100]),
        ("[]", []),
        ("a,b", "a,b"),
        ("bpr_max", "bpr_max"),
        ("False", False),
        ("None", None),
        ("1e-3", 1e-3),
        ("", ""),
    ],
)
def test_values_of_settings(text, value):
    assert values.settings([f"key={text}"]) == {"key": value}


@pytest.mark.parametrize("text", ["[a", "a]", "[a,b"])
def test_half_a_list_is_refused(text):
    with pytest.raises(trs.InputError, match="must be a list in brackets"):
        values.settings([f"key={text}"])
