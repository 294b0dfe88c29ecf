"""Presets with weights: written, listed, checked and loaded."""

import json
import shutil
import subprocess
import sys
import types
from pathlib import Path

import keras
import numpy as np
import pytest

import tfrecsession as trs
from tests.goldens import goldens
from tfrecsession import InputError
from tfrecsession.cli import main

HISTORIES = goldens.HISTORIES


@pytest.fixture(scope="module")
def data():
    data, folder = goldens.prepared()
    yield data
    folder.cleanup()


@pytest.fixture(scope="module")
def model():
    return keras.models.load_model(goldens.FOLDER / "gru4rec.keras")


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    """The run of a counted model, which takes no time to train."""
    out = tmp_path_factory.mktemp("runs") / "popularity"
    trs.training.train(data, "popularity", out, trs.training.settings_of("popularity"))
    return trs.training.open_run(out)


@pytest.fixture(scope="module")
def evaluation(run, data, tmp_path_factory):
    file = tmp_path_factory.mktemp("scores") / "test.json"
    assert main(["evaluate", str(run.path), "--data", data.path, "--no-slices", "--json", str(file)]) == 0
    return file


@pytest.fixture(scope="module")
def written(model, tmp_path_factory):
    return model.save_to_preset(tmp_path_factory.mktemp("presets") / "gru4rec")


@pytest.fixture
def preset(written, tmp_path):
    return Path(shutil.copytree(written, tmp_path / "preset"))


def test_a_folder_gives_back_the_model(written, model):
    loaded = trs.models.GRU4Rec.from_preset(written)
    assert loaded.get_config() == model.get_config()
    assert int(loaded.optimizer.iterations) == int(model.optimizer.iterations) > 0
    np.testing.assert_array_equal(loaded.recommend(HISTORIES).scores, model.recommend(HISTORIES).scores)
    assert isinstance(trs.models.from_preset(str(written)), trs.models.GRU4Rec)
    with pytest.raises(InputError, match="must be a preset of NARM, not of GRU4Rec"):
        trs.models.NARM.from_preset(written)


def test_no_file_is_a_pickle(written):
    files = {file.relative_to(written).as_posix() for file in written.rglob("*") if file.is_file()}
    assert files == {
        *("README.md", "preset.json", "config.json", "metadata.json", "model.weights.h5", "assets/items.parquet"),
    }
    assert not any(file.read_bytes().startswith(b"\x80") for file in written.rglob("*") if file.is_file())


@pytest.mark.slow  # keras files have such a test that is quick enough
def test_a_process_that_only_loads(written):
    code = (
        f"import tfrecsession as trs; print(trs.models.from_preset({str(written)!r}).recommend([[]], k=1).items[0, 0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1].startswith("i")


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda p: (p / "model.weights.h5").unlink(), "model.weights.h5 is missing"),
        (lambda p: (p / "assets/items.parquet").write_bytes(b"x"), "assets/items.parquet has changed"),
        (lambda p: (p / "config.json").write_text("{}"), "config.json has changed"),
        (lambda p: (p / "assets/more.bin").write_bytes(b"x"), "assets/more.bin is not listed"),
        (lambda p: (p / "preset.json").unlink(), "is not a preset with weights"),
        (lambda p: (p / "preset.json").write_text("{"), "preset.json cannot be read"),
        (lambda p: changed(p, format=2), "has format 2 .* install a newer tfrecsession"),
        (lambda p: changed(p, files={}), "does not list config.json"),
        (lambda p: changed_files(p, {"../secret": {"sha256": ""}}), "outside the folder"),
        (lambda p: shutil.rmtree(p), "no such folder"),
    ],
)
def test_a_changed_folder_is_refused_in_one_line(spoil, line, preset):
    spoil(preset)
    with pytest.raises(InputError, match=line) as error:
        trs.models.from_preset(preset)
    assert str(preset) in str(error.value) and "\n" not in str(error.value)


def changed(preset, **entries):
    about = json.loads((preset / "preset.json").read_text())
    (preset / "preset.json").write_text(json.dumps({**about, **entries}))


def changed_files(preset, more):
    changed(preset, files={**json.loads((preset / "preset.json").read_text())["files"], **more})


