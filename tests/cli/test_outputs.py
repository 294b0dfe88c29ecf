"""Outputs: nothing is replaced by a command of other settings, and what cannot be written is one line."""

import contextlib
import json
import shutil

import pytest

import tfrecsession as trs
from tfrecsession.cli import main

resource = pytest.importorskip("resource")


@contextlib.contextmanager
def files_of_at_most(size):
    """Writing beyond `size` bytes fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("outputs")
    assert main(["prepare", "synthetic:items=60,sessions=500,seed=1", "--out", f"{place}/data"]) == 0
    assert main(["compare", f"{place}/data", "--models", "popularity", "--out", f"{place}/compared"]) == 0
    run = f"{place}/compared/runs/popularity"
    assert main(["export", run, "--out", f"{place}/saved", "--k", "5"]) == 0
    return place


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(words, capsys, message):
    capsys.readouterr()
    assert main(words) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ") and message in error


@pytest.mark.parametrize(
    ("size", "line"),
    [
        (2000, "prepare synthetic:items=60,sessions=500,seed=1 --out {tmp}/x"),
        (100_000, "prepare synthetic:items=600,sessions=20000,seed=1 --out {tmp}/x"),
        (10, "train {place}/data --model item_knn --out {tmp}/x"),
        (2000, "train {place}/data --model item_knn --out {tmp}/x"),
        (10, "compare {place}/data --models popularity --out {tmp}/x"),
        (4000, "compare {place}/data --models popularity --out {tmp}/x"),
        (4000, "tune {place}/data --model item_knn --trials 1 --out {tmp}/x"),
        (5, "recommend {place}/saved item-1 --json {tmp}/x.json"),
        (5, "models --json {tmp}/new/x.json"),
        (2000, "report {place}/compared --out {tmp}/x.html"),
    ],
)
def test_a_full_disk_is_one_line_and_leaves_nothing(place, tmp_path, capsys, size, line):
    with files_of_at_most(size):
        code = main(line.format(place=place, tmp=tmp_path).split())
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2 and error.startswith("error: ") and "make room and run it again" in error
    assert str(tmp_path) in error and not list(tmp_path.iterdir())


def test_an_export_that_has_no_room(place, tmp_path, capsys):
    model = trs.training.open_run(place / "compared/runs/popularity").model()
    with files_of_at_most(2000), pytest.raises(trs.InputError, match="make room and run it again"):
        model.export(tmp_path / "x" / "1", k=5)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("data/dataset.json", "must not replace a file of the folder"),
        ("compared/results.json", "must not replace a file of the folder"),
        ("compared/runs/popularity/run.json", "must not replace a file of the folder"),
        ("compared/report.html", "exists and is not JSON"),
        ("compared", "is a folder"),
        ("data/dataset.json/x.json", "Not a directory"),
    ],
)
def test_json_replaces_no_other_file(place, capsys, file, message):
    before = contents(place)
    refused(["describe", f"{place}/data", "--json", f"{place}/{file}"], capsys, message)
    assert contents(place) == before


def test_json_replaces_an_earlier_result(place, tmp_path):
    for words in (["describe", f"{place}/data"], ["recommend", f"{place}/saved", "item-1"], ["models"]):
        assert main([*words, "--json", f"{tmp_path}/new/result.json"]) == 0
    assert list(json.loads((tmp_path / "new/result.json").read_text())) == list(trs.models.MODELS)


def test_a_failed_write_keeps_the_earlier_result(place, tmp_path, capsys):
    (tmp_path / "x.json").write_text("{}")
    with files_of_at_most(5):
        assert main(["models", "--json", f"{tmp_path}/x.json"]) == 2
    assert (tmp_path / "x.json").read_text() == "{}" and len(list(tmp_path.iterdir())) == 1


def test_compare_keeps_runs_of_other_settings(place, capsys):
    before = contents(place / "compared")
    words = ["compare", f"{place}/data", "--models", "popularity", "--out", f"{place}/compared"]
    refused([*words, "--seed", "1"], capsys, "seed: 0 there, 1 now")
    refused([*words, "--k", "5"], capsys, "k: [20] there, [5] now")
    assert contents(place / "compared") == before


def test_report_keeps_other_files(place, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main(["report", f"{place}/compared", "--out", f"{page}"]) == 0
    assert main(["report", f"{place}/compared", "--out", f"{page}"]) == 0  # the same again
    shutil.copytree(place / "compared", tmp_path / "other")
    results = json.loads((tmp_path / "other/results.json").read_text())
    results["models"][0]["settings"]["half_life"] = 3.5
    (tmp_path / "other/results.json").write_text(json.dumps(results))
    before = page.read_text()
    refused(["report", f"{tmp_path}/other", "--out", f"{page}"], capsys, "half_life: None there, 3.5 now")
    assert page.read_text() == before
    assert main(["report", f"{tmp_path}/other", "--out", f"{page}", "--overwrite"]) == 0
    (tmp_path / "clicks.csv").write_text("session,item\n")
    for more in ([], ["--overwrite"]):
        words = ["report", f"{place}/compared", "--out", f"{tmp_path}/clicks.csv", *more]
        refused(words, capsys, "exists and is not a report")
    assert (tmp_path / "clicks.csv").read_text() == "session,item\n"


def test_train_and_export_name_what_differs(place, tmp_path, capsys):
    run = place / "compared" / "runs" / "popularity"
    before = contents(place)
    words = ["train", f"{place}/data", "--model", "popularity", "--out", f"{run}"]
    refused([*words, "--seed", "2"], capsys, "seed: 0 there, 2 now")
    refused(words, capsys, "exists already, a run of the same settings")
    words = ["export", f"{run}", "--out", f"{place}/saved"]
    refused([*words, "--k", "6"], capsys, "k: 5 there, 6 now")
    refused([*words, "--k", "5"], capsys, "exists already, an export of the same settings")
    assert contents(place) == before


@pytest.mark.slow
def test_demo_keeps_other_demos_and_writes_its_json(tmp_path, capsys, monkeypatch):
    words = [
        "demo",
        "synthetic:items=60,sessions=500,seed=1",
        "--epochs",
        "1",
        "--budget",
        "0",
        "--out",
        f"{tmp_path}/demo",
    ]
    assert main([*words, "--json", f"{tmp_path}/demo-result.json"]) == 0
    result = json.loads((tmp_path / "demo-result.json").read_text())
    assert [row["model"] for row in result["models"]] == ["popularity", "item_knn", "gru4rec"]
    assert result["path"] == f"{tmp_path}/demo/data" and result["saved_model"].endswith("saved_models/gru4rec")
    before = contents(tmp_path)
    refused(["demo", "synthetic:items=61,sessions=500", *words[2:]], capsys, "seed=1' there")
    refused([*words, "--gap", "10m"], capsys, "options: [] there, ['--gap', '10m'] now")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("keep")
    refused([*words[:-1], f"{tmp_path}/mine"], capsys, "neither empty nor a demo")
    shutil.rmtree(tmp_path / "mine")
    assert contents(tmp_path) == before


def test_a_csv_log_does_not_replace_another_table(tmp_path, shop):
    (tmp_path / "clicks.csv").write_text("session,item\n1,2\n")
    model = trs.training.build("gru4rec", shop.items, trs.training.settings_of("gru4rec", {"units": [8]}))
    with pytest.raises(trs.InputError, match="is not the log of a training"):
        model.fit(shop.train.batches(), callbacks=[trs.training.CSVLog(tmp_path / "clicks.csv")], verbose=0)
    assert (tmp_path / "clicks.csv").read_text() == "session,item\n1,2\n"


@pytest.mark.parametrize(
    "model", ["item_knn", "als", *(pytest.param(m, marks=pytest.mark.slow) for m in ("slist", "vsknn"))]
)
def test_counted_models_are_scored_on_validation(place, tmp_path, capsys, model):
    assert main(["train", f"{place}/data", "--model", model, "--out", f"{tmp_path}/run", "--k", "5"]) == 0
    assert "on the validation split" in capsys.readouterr().out
    kept = json.loads((tmp_path / "run/metrics.json").read_text())["metrics"]
    run = trs.training.open_run(tmp_path / "run")
    scored = trs.evaluation.evaluate(run.model(), run.data().validation, [5], slices=False)
    assert kept == pytest.approx({name: scored.metrics[name] for name in kept}, abs=1e-6) and set(kept) == {
        "recall@5",
        "mrr@5",
        "ndcg@5",
    }


def test_no_table_without_a_validation_split(place, tmp_path, capsys):
    prepared = ["prepare", "synthetic:items=60,sessions=500,seed=1", "--validation-span", "0d"]
    assert main([*prepared, "--out", f"{tmp_path}/data"]) == 0
    capsys.readouterr()
    assert main(["train", f"{tmp_path}/data", "--model", "item_knn", "--out", f"{tmp_path}/run"]) == 0
    printed = capsys.readouterr().out
    assert "has no validation split" in printed and "on the validation split" not in printed
    assert json.loads((tmp_path / "run/metrics.json").read_text())["metrics"] == {}
