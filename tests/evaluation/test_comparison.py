import json
from pathlib import Path

import numpy as np
import pytest

import tfrecsession as trs
from tfrecsession import InputError, evaluation, training
from tfrecsession.evaluation import compared_model, comparison, cost
from tfrecsession.evaluation.best_model_tests import against_the_best
from tfrecsession.evaluation.protocol import filters

MODELS = ["popularity", "item_knn"]
RUN = ("history.json", "metrics.json", "model.keras", "run.json")


@pytest.fixture(scope="module")
def data():
    return trs.synthetic_sessions(items=60, sessions=500, seed=3)


@pytest.fixture(scope="module")
def other():
    return trs.synthetic_sessions(items=60, sessions=500, seed=4)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """Returns a comparison: its folder and its results."""
    out = tmp_path_factory.mktemp("comparison") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cost, "HISTORIES", 12)
        return out, evaluation.compare(data, MODELS, out, k=(5, 10))


@pytest.fixture
def done(monkeypatch):
    """Records the models that a test fits and scores; the page is not drawn, as it has its own tests."""
    seen = {"fitted": [], "scored": []}
    train, score = training.train, compared_model._score

    def train_seen(data, model, out, *args, **kwargs):
        seen["fitted"].append(Path(out).name)
        return train(data, model, out, *args, **kwargs)

    def score_seen(entry, *args):
        seen["scored"].append(entry.label)
        return score(entry, *args)

    monkeypatch.setattr(training, "train", train_seen)
    monkeypatch.setattr(compared_model, "_score", score_seen)
    monkeypatch.setattr(cost, "HISTORIES", 3)
    monkeypatch.setattr(comparison, "write_report", lambda results, path: None)
    return seen


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def scores(results):
    return {row["model"]: (row["metrics"], row["intervals"], row["slices"]) for row in results["models"]}


def test_a_row_equals_evaluate(data, finished):
    _, results = finished
    model = trs.models.ItemKNN.for_data(data)
    model.fit(data.train)
    alone = evaluation.evaluate(model, data.test, (5, 10), beyond_accuracy=True, earlier=(data.train, data.validation))
    row = results["models"][1]
    assert row["model"] == row["kind"] == "item_knn" and row["data"] == results["data"] == data.fingerprint
    assert row["events"] == alone.events
    assert row["metrics"] == pytest.approx(alone.metrics)
    assert row["intervals"]["mrr@10"] == pytest.approx(alone.intervals["mrr@10"])
    assert row["slices"]["position"]["2"]["recall@10"] == pytest.approx(alone.slices["position"]["2"]["recall@10"])
    assert row["settings"] == training.settings_of("item_knn", data=data)
    assert row["defaults"] == training.log_defaults("item_knn", data)


def test_costs_are_measured(finished):
    out, results = finished
    for row in results["models"]:
        assert row["seconds"] > 0 and row["train_seconds"] > 0
        spent = row["cost"]
        assert 0 < spent["latency_ms"]["p50"] <= spent["latency_ms"]["p99"] and spent["latency_ms"]["k"] == 10
        assert spent["events_per_second"] == pytest.approx(row["events"] / row["seconds"], rel=0.2)
        assert spent["disk_bytes"] == (out / row["run"] / "model.keras").stat().st_size
        assert row["machine"]["cores"] >= 1 and row["versions"]["keras"]


def test_the_content_of_results_json(finished, data):
    out, results = finished
    kept = json.loads((out / "results.json").read_text())
    assert kept == json.loads(json.dumps(results))
    assert {"data", "seed", "models", "bounds", "pairs", "protocol", "dataset", "versions"} <= set(kept)
    assert [row["model"] for row in kept["models"]] == MODELS
    assert [row["model"] for row in kept["bounds"]] == ["chance", "ceiling"]
    assert kept["protocol"]["events"] == data.test.scored_events and kept["protocol"]["k"] == [5, 10]
    assert kept["dataset"]["splits"]["test"]["sessions"] == len(data.test)
    assert files(out) == sorted(
        ["comparison.json", "results.json", "report.html"]
        + [f"runs/{name}/{file}" for name in MODELS for file in RUN]
        + [f"scores/{name}/{file}" for name in MODELS for file in ("ranks.npz", "result.json")]
    )