def test_the_card_and_files_of_git_may_change(preset):
    (preset / "README.md").write_text("# Ours\n")
    (preset / ".gitattributes").write_text("*.h5 filter=lfs\n")
    trs.presets.weights.check(preset)


def test_a_model_of_unknown_classes_is_one_line(preset, monkeypatch):
    text = (preset / "config.json").read_text().replace("GRU4Rec", "NoSuchModel")
    (preset / "config.json").write_text(text)
    monkeypatch.setattr(trs.presets.weights, "_digest", lambda file: "same")
    changed(preset, files={name: {"sha256": "same"} for name in ["config.json", "metadata.json", "model.weights.h5"]})
    shutil.rmtree(preset / "assets")
    with pytest.raises(InputError, match=r"cannot be loaded by tfrecsession .*made with tfrecsession") as error:
        trs.models.from_preset(preset)
    assert "\n" not in str(error.value)


def test_nothing_is_overwritten_unasked(model, preset, tmp_path):
    with pytest.raises(InputError, match="overwrite=True"):
        model.save_to_preset(preset)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_text("ours")
    with pytest.raises(InputError, match="must not be overwritten"):
        model.save_to_preset(tmp_path / "other", overwrite=True)
    model.save_to_preset(preset, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "preset"]


def test_the_card_tells_data_protocol_scores_licence_and_limits(run, data, evaluation, tmp_path):
    model = run.model()
    model.save_to_preset(tmp_path / "p", run=run.path, evaluation=evaluation, data_licence="CC BY 4.0")
    card, scores = (tmp_path / "p/README.md").read_text(), json.loads(evaluation.read_text())
    low, high = scores["intervals"]["recall@20"]
    assert f"| recall@20 | {scores['metrics']['recall@20']:.4f} | {low:.4f} to {high:.4f} |" in card
    assert f"On the test split, {scores['events']} events of {scores['sessions']} sessions" in card
    for text in (data.fingerprint, "| train |", "Split by time.", "CC BY 4.0", "seed 0", "## Limits", "29 items"):
        assert text in card
    about = json.loads((tmp_path / "p/preset.json").read_text())
    assert about["trained"]["settings"] == run.info["settings"] and about["evaluation"]["metrics"] == scores["metrics"]
    assert str(tmp_path) not in card and data.path not in (tmp_path / "p/preset.json").read_text()


def test_a_card_claims_nothing_that_is_not_known(written):
    card = (written / "README.md").read_text()
    assert "Licence of the data: not stated" in card and "Not stated: the preset was written without the run" in card
    assert "None were given." in card


def test_scores_of_another_model_or_data_are_refused(model, run, evaluation, tmp_path):
    with pytest.raises(InputError, match="must be the run of this GRU4Rec, not of a popularity"):
        model.save_to_preset(tmp_path / "p", run=run)
    for wrong in ({"data": "0" * 16}, {"model": "narm"}):
        scores = {**json.loads(evaluation.read_text()), **wrong}
        with pytest.raises(InputError, match="but the run is of"):
            run.model().save_to_preset(tmp_path / "p", run=run, evaluation=scores)
    with pytest.raises(InputError, match="must be the JSON of"):
        run.model().save_to_preset(tmp_path / "p", evaluation={})
    assert not list(tmp_path.iterdir())


