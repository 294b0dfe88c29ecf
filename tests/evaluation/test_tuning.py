import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession import InputError, evaluation, presets, training
from tfrecsession.evaluation import tune, tuning
from tfrecsession.evaluation.study import Study
from tfrecsession.recommender.search_space import Choice, Float, Int, walk

SHOP = "synthetic:items=100,sessions=600,seed=3"
QUICK = {"epochs": 1, "rows": 16, "steps": 8, "negatives": 32, "units": [8]}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tuning") / "data"
    trs.prepare(SHOP, folder, validation_span="1d")
    return trs.load(folder)


def without_times(trials):
    """Returns what must be equal however often the process was started."""
    return [{name: value for name, value in trial.items() if name != "seconds"} for trial in trials]


def hill_value(model, *_, **options):
    """Replaces `evaluate` by a fast function with one maximum over the settings of item-kNN."""
    settings = model.get_config()
    value = 1 - (settings["alpha"] - 0.7) ** 2 - abs(settings["shrinkage"] - 60) / 200
    return evaluation.Evaluation({"mrr@20": value, "recall@5": value}, 1)


@pytest.fixture
def hill(monkeypatch):
    monkeypatch.setattr(tuning, "evaluate", hill_value)
    monkeypatch.setattr("gc.collect", lambda: None)  # half a second per call, without use for small models


@pytest.fixture(scope="module")
def in_one_go(data, tmp_path_factory):
    """Runs twelve trials on the hill: ten random ones, two by TPE."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "evaluate", hill_value)
        patch.setattr("gc.collect", lambda: None)
        return tune(data, "item_knn", tmp_path_factory.mktemp("one") / "go", trials=12)


def test_the_best_is_a_preset_that_repeats_what_was_measured(data, tmp_path):
    out = tmp_path / "s"
    found = tune(data, "item_knn", out, trials=3)
    kept = presets.read(str(out / "best.json"), "item_knn")
    assert kept == json.loads(json.dumps(found.best))
    assert kept["measured"]["data"] == data.fingerprint and kept["measured"]["split"] == "validation"
    assert kept["measured"]["trials"] == {"complete": 3, "pruned": 0, "failed": 0}
    model = training.build("item_knn", data.items, training.settings_of("item_knn", kept["settings"]))
    model.fit(data.train)
    scored = evaluation.evaluate(model, data.validation, [20])
    assert scored.metrics["mrr@20"] == kept["measured"]["mrr@20"] and scored.events == kept["measured"]["events"]
    assert kept["measured"]["mrr@20"] == max(trial["value"] for trial in found.trials)
    assert [path.name for path in sorted(out.iterdir())] == ["best.json", "study.db"]


def test_the_first_trial_has_the_defaults_and_all_are_in_the_space(data, in_one_go):
    found = in_one_go
    defaults, space = training.settings_of("item_knn", data=data), training.space_of("item_knn")
    assert found.trials[0]["settings"] == {name: defaults[name] for name in found.trials[0]["settings"]}
    assert set(found.trials[0]["settings"]) == {"neighbours", "shrinkage", "alpha", "itself", "history", "window"}
    assert [trial["trial"] for trial in found.trials] == list(range(1, 13))
    for trial in found.trials:
        assert all(space[name].holds(value) for name, value in trial["settings"].items())
        assert ("window" in trial["settings"]) == (trial["settings"]["history"] != "last")
    assert len({json.dumps(trial["settings"]) for trial in found.trials}) == 12


def test_a_search_in_several_calls_equals_one_call(data, in_one_go, tmp_path, hill):
    out = tmp_path / "pieces"
    for trials in (1, 11, 12):
        found = tune(data, "item_knn", out, trials=trials)
        assert len(found.trials) == trials
    assert without_times(found.trials) == without_times(in_one_go.trials) and found.best == in_one_go.best
    # there are enough trials: nothing runs, nothing changes
    again = tune(data, "item_knn", out, trials=3)
    assert again == found and json.loads((out / "best.json").read_text()) == found.best


KILLED = """
import os, signal, sys
import tfrecsession as trs
from tfrecsession.evaluation import tuning