def test_every_model_is_tested_against_the_best_and_corrected(data):
    models = {"popularity": trs.models.Popularity, "item_knn": trs.models.ItemKNN}
    scored = {}
    for name, model in models.items():
        built = model(data.items)
        built.fit(data.train)
        scored[name] = evaluation.evaluate(built, data.test, (10,))
    scored["twin"] = scored["item_knn"]
    pairs = against_the_best(scored, data.test, 10)
    assert [(pair["metric"], pair["best"], pair["model"]) for pair in pairs] == [
        (f"{metric}@10", "item_knn", model) for metric in ("recall", "mrr", "ndcg") for model in ("popularity", "twin")
    ]
    worse, twin = pairs[2:4]
    alone = evaluation.paired(scored["popularity"], scored["item_knn"], data.test, "mrr@10")
    assert worse["difference"] == alone.difference < 0 and worse["interval"] == alone.interval
    assert worse["p"] == alone.p_value and worse["p_holm"] == pytest.approx(min(1, 2 * alone.p_value))
    assert twin["difference"] == 0 and twin["p_holm"] == 1


def test_shared_memory_is_not_charged_to_the_first_model(data, tmp_path, done):
    same = ["first=popularity", "second=popularity", "third=popularity"]
    rows = evaluation.compare(data, same, tmp_path / "out", k=(5,))["models"]
    grown = [row["cost"]["evaluate_memory_bytes"] for row in rows]
    if None in grown:
        pytest.skip("this system does not report the peak memory of a process")
    assert max(grown) - min(grown) < 100e6  # TensorFlow's start alone takes several times that


def test_one_model_has_no_significance_tests(data, tmp_path, done):
    assert evaluation.compare(data, ["popularity"], tmp_path / "out", k=(5,))["pairs"] == []


def test_the_same_comparison_again_reuses_everything(data, finished, done):
    out, results = finished
    again = evaluation.compare(data, MODELS, out, k=(5, 10))
    assert done == {"fitted": [], "scored": []}
    assert again["models"] == results["models"] and again["pairs"] == results["pairs"]


@pytest.mark.slow
def test_only_what_is_new_is_done(data, tmp_path, done):
    out = tmp_path / "out"
    evaluation.compare(data, MODELS, out, k=(5,))
    done["fitted"].clear(), done["scored"].clear()
    more = [*MODELS, "few=item_knn"]
    results = evaluation.compare(data, more, out, k=(5,), settings={"few": {"neighbours": 3}})
    assert done == {"fitted": ["few"], "scored": ["few"]}
    assert results["models"][2]["settings"]["neighbours"] == 3
    done["fitted"].clear(), done["scored"].clear()
    evaluation.compare(data, MODELS, out, k=(5, 20))
    assert done == {"fitted": [], "scored": MODELS}  # the models are as they were


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "differs"),
    [
        ({"settings": {"item_knn": {"neighbours": 3}}}, "neighbours: 100 there, 3 now"),
        ({"seed": 1}, "seed: 0 there, 1 now"),
        ({"k": (10,)}, r"k: \[5\] there, \[10\] now"),
        ({"models": ["item_knn=popularity"]}, "model: 'item_knn' there, 'popularity' now"),
    ],
)
def test_nothing_is_replaced_unless_overwrite_is_set(data, tmp_path, done, options, differs):
    out = tmp_path / "out"
    models = options.get("models", ["item_knn"])
    evaluation.compare(data, ["item_knn"], out, k=(5,))
    before = {name: (out / name).read_bytes() for name in files(out)}
    options = {"k": (5,), **{name: value for name, value in options.items() if name != "models"}}
    with pytest.raises(InputError, match=differs):
        evaluation.compare(data, models, out, **options)
    assert {name: (out / name).read_bytes() for name in files(out)} == before
    results = evaluation.compare(data, models, out, overwrite=True, **options)
    assert results == json.loads(json.dumps(results)) and (out / "runs" / "item_knn").exists()


def test_a_run_that_train_made_is_kept(data, tmp_path, done):
    out = tmp_path / "out"
    evaluation.compare(data, ["popularity"], out, k=(5,))
    settings = training.settings_of("item_knn", {"neighbours": 7})
    training.train(data, "item_knn", out / "runs" / "item_knn", settings)
    with pytest.raises(InputError, match="neighbours: 7 there, 100 now"):
        evaluation.compare(data, MODELS, out, k=(5,))
    assert training.open_run(out / "runs" / "item_knn").info["settings"] == settings


