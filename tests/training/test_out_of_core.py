"""Training on data that is read from its files."""

import json

import numpy as np
import pytest

import tfrecsession as trs
from tests.training.test_workers import run_all
from tfrecsession import InputError, cli, training
from tfrecsession.sessions import write
from tfrecsession.sessions.statistics import Statistics
from tfrecsession.sessions.store import SessionArrays, StoredSessions

SETTINGS = {"units": [8], "rows": 16, "steps": 8, "negatives": 32, "epochs": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("streamed") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "ROWS", 64)
        trs.prepare("synthetic:items=60,sessions=800,seed=3", folder)
    return folder


@pytest.fixture
def no_loading(folder, monkeypatch):
    """Makes loading the arrays of the train split an error."""
    read = StoredSessions._lists.func

    def only_small(self):
        assert self._folder.name != "train", "the training data is loaded whole"
        return read(self)

    monkeypatch.setattr(StoredSessions, "_lists", property(only_small))


def trained(folder, out, memory="300KB", **options):
    settings = training.settings_of("gru4rec", SETTINGS)
    return training.train(trs.load(folder), "gru4rec", out, settings, seed=1, data_memory=memory, **options)


def test_gru4rec_learns_without_loading_the_training_data(folder, tmp_path, no_loading):
    trained(folder, tmp_path / "run")
    info = json.loads((tmp_path / "run/run.json").read_text())
    assert info["data_memory"] == 300_000
    assert info["events"] == 2 * trs.load(folder).train.scored_events
    losses = json.loads((tmp_path / "run/history.json").read_text())["loss"]
    assert losses[1] < losses[0]
    assert json.loads((tmp_path / "run/metrics.json").read_text())["metrics"]


def test_the_command_line_option_sets_the_bound(folder, tmp_path, no_loading):
    words = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
    command = ["train", str(folder), "--model", "gru4rec", "--out", str(tmp_path / "run"), "--data-memory", "300KB"]
    assert cli.main([*command, *words, "--seed", "1"]) in (0, None)
    assert json.loads((tmp_path / "run/run.json").read_text())["data_memory"] == 300_000


def test_the_statistics_of_defaults_are_counted_piece_by_piece(folder, no_loading, monkeypatch):
    counted = trs.load(folder).statistics
    found = {name: getattr(counted, name) for name in ("repeats", "turnover", "density", "days")}
    monkeypatch.undo()
    whole = trs.load(folder).train.arrays
    whole = SessionArrays(whole.items, whole.values, whole.offsets, {"times": whole.column("times")})
    assert len(list(trs.load(folder).train.arrays.pieces())) > 5
    assert found == {name: getattr(Statistics(whole), name) for name in found} and found["repeats"] > 0


@pytest.mark.slow
def test_an_interrupted_training_ends_with_the_same_bits(folder, tmp_path):
    class Broken(Exception):
        pass

    class Break(training.CSVLog):
        def on_train_batch_end(self, batch, logs=None):
            if self.epoch == 1 and batch == 7:
                raise Broken

        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch
            super().on_epoch_begin(epoch, logs)

    whole = trained(folder, tmp_path / "whole")
    with pytest.raises(Broken):
        trained(folder, tmp_path / "run", checkpoint=3, callbacks=[Break(tmp_path / "log.csv")])
    with pytest.raises(InputError, match="data_memory: 300000 then, 400000 now"):
        trained(folder, tmp_path / "run", "400KB")
    resumed = trained(folder, tmp_path / "run")
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_error_names_a_shard_that_goes_missing_during_training(folder, tmp_path):
    import shutil

    import keras

    shutil.copytree(folder, tmp_path / "data")
    victim = tmp_path / "data/train/part-00000.parquet"
    gone = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: victim.unlink())
    with pytest.raises(InputError, match="part-00000.parquet: is missing"):
        trained(tmp_path / "data", tmp_path / "run", callbacks=[gone])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("model", "more", "memory", "named"),
    [
        ("popularity", {}, "1MB", "popularity needs all training data at once"),
        ("matrix_factorization", {}, "1MB", "matrix_factorization needs all"),
        ("gru4rec", {"lanes": 4}, "1MB", "carry=True"),
        ("gru4rec", {}, "a lot", "memory='a lot'"),
        ("gru4rec", {}, "1KB", "must be at least"),
    ],
)
def test_a_bound_is_refused_where_it_cannot_be_kept(folder, tmp_path, model, more, memory, named):
    settings = training.settings_of(model, more)
    with pytest.raises(InputError, match=named):
        training.train(trs.load(folder), model, tmp_path / "run", settings, data_memory=memory)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_two_workers_read_different_shards_and_end_with_equal_weights(folder, tmp_path):
    (tmp_path / "data").symlink_to(folder)
    (first, histories), (second, others) = run_all(tmp_path, ["first", "second"], DATA_MEMORY="300000")
    for name in first.files:
        if "seed_generator" not in name:
            np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    assert histories["adagrad"]["loss"] == others["adagrad"]["loss"]
    assert histories["adagrad"]["loss"][1] < histories["adagrad"]["loss"][0]
    shards = [{tuple(shard) for shard in found["shards"]} for found in (histories, others)]
    assert shards[0] and shards[1] and not shards[0] & shards[1]
    assert len(shards[0] | shards[1]) == len(trs.load(folder).train.arrays.shards)