def test_a_preset_is_evaluated_to_the_scores_of_its_card(run, data, evaluation, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["export", str(run.path), "--format", "preset", "--out", "presets/popularity"]
    assert main([*words, "--evaluation", str(evaluation), "--json", "written.json"]) == 0
    assert json.loads(Path("written.json").read_text())["path"] == "presets/popularity"
    assert main(["evaluate", "presets/popularity", "--data", data.path, "--no-slices", "--json", "again.json"]) == 0
    card, again = (
        json.loads(Path("presets/popularity/preset.json").read_text()),
        json.loads(Path("again.json").read_text()),
    )
    for name, score in card["evaluation"]["metrics"].items():
        assert score == pytest.approx(again["metrics"][name], abs=1e-4), name


def test_the_command_lists_both_kinds(written, tmp_path):
    assert main(["presets", str(written.parent), "--json", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert set(found["settings"]) == set(trs.presets.names())
    assert found["weights"][str(written)]["model"] == "GRU4Rec"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--format", "preset", "--k", "5"], "--k: must be left out with --format preset"),
        (["--data-licence", "CC0"], "--data-licence: must be left out with --format tf_saved_model"),
        (["--format", "preset", "--evaluation", "none.json"], "--evaluation none.json: cannot be read"),
    ],
)
def test_options_of_another_format_are_refused(words, line, run, tmp_path, capsys):
    assert main(["export", str(run.path), "--out", str(tmp_path / "x"), *words]) == 2
    assert line in capsys.readouterr().err


def test_settings_need_a_vocabulary_and_weights_have_one(written, data):
    with pytest.raises(InputError, match="items: must be given"):
        trs.models.GRU4Rec.from_preset("gru4rec_yoochoose1_64")
    with pytest.raises(InputError, match="items: must be left out"):
        trs.models.GRU4Rec.from_preset(written, data.items)
    with pytest.raises(InputError, match="units: must be left out"):
        trs.models.GRU4Rec.from_preset(written, units=[3])
    with pytest.raises(InputError, match="no preset 'none'"):
        trs.models.GRU4Rec.from_preset("none", data.items)


# Hubs ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(written, tmp_path, monkeypatch):
    """A huggingface_hub without the network: `user/name` in the layout of its cache, links to blobs and all."""
    repo = tmp_path / "hub/models--user--name"
    snapshot = repo / "snapshots/0123abc"
    for file in (file for file in written.rglob("*") if file.is_file()):
        blob, link = repo / "blobs" / file.name, snapshot / file.relative_to(written)
        for folder in (blob.parent, link.parent):
            folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, blob)
        link.symlink_to(blob)

    def snapshot_download(repo_id, *, revision=None, allow_patterns=None):
        if (repo_id, revision) not in (("user/name", None), ("user/name", "v1")):
            raise OSError(f"Cannot reach https://huggingface.co/{repo_id}\nand more lines")
        return str(snapshot)

    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(snapshot_download=snapshot_download))
    return snapshot


@pytest.mark.parametrize("name", ["hf://user/name", "hf://user/name@v1"])
def test_a_name_of_hugging_face(hub, name, model):
    loaded = trs.models.GRU4Rec.from_preset(name)
    np.testing.assert_array_equal(loaded.recommend(HISTORIES).scores, model.recommend(HISTORIES).scores)


def test_a_changed_file_of_a_hub_names_the_hub(hub):
    (hub / "config.json").resolve().write_text("{}")
    with pytest.raises(InputError, match="^hf://user/name: config.json has changed"):
        trs.models.from_preset("hf://user/name")


def test_a_name_of_kaggle(written, monkeypatch):
    download = {"owner/gru/keras/small": str(written)}.__getitem__
    monkeypatch.setitem(sys.modules, "kagglehub", types.SimpleNamespace(model_download=download))
    assert trs.presets.hub.folder_of("kaggle://owner/gru/keras/small") == written
    with pytest.raises(InputError, match="kaggle://owner/gru/keras/other: cannot be fetched"):
        trs.models.from_preset("kaggle://owner/gru/keras/other")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "hf://user/other",
            r"cannot be fetched \(Cannot reach https://huggingface.co/user/other\): check the name and",
        ),
        ("hf://user", "must be hf://user/name"),
        ("kaggle://owner/name", "must be kaggle://owner/model/framework/variation"),
        ("s3://bucket/name", "must begin with hf:// or kaggle://"),
    ],
)
def test_a_hub_that_cannot_give_it_is_one_line(hub, name, line):
    with pytest.raises(InputError, match=line) as error:
        trs.models.from_preset(name)
    assert str(error.value).startswith(name) and "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "library"), [("hf://a/b", "huggingface_hub"), ("kaggle://a/b/c/d", "kagglehub")])
def test_a_missing_library_names_the_extra(name, library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        InputError, match=rf"needs {library}, which is not installed: pip install 'tfrecsession\[hub\]'"
    ):
        trs.models.from_preset(name)