@pytest.mark.slow
@pytest.mark.parametrize("where", ["fit", "score"])
def test_an_interrupted_comparison_resumes(data, finished, tmp_path, done, monkeypatch, where):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        latency, fit = cost.latency, training.run.fit

        def interrupted(model, *args, **kwargs):
            if isinstance(model, trs.models.ItemKNN):
                raise KeyboardInterrupt
            return (fit if where == "fit" else latency)(model, *args, **kwargs)

        patch.setattr(*((training.run, "fit") if where == "fit" else (cost, "latency")), interrupted)
        with pytest.raises(KeyboardInterrupt):
            evaluation.compare(data, MODELS, out, k=(5, 10))
    assert {"popularity"} == {path.name for path in (out / "scores").iterdir()}
    assert not list(out.rglob("*partial*")) and not (out / "results.json").exists()
    done["fitted"].clear(), done["scored"].clear()
    results = evaluation.compare(data, MODELS, out, k=(5, 10))
    assert done == {"fitted": ["item_knn"] if where == "fit" else [], "scored": ["item_knn"]}
    assert scores(results) == scores(finished[1])


def test_no_folder_is_left_if_nothing_was_finished(data, tmp_path):
    with pytest.raises(InputError, match="history='all'"):
        evaluation.compare(data, ["item_knn"], tmp_path / "out", settings={"item_knn": {"history": "all"}})
    assert not list(tmp_path.iterdir())


def test_other_data_is_refused_by_both_names(data, other, finished, tmp_path, done):
    out, _ = finished
    before = files(out)
    with pytest.raises(InputError) as error:
        evaluation.compare(other, MODELS, out)
    assert data.fingerprint in str(error.value) and other.fingerprint in str(error.value)
    assert files(out) == before


def test_overwrite_starts_again(data, other, tmp_path, done):
    out = tmp_path / "out"
    evaluation.compare(data, MODELS, out, k=(5,))
    results = evaluation.compare(other, ["popularity"], out, k=(5,), overwrite=True)
    assert results["data"] == other.fingerprint and done["fitted"] == [*MODELS, "popularity"]
    assert {path.name for path in (out / "runs").iterdir()} == {"popularity"}


def test_other_folders_are_refused_and_unchanged(data, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "todo.txt").write_text("keep")
    (tmp_path / "file").write_text("keep")
    for name in ("notes", "file"):
        with pytest.raises(InputError, match="choose another name"):
            evaluation.compare(data, MODELS, tmp_path / name, overwrite=True)
    assert files(tmp_path) == ["file", "notes/todo.txt"]


@pytest.mark.slow
def test_finished_runs_beside_models(data, other, tmp_path, done):
    settings = training.settings_of("item_knn", {"neighbours": 5})
    training.train(data, "item_knn", tmp_path / "few", settings, seed=7)
    training.train(other, "item_knn", tmp_path / "foreign", settings)
    done["fitted"].clear()
    results = evaluation.compare(
        data, ["popularity"], tmp_path / "out", runs=[tmp_path / "few", f"again={tmp_path / 'few'}"], k=(5,)
    )
    assert [row["model"] for row in results["models"]] == ["popularity", "few", "again"]
    assert results["models"][1]["seed"] == 7 and results["models"][1]["settings"]["neighbours"] == 5
    assert results["models"][1]["metrics"] == results["models"][2]["metrics"]
    assert done["fitted"] == ["popularity"]
    with pytest.raises(InputError) as error:
        evaluation.compare(data, [], tmp_path / "no", runs=[tmp_path / "few", tmp_path / "foreign"])
    assert data.fingerprint in str(error.value) and other.fingerprint in str(error.value)
    assert not (tmp_path / "no").exists()


@pytest.mark.slow
def test_a_run_that_was_trained_again_is_scored_again(data, tmp_path, done):
    for neighbours in (2, 50):
        settings = training.settings_of("item_knn", {"neighbours": neighbours})
        training.train(data, "item_knn", tmp_path / "run", settings, overwrite=True)
        results = evaluation.compare(data, [], tmp_path / "out", runs=[tmp_path / "run"], k=(5,))
        assert results["models"][0]["settings"]["neighbours"] == neighbours
    assert done["scored"] == ["run", "run"]


