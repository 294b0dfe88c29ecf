"""Defaults that follow the log, through the commands."""

import json

import pytest

import tfrecsession as trs
from tfrecsession.cli import main
from tfrecsession.cli.declared_models import declared
from tfrecsession.models import MODELS

REASON = "the test says so"
QUICK = ["--set", "units=[4]", "--set", "rows=16", "--set", "steps=8", "--set", "negatives=16"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    out = tmp_path_factory.mktemp("log_defaults") / "data"
    trs.prepare("synthetic:items=60,sessions=500,seed=2", out)
    return str(out)


@pytest.fixture(autouse=True)
def rules(monkeypatch):
    follow(monkeypatch, "item_knn", neighbours=(30, REASON))
    follow(monkeypatch, "gru4rec", epochs=(2, REASON))


def follow(monkeypatch, model, **choices):
    """Sets what follows the log, in the class and in what the command line reads of it."""
    rules = {name: lambda log, given, choice=choice: choice for name, choice in choices.items()}
    for cls in (MODELS[model], declared(model)):
        monkeypatch.setattr(cls, "log_defaults", rules)


def info_of(run):
    return json.loads((run / "run.json").read_text())


def test_train_says_what_follows_the_log_and_keeps_it(data, tmp_path, capsys):
    assert main(["train", data, "--model", "item_knn", "--out", f"{tmp_path}/run"]) == 0
    assert f"item_knn: neighbours=30, because {REASON}\n" in capsys.readouterr().out
    info = info_of(tmp_path / "run")
    assert info["settings"]["neighbours"] == 30
    assert info["defaults"] == {"neighbours": {"value": 30, "because": REASON}}


def test_given_settings_win(data, tmp_path, capsys):
    assert main(["train", data, "--model", "item_knn", "--out", f"{tmp_path}/run", "--set", "neighbours=7"]) == 0
    assert "because" not in capsys.readouterr().out
    info = info_of(tmp_path / "run")
    assert info["settings"]["neighbours"] == 7 and info["defaults"] == {}
    assert main(["train", data, "--model", "gru4rec", "--out", f"{tmp_path}/gru", "--epochs", "1", *QUICK]) == 0
    assert info_of(tmp_path / "gru")["settings"]["epochs"] == 1


@pytest.mark.slow
def test_a_preset_is_complete(data, tmp_path):
    preset = tmp_path / "preset.json"
    preset.write_text(json.dumps({"model": "item_knn", "settings": {"shrinkage": 3.0}}))
    assert main(["train", data, "--model", "item_knn", "--preset", str(preset), "--out", f"{tmp_path}/run"]) == 0
    info = info_of(tmp_path / "run")
    assert info["settings"]["neighbours"] == 100 and info["settings"]["shrinkage"] == 3.0 and info["defaults"] == {}
    words = ["compare", data, "--models", "item_knn,other=item_knn", "--preset", f"item_knn={preset}"]
    assert main([*words, "--out", f"{tmp_path}/report"]) == 0
    rows = json.loads((tmp_path / "report" / "results.json").read_text())["models"]
    assert [row["settings"]["neighbours"] for row in rows] == [100, 30]
    assert [row["defaults"] for row in rows] == [{}, {"neighbours": {"value": 30, "because": REASON}}]


@pytest.mark.slow
def test_a_grown_model_keeps_its_settings(data, tmp_path, monkeypatch):
    words = ["--epochs", "1", *QUICK]
    assert main(["train", data, "--model", "gru4rec", "--out", f"{tmp_path}/run", *QUICK]) == 0
    assert info_of(tmp_path / "run")["defaults"]["epochs"]["value"] == 2
    follow(monkeypatch, "gru4rec", epochs=(3, "the log is newer"))
    assert main(["train", data, "--from", f"{tmp_path}/run", "--out", f"{tmp_path}/grown"]) == 0
    grown = info_of(tmp_path / "grown")
    assert grown["settings"] == info_of(tmp_path / "run")["settings"]
    assert grown["defaults"] == {"epochs": {"value": 2, "because": REASON}}
    assert main(["train", data, "--from", f"{tmp_path}/run", "--out", f"{tmp_path}/given", *words]) == 0
    assert info_of(tmp_path / "given")["defaults"] == {}


def test_tune_begins_with_the_defaults_of_the_log(data, tmp_path, capsys):
    words = ["tune", data, "--model", "item_knn", "--trials", "1", "--out", f"{tmp_path}/tuned"]
    assert main(words) == 0
    assert f"neighbours=30, because {REASON}" in capsys.readouterr().out
    assert json.loads((tmp_path / "tuned" / "best.json").read_text())["settings"]["neighbours"] == 30