def evaluate(model, *args, first=[True], **options):
    if not first.pop():
        os.kill(os.getpid(), signal.SIGKILL)
    first.append(False)
    return trs.evaluation.evaluate(model, *args, **options)

tuning.evaluate = evaluate
trs.evaluation.tune(trs.load(sys.argv[1]), "item_knn", sys.argv[2], trials=4)
"""


@pytest.mark.slow
def test_a_killed_search_resumes(data, tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED, data.path, tmp_path / "k"])
    assert killed.returncode == -signal.SIGKILL  # in its second trial
    assert json.loads((tmp_path / "k" / "best.json").read_text())["measured"]["trials"]["complete"] == 1
    found = tune(data, "item_knn", tmp_path / "k", trials=3)
    assert without_times(found.trials) == without_times(tune(data, "item_knn", tmp_path / "one", trials=3).trials)


class Killed(BaseException):
    """Simulates the kill of a process."""


def killed_tune(monkeypatch, data, out, **options):
    """Simulates a kill of the process during its next trial: the study then holds a running trial."""
    import optuna

    tell, attribute, evaluate = optuna.Study.tell, optuna.Trial.set_user_attr, tuning.evaluate

    def kill(*args, **options):
        monkeypatch.setattr(optuna.Study, "tell", lambda *args, **kwargs: None)
        monkeypatch.setattr(optuna.Trial, "set_user_attr", lambda *args: None)
        raise Killed

    monkeypatch.setattr(tuning, "evaluate", kill)
    with pytest.raises(Killed):
        tune(data, "item_knn", out, **options)
    monkeypatch.setattr(optuna.Study, "tell", tell)
    monkeypatch.setattr(optuna.Trial, "set_user_attr", attribute)
    monkeypatch.setattr(tuning, "evaluate", evaluate)


def test_a_first_trial_that_was_killed_is_run_again(data, in_one_go, tmp_path, monkeypatch, hill):
    killed_tune(monkeypatch, data, tmp_path / "s", trials=2)
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["study.db"]
    assert without_times(tune(data, "item_knn", tmp_path / "s", trials=2).trials) == without_times(in_one_go.trials[:2])


def test_a_trial_that_kills_its_process_twice_has_failed(data, tmp_path, monkeypatch, hill):
    tune(data, "item_knn", tmp_path / "s", trials=1)
    killed_tune(monkeypatch, data, tmp_path / "s", trials=3)
    killed_tune(monkeypatch, data, tmp_path / "s", trials=3)
    found = tune(data, "item_knn", tmp_path / "s", trials=3)
    assert [trial["state"] for trial in found.trials] == ["complete", "failed", "complete"]
    assert found.trials[1]["error"] == "its process was killed, twice"
    assert found.trials[1]["settings"] != found.trials[2]["settings"]


def test_ctrl_c_is_not_the_trials_fault(data, in_one_go, tmp_path, monkeypatch, hill):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tuning, "evaluate", interrupted)
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                tune(data, "item_knn", tmp_path / "s", trials=2)
    found = tune(data, "item_knn", tmp_path / "s", trials=2)
    assert without_times(found.trials) == without_times(in_one_go.trials[:2])


def test_a_trial_that_fails_does_not_end_the_search(data, tmp_path, monkeypatch, hill):
    def fit(*args, fit=training.fit, count=[0], **kwargs):  # noqa: B006
        count[0] += 1
        if count[0] in (2, 3):
            raise InputError("the loss is nan") if count[0] == 2 else MemoryError("no room\nat all")
        return fit(*args, **kwargs)

    monkeypatch.setattr(training, "fit", fit)
    found = tune(data, "item_knn", tmp_path / "s", trials=4)
    assert [trial["state"] for trial in found.trials] == ["complete", "failed", "failed", "complete"]
    assert [trial.get("error") for trial in found.trials] == [None, "the loss is nan", "MemoryError: no room", None]
    assert found.best["measured"]["trials"] == {"complete": 2, "pruned": 0, "failed": 2}


def test_no_trial_completes(data, tmp_path):
    inf = {"learning_rate": 1e38, **QUICK}
    with pytest.raises(InputError, match="none of the 1 trials has completed; the last: the loss is nan"):
        tune(data, "gru4rec", tmp_path / "s", trials=1, settings=inf)
    assert not (tmp_path / "s" / "best.json").exists()


@pytest.mark.slow
def test_gru4rec_reports_its_epochs_and_train_repeats_the_best(data, tmp_path):
    seen = []
    options = {"settings": {**QUICK, "epochs": 2}, "seed": 5, "metric": "recall@10"}
    found = tune(data, "gru4rec", tmp_path / "a", trials=2, **options, progress=lambda doing, _: seen.append(doing))
    assert seen == [
        "trial 1 of 2",
        "trial 1 of 2, epoch 1 of 2",
        "trial 1 of 2, epoch 2 of 2",
        "trial 2 of 2",
        "trial 2 of 2, epoch 1 of 2",
        "trial 2 of 2, epoch 2 of 2",
        "done",
    ]
    assert not set(options["settings"]) & set(found.trials[1]["settings"])  # fixed settings are not searched
    # training with the settings of the second trial gives the same metrics
    chosen = {**found.best["settings"], **found.trials[1]["settings"]}
    model = training.train(data, "gru4rec", tmp_path / "run", chosen, seed=5, k=(10, 20))
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())["metrics"]
    assert metrics["recall@10"] == found.trials[1]["value"]
    exact = evaluation.evaluate(model, data.validation, [10]).metrics
    assert exact["recall@10"] == pytest.approx(metrics["recall@10"], abs=1e-6)
    assert presets.read(str(tmp_path / "a" / "best.json"), "gru4rec")["settings"] == found.best["settings"]


def test_the_search_starts_at_the_preset(data, tmp_path, hill):
    start = {"shrinkage": 300.0, "history": "mean", "window": 3}
    found = tune(data, "item_knn", tmp_path / "s", trials=1, preset=start, settings={"alpha": 0.3})
    expected = {  # 300: beyond
        "neighbours": 100,
        "shrinkage": 300.0,
        "itself": 0.0,
        "history": "mean",
        "window": 3,
    }
    assert found.trials[0]["settings"] == expected
    expected |= dict.fromkeys(("event_weights", "weight", "session_decay", "target_events"))
    assert found.best["settings"] == {**expected, "alpha": 0.3}


def test_a_trial_behind_the_median_is_pruned(tmp_path):
    """Uses the setting as metric at each epoch: after five trials, those below the median are pruned."""
    space = {"x": Float(0.0, 1.0)}
    epochs = []

    def score(drawn, report):
        for epoch in range(4):
            epochs.append(epoch)
            report(drawn["x"], epoch)
        return drawn["x"]

    with Study.open(tmp_path / "s", {"seed": 1}, patience=2) as study:
        for _ in range(12):
            before = len(epochs)
            study.run(lambda suggest: walk(space, {}, suggest), score, {"x": 0.5})
            last = study.trials()[-1]
            assert len(epochs) - before == (3 if last["state"] == "pruned" else 4)
            assert last["value"] == last["settings"]["x"]
        complete = [trial["value"] for trial in study.trials()[:5]]
        assert [trial["state"] for trial in study.trials()[:5]] == ["complete"] * 5
        for trial in study.trials()[5:]:
            behind = trial["value"] < np.median(complete)
            assert trial["state"] == ("pruned" if behind else "complete")
            complete += [] if behind else [trial["value"]]
        assert 5 < len(complete) < 12


def test_lists_none_and_whole_numbers_are_restored(tmp_path):
    space = {"units": Choice([8], [8, 8]), "decay": Choice(None, "linear"), "rows": Int(1, 4, log=True)}
    with Study.open(tmp_path / "s", {"seed": 0}, patience=0) as study:
        for _ in range(8):
            study.run(lambda suggest: walk(space, {}, suggest), lambda drawn, _: drawn["rows"], {"units": [8]})
        trials = study.trials()
    assert trials[0]["settings"]["units"] == [8]
    for trial in trials:
        assert list(trial["settings"]) == ["units", "decay", "rows"]
        assert all(space[name].holds(value) for name, value in trial["settings"].items())
    assert len({str(trial["settings"]) for trial in trials}) > 3


def test_a_folder_of_another_search_is_refused(data, tmp_path, hill):
    tune(data, "item_knn", tmp_path / "s", trials=1)
    other = trs.synthetic_sessions(items=100, sessions=600, seed=4, validation_span="1d")
    refused = {
        rf"data {data.fingerprint}, and this one has {other.fingerprint}": (other, "item_knn", {}),
        "model item_knn, and this one has gru4rec": (data, "gru4rec", {"settings": QUICK}),
        "metric mrr@20, and this one has recall@5": (data, "item_knn", {"metric": "recall@5"}),
        "seed 0, and this one has 7": (data, "item_knn", {"seed": 7}),
        "start {'window': 10}, and this one has {'window': 5}": (data, "item_knn", {"settings": {"window": 5}}),
    }
    for message, (on, model, options) in refused.items():
        with pytest.raises(InputError, match=message):
            tune(on, model, tmp_path / "s", trials=1, **options)


def test_a_folder_in_use_by_another_process_is_refused(data, tmp_path):
    with (
        Study.open(tmp_path / "s", {"seed": 0}, patience=0),
        pytest.raises(InputError, match="another process is"),
    ):
        tune(data, "item_knn", tmp_path / "s", trials=1)


def test_a_folder_without_a_study_is_refused_and_unchanged(data, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "study.db").write_text("not a data base, though it is long enough to be taken for one" * 99)
    for name, message in {
        "mine": "holds no study",
        "mine/letter.txt": "holds no study",
        "broken": "not a study",
    }.items():
        with pytest.raises(InputError, match=message):
            tune(data, "item_knn", tmp_path / name, trials=1)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "mrr"}, "metric='mrr': must be one of recall@k, mrr@k, ndcg@k"),
        ({"metric": "auc@20"}, "metric='auc@20': must be one of recall@k"),
        ({"metric": "mrr@0"}, "metric='mrr@0'.*k from 1 to the catalogue's"),
        ({"metric": "mrr@5000"}, "k from 1 to the catalogue's"),
        ({"metric": "mrr@-1"}, "k from 1"),
        ({"metric": "mrr@²"}, "k from 1"),
        ({"trials": 0}, "trials=0"),
        ({"settings": {"neighbors": 3}}, "no setting 'neighbors'; its number of neighbours is 'neighbours'"),
        ({"settings": {"history": "first"}}, "history='first': must be one of last, mean, same"),
        ({"preset": {"alpha": None}}, "alpha=None: .*fix it with settings={'alpha': None}"),
        (
            {"settings": {"neighbours": 10, "shrinkage": 1.0, "alpha": 0.5, "itself": 0.0, "history": "last"}},
            "item_knn has no setting to search that is not fixed",
        ),
    ],
)
def test_bad_input_is_refused_before_the_folder_exists(data, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        tune(data, "item_knn", tmp_path / "s", **{"trials": 1, **options})
    assert not list(tmp_path.iterdir())


def test_a_model_with_nothing_to_tune_and_an_unknown_model(data, tmp_path):
    with pytest.raises(InputError, match="popularity has no setting to search"):
        tune(data, "popularity", tmp_path / "s")
    with pytest.raises(InputError, match="'item_kn'; there are: item_knn"):
        tune(data, "item_kn", tmp_path / "s")


def test_no_validation_split(tmp_path):
    data = trs.synthetic_sessions(items=50, sessions=300, seed=1, validation_span="0d")
    with pytest.raises(InputError, match="validation_span='1d', or a share such as 10%"):
        tune(data, "item_knn", tmp_path / "s")
    assert not list(tmp_path.iterdir())


def test_no_optuna(data, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"pip install 'tfrecsession\[tune\]'"):
        tune(data, "item_knn", tmp_path / "s")
    assert not list(tmp_path.iterdir())


def test_after_the_timeout_no_trial_starts(data, tmp_path, hill):
    assert len(tune(data, "item_knn", tmp_path / "s", trials=5, timeout=0).trials) == 1
    assert len(tune(data, "item_knn", tmp_path / "s", trials=2, timeout=3600).trials) == 2


def test_a_folder_with_an_odd_name(data, tmp_path, hill):
    out = tmp_path / "100% a?b#c"
    assert len(tune(data, "item_knn", out, trials=1).trials) == 1
    assert sorted(os.listdir(out)) == ["best.json", "study.db"]