@pytest.mark.slow
def test_one_model_in_several_rows(data, tmp_path, done):
    results = evaluation.compare(
        data, ["item_knn", "last5=item_knn"], tmp_path / "out", settings={"last5": {"history": "mean", "window": 5}}
    )
    assert [(row["model"], row["kind"]) for row in results["models"]] == [
        ("item_knn", "item_knn"),
        ("last5", "item_knn"),
    ]
    assert results["models"][0]["metrics"] != results["models"][1]["metrics"]


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        (["popularty"], {}, "'popularty'; there are: popularity"),
        ([], {}, "nothing to compare"),
        (["popularity", "popularity"], {}, "twice"),
        (["a/b=popularity"], {}, "label 'a/b'"),
        (["popularity"], {"settings": {"item_knn": {}}}, "'item_knn', which is not compared"),
        (["item_knn"], {"settings": {"item_knn": {"depth": 1}}}, "no setting 'depth'"),
        (["popularity"], {"k": (0,)}, "k=0"),
        (["popularity"], {"k": (5000,)}, "k=5000"),
        (["popularity"], {"k": ()}, "k"),
        ([], {"runs": ["nowhere"]}, "nowhere is not a run"),
    ],
)
def test_invalid_input(data, tmp_path, models, options, message):
    with pytest.raises(InputError, match=message):
        evaluation.compare(data, models, tmp_path / "out", **options)
    assert not list(tmp_path.iterdir())


def test_progress_goes_from_waiting_to_done(data, tmp_path, done):
    calls = []
    settings = {"gru4rec": {"units": [4], "epochs": 2, "rows": 16, "steps": 8, "negatives": 8}}
    evaluation.compare(
        data, ["gru4rec"], tmp_path / "out", settings=settings, k=(5,), progress=lambda *call: calls.append(call)
    )
    stages = list(dict.fromkeys(stage for _, stage, _ in calls))
    assert stages == ["waiting", "fitting", "evaluating", "timing", "done"]
    for stage in ("fitting", "evaluating"):
        shares = [done for _, called, done in calls if called == stage]
        assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1


def test_latency_uses_cut_sessions_one_by_one(data):
    class Model:
        calls = []

        def recommend(self, histories, k):
            self.calls.append(histories)

    found = cost.latency(Model(), data.test, 7, histories=20)
    assert found["histories"] == 20 and found["k"] == 7 and 0 < found["p50"] <= found["p99"]
    sessions = [data.items.decode(data.test[n]).tolist() for n in range(len(data.test))]
    for (history,) in Model.calls:
        assert any(history == session[: len(history)] and 0 < len(history) < len(session) for session in sessions)


def test_size_on_disk(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_bytes(b"12345")
    (tmp_path / "two").write_bytes(b"123")
    assert cost.size_on_disk(tmp_path) == 8 and cost.size_on_disk(tmp_path / "two") == 3


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"gap": "30m"}, "idle for 30 minutes"),
        ({"drop_repeats": True}, "Consecutive events on one item were reduced to one."),
        (
            {"min_item_support": 5, "min_session_length": 2},
            "Items with fewer than 5 events and sessions shorter than 2 were dropped repeatedly, until none remained.",
        ),
        ({"min_item_support": 1, "min_session_length": 2}, "Sessions shorter than 2 were dropped."),
        ({"min_item_support": 5, "min_session_length": 2, "one_pass": True}, "in one pass"),
        ({"test_span": "1d", "split_by": "end"}, "that end in the last day of"),
        ({"test_span": "10%"}, "that start in the last 10% of"),
        ({"validation_span": "12h"}, "The validation split is the 12 hours before"),
        ({"test_input": "theirs.csv"}, "The test split was given (theirs.csv)"),
        ({"unknown_items": "keep"}, "kept in test"),
    ],
)
def test_filters_in_words(options, expected):
    assert any(expected in sentence for sentence in filters({"options": options}))


def test_ranks_are_kept(data, finished):
    out, results = finished
    with np.load(out / "scores" / "item_knn" / "ranks.npz") as kept:
        assert np.mean(kept["ranks"] <= 5) == pytest.approx(results["models"][1]["metrics"]["recall@5"])
        assert len(kept["event"]) == data.test.scored_events
