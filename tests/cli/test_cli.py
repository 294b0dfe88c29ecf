"""The commands of the README, called with a shell's arguments."""

import json
import re

import pytest

import tfrecsession as trs
from tfrecsession.cli import main
from tfrecsession.cli.declared_models import declared
from tfrecsession.cli.list_models import meanings_of

QUICK = ["--set", "units=[8]", "--set", "rows=16", "--set", "steps=8", "--set", "negatives=32", "--epochs", "1"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with data, a run and an export, made by the commands themselves."""
    place = tmp_path_factory.mktemp("cli")
    assert main(["prepare", "synthetic:items=100,sessions=800,seed=2", "--out", f"{place}/data"]) == 0
    assert main(["train", f"{place}/data", "--model", "gru4rec", "--out", f"{place}/run", "--seed", "1", *QUICK]) == 0
    assert main(["export", f"{place}/run", "--out", f"{place}/saved/gru4rec", "--k", "7", "--exclude-seen"]) == 0
    return place


def read(path):
    return json.loads(path.read_text())


def test_describe(place, tmp_path, capsys):
    assert main(["describe", f"{place}/data", "--json", f"{tmp_path}/d.json"]) == 0
    assert "sessions" in capsys.readouterr().out
    assert read(tmp_path / "d.json")


def test_evaluate(place, tmp_path, capsys):
    assert main(["evaluate", f"{place}/run", "--k", "5,10", "--json", f"{tmp_path}/m.json"]) == 0
    result = read(tmp_path / "m.json")
    assert result["model"] == "gru4rec" and result["events"] > 0 and result["seconds"] > 0
    assert result["data"] == read(place / "data" / "dataset.json")["fingerprint"]
    ranked, listed = ("recall", "mrr", "ndcg"), ("precision", "map", "coverage", "popularity", "gini", "novelty")
    listed += ("popularity_lift", "diversity", "miscalibration")
    assert set(result["metrics"]) == {f"{metric}@{k}" for metric in (*ranked, *listed) for k in (5, 10)}
    low, high = result["intervals"]["recall@10"]
    assert low <= result["metrics"]["recall@10"] <= high and result["sessions"] > 0
    assert result["slices"]["position"]["2"]["events"] > 0
    printed = capsys.readouterr().out
    for shown in ("recall@10", f"[{low:.3f}, {high:.3f}]", "coverage@5", "in session", "returning", "history length"):
        assert shown in printed


def test_evaluate_without_slices(place, tmp_path, capsys):
    assert main(["evaluate", f"{place}/run", "--k", "3", "--no-slices", "--json", f"{tmp_path}/m.json"]) == 0
    assert read(tmp_path / "m.json")["slices"] == {} and "position" not in capsys.readouterr().out


def test_json_to_standard_output_is_the_only_output(place, capsys):
    assert main(["evaluate", f"{place}/run", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["recall@20"]


def test_recommend_from_the_export(place, tmp_path):
    assert (place / "saved" / "gru4rec" / "1" / "saved_model.pb").exists()
    words = ["recommend", f"{place}/saved/gru4rec", "item-1", "item-2", "--k", "3", "--json", f"{tmp_path}/r.json"]
    assert main(words) == 0
    answer = read(tmp_path / "r.json")
    assert len(answer["items"]) == len(answer["scores"]) == 3
    assert not {"item-1", "item-2"} & set(answer["items"])


@pytest.mark.slow
def test_a_second_version_is_written_beside_the_first(place, tmp_path, capsys):
    export = ["export", f"{place}/run", "--out", f"{tmp_path}/gru4rec"]
    assert main([*export, "--json", f"{tmp_path}/one.json"]) == 0
    other = ["--version", "2", "--index", "exact-int8", "--k", "5", "--json", f"{tmp_path}/other.json"]
    assert main([*export, *other]) == 0
    assert {path.name for path in (tmp_path / "gru4rec").iterdir()} == {"1", "2"}
    one, other = (read(tmp_path / f"{name}.json") for name in ("one", "other"))
    assert one["index"] == "exact" and "recall" not in one
    assert other["index"] == "exact-int8" and 0.9 < other["recall"] <= 1
    recall = f"recall@5 {other['recall']:.4f} against the exact answer, on {other['recall_measured_on']}"
    assert other["recall_measured_on"].endswith(" histories") and recall in capsys.readouterr().out.replace("\n", " ")


def test_compare(place, tmp_path, capsys):
    fast = [word if word == "--set" else f"gru4rec.{word}" for word in QUICK[:-2]]
    words = ["compare", f"{place}/data", "--models", "popularity,item_knn,gru4rec", "--out", f"{tmp_path}/report"]
    assert main([*words, "--epochs", "1", *fast]) == 0
    results = read(tmp_path / "report" / "results.json")
    assert [row["model"] for row in results["models"]] == ["popularity", "item_knn", "gru4rec"]
    assert [row["model"] for row in results["bounds"]] == ["chance", "ceiling"]
    assert (tmp_path / "report" / "runs" / "item_knn" / "model.keras").exists()
    assert (tmp_path / "report" / "report.html").read_text().startswith("<!DOCTYPE html>")
    table = capsys.readouterr().out
    assert "ceiling" in table and "item_knn" in table and "report.html" in table
    assert "gru4rec: fitting" in table

    # the same command keeps the finished models; a run, a preset and a label are added
    (tmp_path / "few.json").write_text(json.dumps({"model": "item_knn", "settings": {"neighbours": 5}}))
    words[3] = "popularity,item_knn,few=item_knn"
    more = ["--runs", f"{place}/run", "--preset", f"few={tmp_path}/few.json", "--json", f"{tmp_path}/all.json"]
    assert main([*words, *more, "--set", "few.window=7"]) == 0
    rows = read(tmp_path / "all.json")["models"]
    assert [row["model"] for row in rows] == ["popularity", "item_knn", "few", "run"]
    assert rows[:2] == results["models"][:2] and rows[3]["kind"] == "gru4rec"
    assert rows[2]["settings"]["neighbours"] == 5 and rows[2]["settings"]["window"] == 7
    printed = capsys.readouterr().out
    assert "few: fitting" in printed and "run: evaluating" in printed and "item_knn: evaluating" not in printed

    (tmp_path / "report" / "report.html").unlink()
    assert main(["report", f"{tmp_path}/report", "--json", f"{tmp_path}/page.json"]) == 0
    assert "few" in (tmp_path / "report" / "report.html").read_text()
    assert read(tmp_path / "page.json")["report"] == f"{tmp_path}/report/report.html"


def test_an_interrupted_compare_says_how_to_continue(place, tmp_path, capsys, monkeypatch):
    from tfrecsession.evaluation import cost

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(cost, "latency", interrupted)
    words = ["compare", f"{place}/data", "--models", "popularity", "--out", f"{tmp_path}/report"]
    assert main(words) == 130
    assert "run the same command again to continue" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "report").iterdir()} <= {"comparison.json", "runs", "scores"}


def test_an_interrupted_training_says_what_is_kept(place, tmp_path, capsys, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(trs.training, "train", interrupted)
    words = ["train", f"{place}/data", "--model", "gru4rec", "--out", f"{tmp_path}/run"]
    assert main(words) == 130
    assert capsys.readouterr().err.endswith("interrupted; no partial output was kept\n")
    (tmp_path / "run.unfinished").mkdir()
    assert main(words) == 130
    said = f"interrupted; checkpoints are kept in {tmp_path}/run.unfinished, run the same command again to continue"
    assert said in capsys.readouterr().err


def test_tune_and_train_with_the_best_settings(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["tune", f"{place}/data", "--model", "item_knn", "--metric", "recall@10", "--set", "history=last"]
    assert main([*words, "--trials", "2"]) == 0
    printed = capsys.readouterr().out
    assert "trial 1: recall@10 0." in printed and "trial 2: recall@10 0." in printed
    assert "2 trials: 2 complete, 0 pruned, 0 failed" in printed and "--preset tuned/item_knn/best.json" in printed
    assert main([*words, "--trials", "3", "--timeout", "1h", "--json", "t.json"]) == 0
    printed = capsys.readouterr().out
    assert "tuned/item_knn: continuing after 2 trials" in printed
    assert "trial 2: " not in printed and "trial 3: " in printed
    result = read(tmp_path / "t.json")
    assert result["model"] == "item_knn" and result["metric"] == "recall@10" and result["split"] == "validation"
    assert [trial["state"] for trial in result["trials"]] == ["complete"] * 3
    assert result["best"] == read(tmp_path / "tuned" / "item_knn" / "best.json")
    preset = ["--preset", "tuned/item_knn/best.json"]
    assert main(["train", f"{place}/data", "--model", "item_knn", *preset, "--out", "run"]) == 0
    assert read(tmp_path / "run" / "run.json")["settings"] == result["best"]["settings"]
    # a search starts from the result of another one
    capsys.readouterr()
    assert main([*words, *preset, "--trials", "1", "--out", "again", "--json", "-"]) == 0
    again = json.loads(capsys.readouterr().out)["trials"][0]
    assert again["settings"].items() <= result["best"]["settings"].items()
    assert again["value"] == result["best"]["measured"]["recall@10"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["tune", "{place}/data", "--model", "item_knn", "--metric", "map", "--out", "{tmp}/x"],
            "--metric map: must be one",
        ),
        (["tune", "{place}/data", "--model", "item_knn", "--timeout", "2", "--out", "{tmp}/x"], "--timeout 2: must"),
        (["tune", "{place}/data", "--model", "item_knn", "--trials", "0", "--out", "{tmp}/x"], "--trials 0"),
        (["tune", "{place}/data", "--model", "popularity", "--out", "{tmp}/x"], "nothing to tune"),
        (["train", "{place}/data", "--model", "gru5rec", "--out", "{tmp}/x"], "gru4rec"),
        (["train", "{place}/data", "--model", "gru4rec", "--out", "{tmp}/x", "--set", "depth=3"], "no setting 'depth'"),
        (["train", "{place}/data", "--model", "gru4rec", "--out", "{tmp}/x", "--set", "units"], "KEY=VALUE"),
        (["train", "{place}/data", "--model", "gru4rec", "--out", "{tmp}/x", "--preset", "none"], "no preset 'none'"),
        (["train", "{tmp}/nowhere", "--model", "popularity", "--out", "{tmp}/x"], "nowhere"),
        (["train", "{place}/data", "--model", "popularity", "--out", "{place}/run"], "--overwrite"),
        (["train", "{place}/data", "--model", "popularity", "--out", "{place}/saved", "--overwrite"], "no run.json"),
        (["evaluate", "{tmp}/nowhere"], "run.json"),
        (["evaluate", "{place}/run", "--k", "0"], "--k 0"),
        (["evaluate", "{place}/run", "--k", "5000"], "catalogue"),
        (["evaluate", "{place}/run", "--data", "{tmp}/nowhere"], "nowhere"),
        (["export", "{place}/run", "--out", "{place}/saved/gru4rec"], "--overwrite"),
        (["export", "{place}/run", "--out", "{tmp}/x", "--k", "5000"], "catalogue"),
        (
            ["export", "{place}/run", "--out", "{tmp}/x", "--index", "exact-bf16", "--target-recall", "2"],
            "--target-recall 2.0",
        ),
        (["recommend", "{tmp}/nowhere", "item-1"], "SavedModel"),
        (["recommend", "{place}/saved/gru4rec", "item-1", "--k", "8"], "--k 8"),
        (["compare", "{place}/data", "--models", "popularity,grubrec", "--out", "{tmp}/x"], "grubrec"),
        (["compare", "{place}/data", "--out", "{tmp}/x", "--set", "units=[8]"], "MODEL.KEY=VALUE"),
        (["compare", "{place}/data", "--out", "{tmp}/x", "--preset", "gru4rec_yoochoose1_64"], "MODEL=NAME"),
        (["compare", "{place}/data", "--out", "{tmp}/x", "--preset", "item_knn=yoochoose"], "is for gru4rec"),
        (["compare", "{place}/data", "--out", "{tmp}/x", "--runs", "{tmp}/nowhere"], "run.json"),
        (["compare", "{place}/data", "--out", "{place}/saved"], "neither empty nor a comparison"),
        (["compare", "{place}/data", "--out", "{tmp}/x", "--k", "5000"], "catalogue"),
        (["report", "{tmp}/nowhere"], "results.json"),
        (["prepare", "{tmp}/nowhere.csv", "--out", "{tmp}/x"], "nowhere.csv"),
        (["prepare", "synthetic:items=100", "--out", "{place}/data"], "--overwrite"),
    ],
)
def test_bad_input_is_one_line_and_code_2(place, tmp_path, capsys, words, message):
    words = [word.format(place=place, tmp=tmp_path) for word in words]
    assert main(words) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error
    assert not list(tmp_path.iterdir())


def test_debug_shows_the_traceback(tmp_path):
    from tfrecsession import InputError

    with pytest.raises(InputError):
        main(["evaluate", str(tmp_path), "--debug"])


def test_the_demo(tmp_path, capsys):
    out = tmp_path / "demo"
    options = ["--out", str(out), "--epochs", "1", "--budget", "1s"]
    assert main(["demo", "synthetic:items=100,sessions=600,seed=1", *options]) == 0
    printed = capsys.readouterr().out
    for command in ("prepare", "compare", "export", "recommend", "best"):
        assert f"$ tfrecsession {command}" in printed
    assert "ceiling" in printed
    assert printed.splitlines()[-1].endswith(f"{out}/report/report.html") and (out / "report/report.html").exists()


def test_models_lists_the_models_and_the_settings_of_each(capsys):
    assert main(["models", "--json", "-"]) == 0
    summaries = json.loads(capsys.readouterr().out)
    assert list(summaries) == list(trs.models.MODELS) and all(summaries.values())
    for name in summaries:
        assert main(["models", name]) == 0
        printed = capsys.readouterr().out
        for setting in trs.training.settings_of(name):
            assert re.search(rf"^│ {setting} ", printed, flags=re.M), (name, setting)
        assert all(meanings_of(declared(name)).values()), meanings_of(declared(name))
    assert meanings_of(declared("item_knn"))["alpha"] != meanings_of(declared("gru4rec"))["alpha"]
    assert main(["models", "gru"]) == 2
    assert "gru4rec" in capsys.readouterr().err
