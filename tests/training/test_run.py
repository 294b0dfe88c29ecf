import json

import keras
import pytest

import tfrecsession as trs
from tfrecsession import InputError, training

QUICK = {"epochs": 1, "rows": 16, "steps": 8, "negatives": 32, "units": [8]}


@pytest.fixture
def on_disk(tmp_path):
    trs.prepare("synthetic:items=100,sessions=600,seed=3", tmp_path / "data")
    return trs.load(tmp_path / "data")


def test_a_run_has_everything_to_repeat_it(on_disk, tmp_path):
    settings = training.settings_of("gru4rec", QUICK)
    model = training.train(on_disk, "gru4rec", tmp_path / "run", settings, seed=5)
    run = training.open_run(tmp_path / "run")
    assert run.info["seed"] == 5 and run.info["settings"] == json.loads(json.dumps(settings))
    assert run.info["data"]["fingerprint"] == on_disk.fingerprint == run.data().fingerprint
    assert run.info["versions"]["keras"] == keras.__version__
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    assert len(history["loss"]) == 1 and "val_recall@20" in history
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())["metrics"]
    assert metrics["recall@20"] == history["val_recall@20"][-1]
    # repeated from the content of the folder
    again = training.train(
        run.data(), run.info["model"], tmp_path / "again", run.info["settings"], seed=run.info["seed"]
    )
    histories = [[on_disk.items.ids[0]]]
    assert again.recommend(histories, k=5).scores.tolist() == model.recommend(histories, k=5).scores.tolist()
    assert run.model().recommend(histories, k=5).scores.tolist() == model.recommend(histories, k=5).scores.tolist()


def test_other_data_is_refused(on_disk, tmp_path):
    training.train(on_disk, "popularity", tmp_path / "run", {})
    trs.prepare("synthetic:items=100,sessions=600,seed=4", tmp_path / "other")
    with pytest.raises(InputError, match=on_disk.fingerprint):
        training.open_run(tmp_path / "run").data(tmp_path / "other")


def test_a_failed_training_leaves_no_files(on_disk, tmp_path):
    settings = training.settings_of("gru4rec", {**QUICK, "learning_rate": 1e38})
    with pytest.raises(InputError, match="lower learning_rate"):
        training.train(on_disk, "gru4rec", tmp_path / "run", settings)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.slow
@pytest.mark.parametrize("more", [{"lanes": 16, "steps": 1}, {"sampler": "in_batch+popularity"}, {"sampler": "full"}])
def test_session_parallel_and_samplers_by_their_settings(on_disk, tmp_path, more):
    settings = training.settings_of("gru4rec", {**QUICK, "epochs": 2, **more})
    training.train(on_disk, "gru4rec", tmp_path / "run", settings)
    loss = json.loads((tmp_path / "run" / "history.json").read_text())["loss"]
    assert loss[1] < loss[0]
    assert training.open_run(tmp_path / "run").model().recommend([[on_disk.items.ids[0]]], k=3).items.shape == (1, 3)


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no run\.json"):
        training.open_run(tmp_path)
