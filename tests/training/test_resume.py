"""A resumed training ends as an uninterrupted one, bit for bit."""

import csv
import random
import resource
import shutil
from functools import partial

import keras
import numpy as np
import pytest

import tfrecsession as trs
from tests.training.dying import Kill, Killed
from tfrecsession import InputError, training
from tfrecsession.training import snapshot
from tfrecsession.training.checkpoint import variables_of
from tfrecsession.training.unfinished_run import unfinished

SMALL = {"epochs": 3, "negatives": 16}
PACKED = {**SMALL, "rows": 16, "steps": 8}
OF_CONTENT = {**PACKED, "units": [8], "content": ["title", "price"]}
TRAININGS = {
    "packed": ("gru4rec", {**PACKED, "units": [8], "dropout": 0.3, "embedding_dropout": 0.2, "decay": "linear"}),
    "momentum": ("gru4rec", {**PACKED, "units": [8], "momentum": 0.5, "clipnorm": 1.0, "cell": "lstm"}),
    "accumulated": ("gru4rec", {**PACKED, "units": [8], "accumulate": 4}),
    "adam": ("gru4rec", {**PACKED, "units": [8], "optimizer": "adam", "learning_rate": 0.01}),
    "lanes": ("gru4rec", {**SMALL, "units": [8], "lanes": 32, "steps": 4, "dropout": 0.2, "loss": "bpr_max"}),
    "joined": ("gru4rec", {**SMALL, "units": [8], "lanes": 32, "steps": 4, "joined": True}),
    "mixture": ("gru4rec", {**PACKED, "units": [8], "sampler": "in_batch+popularity"}),
    "full": ("gru4rec", {**PACKED, "units": [8], "sampler": "full"}),
    "hrnn": ("hrnn", {**SMALL, "units": [8], "user_units": [8], "lanes": 32, "steps": 6, "user_dropout": 0.2}),
    "narm": ("narm", {**PACKED, "units": [8]}),
    "factors": ("matrix_factorization", {**SMALL, "rows": 128, "dim": 8}),
    "all pairs": ("matrix_factorization", {**SMALL, "rows": 128, "dim": 8, "loss": "all_pairs"}),
    "taught": ("content_to_factors", {"epochs": 3, "rows": 8, "dropout": 0.2, "content": ["title", "price"]}),
    "in turn": ("parallel_rnn", {**OF_CONTENT, "schedule": "alternating"}),
    "residual": ("parallel_rnn", {**OF_CONTENT, "schedule": "residual", "architecture": "shared", "optimizer": "adam"}),
    "interleaved": ("parallel_rnn", {**OF_CONTENT, "decay": "linear", "lanes": 32, "architecture": "interaction"}),
    "two towers": ("two_tower", {**SMALL, "rows": 128, "dim": 8, "layers": [8]}),
}
OPTIONS = {"seed": 3, "checkpoint": 3}
QUICK = ("packed",)
pytestmark = pytest.mark.filterwarnings("ignore:.*begin before an earlier one")


@pytest.fixture(scope="module")
def data():
    return trs.synthetic_sessions(items=100, sessions=500, seed=1)


def settings_of(name, **more):
    model, own = TRAININGS[name]
    return model, training.settings_of(model, {**own, **more})


def assert_same(one, other):
    """Compares every bit: weights, optimizer, random generators (which no .keras file holds), running means."""
    for a, b in zip(variables_of(one), variables_of(other), strict=True):
        assert np.asarray(a.numpy()).tobytes() == np.asarray(b.numpy()).tobytes(), getattr(a, "path", a)


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in TRAININGS])
def test_a_resumed_training_ends_as_an_uninterrupted_one(name, data, tmp_path):
    model, settings = settings_of(name)
    whole = training.train(data, model, tmp_path / "whole", settings, seed=3, checkpoint=None)
    batches = 3 * int(whole.training_batches(data.train, settings, 3).cardinality())
    first = random.Random(name).randrange(2, batches - 4)
    again = random.Random(name + "2").randrange(3, batches - first + 1)
    for after in (first, again):
        with pytest.raises(Killed):
            training.train(data, model, tmp_path / "broken", settings, **OPTIONS, callbacks=[Kill(after)])
        assert {path.name for path in tmp_path.iterdir()} <= {"whole", "broken.unfinished"}
    resumed = training.train(data, model, tmp_path / "broken", settings, **OPTIONS)
    assert_same(whole, resumed)
    for file in ("history.json", "metrics.json"):
        assert (tmp_path / "broken" / file).read_text() == (tmp_path / "whole" / file).read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "whole"]


TINY = training.settings_of("gru4rec", {**PACKED, "units": [4], "steps": 4})


@pytest.fixture(scope="module")
def died(data, tmp_path_factory):
    """A training that was killed in its second epoch."""
    folder = tmp_path_factory.mktemp("died")
    batches = int(trs.models.GRU4Rec(data.items).training_batches(data.train, TINY, 3).cardinality())
    with pytest.raises(Killed):
        training.train(data, "gru4rec", folder / "run", TINY, **OPTIONS, callbacks=[Kill(batches + 8)])
    return folder


@pytest.fixture
def broken(died, tmp_path):
    """A copy of that training; its run folder does not exist yet."""
    shutil.copytree(died, tmp_path, dirs_exist_ok=True)
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"seed": 4}, r"seed: 3 then, 4 now"),
        (
            {"settings": TINY | {"units": [6], "alpha": 0.7}},
            r"setting units: \[4\] then, \[6\] now; setting alpha",
        ),
        ({"model": "narm", "settings": training.settings_of("narm", PACKED)}, r"model: 'gru4rec' then, 'narm' now"),
        ({"k": (10,)}, r"k: \[20\] then, \[10\] now"),
        ({"data": "other"}, r"data: '\w+' then, '\w+' now"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused_by_what_differs(data, broken, change, difference):
    arguments = {"data": data, "model": "gru4rec", "out": broken, "settings": TINY, **OPTIONS} | change
    if arguments["data"] == "other":
        arguments["data"] = trs.synthetic_sessions(items=100, sessions=500, seed=2)
    with pytest.raises(InputError, match=f"checkpoint-.*another training. {difference}.*overwrite=True"):
        training.train(**arguments)
    assert snapshot.read(broken.with_name("run.unfinished"))  # it can still be resumed


def test_overwrite_starts_afresh(data, broken):
    seen = Seen()
    training.train(data, "gru4rec", broken, TINY, seed=4, overwrite=True, callbacks=[seen])
    assert seen.epochs == [0, 1, 2] and not broken.with_name("run.unfinished").exists()


def test_a_training_that_replaces_a_run_can_be_resumed(data, broken):
    broken.mkdir()
    (broken / "run.json").write_text("{}")
    with pytest.raises(InputError, match="overwrite=True"):
        training.train(data, "gru4rec", broken, TINY, **OPTIONS)
    seen = Seen()
    training.train(data, "gru4rec", broken, TINY, **OPTIONS, overwrite=True, resume=True, callbacks=[seen])
    assert seen.epochs == [1, 2]


class Seen(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.epochs, self.batches = [], []

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs.append(epoch)
        self.batches.append(0)

    def on_train_batch_end(self, batch, logs=None):
        self.batches[-1] += bool(logs)


def test_only_the_remaining_batches_are_trained(data, broken):
    state, _ = snapshot.read(broken.with_name("run.unfinished"))
    assert (state["epoch"], state["batch"]) == (1, 6)
    seen = Seen()
    training.train(data, "gru4rec", broken, TINY, **OPTIONS, callbacks=[seen])
    assert seen.epochs == [1, 2] and seen.batches[0] == seen.batches[1] - 6


def test_a_run_is_finished_if_killed_after_it_was_published(data, broken, monkeypatch):
    """The unfinished folder still exists beside the run."""
    monkeypatch.setattr("tfrecsession.training.unfinished_run.shutil.rmtree", lambda *args, **options: None)
    training.train(data, "gru4rec", broken, TINY, **OPTIONS)
    monkeypatch.undo()
    assert broken.with_name("run.unfinished").exists()
    with pytest.raises(InputError, match="exists already"):
        training.train(data, "gru4rec", broken, TINY, **OPTIONS)
    assert not broken.with_name("run.unfinished").exists()


def test_the_log_of_a_resumed_training_has_every_epoch(data, tmp_path):
    class DiesBesideTheCheckpoint(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise Killed

    model, settings = settings_of("packed")
    with pytest.raises(Killed):
        training.train(data, model, tmp_path / "run", settings, callbacks=[DiesBesideTheCheckpoint()], **OPTIONS)
    training.train(data, model, tmp_path / "run", settings, **OPTIONS)
    with (tmp_path / "run" / "log.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]


@pytest.mark.slow
def test_a_training_killed_after_its_last_epoch(data, tmp_path):
    whole = training.train(data, "gru4rec", tmp_path / "whole", TINY, seed=3)

    class AtTheEnd(Kill):
        def on_train_end(self, logs=None):
            raise Killed

    with pytest.raises(Killed):
        training.train(data, "gru4rec", tmp_path / "run", TINY, **OPTIONS, callbacks=[AtTheEnd(10**6)])
    assert snapshot.read(tmp_path / "run.unfinished")[0]["epoch"] == 3
    seen = Seen()
    assert_same(whole, training.train(data, "gru4rec", tmp_path / "run", TINY, **OPTIONS, callbacks=[seen]))
    assert not seen.epochs


def test_a_full_disk_costs_a_warning(data, tmp_path):
    """Limits the size of files, so that a checkpoint fails in the middle."""

    class Fill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            resource.setrlimit(resource.RLIMIT_FSIZE, (random.Random(epoch).randrange(10_000) if epoch else SOFT, HARD))

    SOFT, HARD = resource.getrlimit(resource.RLIMIT_FSIZE)
    folder = tmp_path / "kept"
    model, batches = plain_model(data)
    checkpoint = training.Checkpoint(folder, 3)
    try:
        with pytest.warns(UserWarning, match="kept: no checkpoint could be written .*; the last one stays") as warned:
            model.fit(batches, epochs=2, verbose=0, callbacks=[checkpoint, Fill()])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (SOFT, HARD))
    state, saved = snapshot.read(folder)
    assert len(warned) >= 3 and (state["epoch"], state["batch"]) == (1, 0)
    assert [path.name for path in folder.iterdir()] == [saved.name]
    again, batches = plain_model(data)
    checkpoint = training.Checkpoint(folder, 3)
    again.fit(checkpoint.remaining(batches), epochs=2, initial_epoch=1, verbose=0, callbacks=[checkpoint])
    assert_same(model, again)


def plain_model(data, units=4):
    keras.utils.set_random_seed(2)
    model = trs.models.GRU4Rec(data.items, units=[units], dropout=0.2, negatives=trs.negatives.Popularity(8))
    model.compile(trs.optimizers.LazyAdagrad(0.1), trs.losses.CrossEntropy())
    return model, data.train.batches(rows=16, steps=8, seed=2)


@pytest.mark.slow
def test_checkpoints_in_plain_fit(data, tmp_path):
    whole, batches = plain_model(data)
    whole.fit(batches, epochs=2, verbose=0)
    for after in (5, 9, None):
        model, batches = plain_model(data)
        checkpoint = training.Checkpoint(tmp_path / "kept", "4 batches")
        calls = [checkpoint] + ([Kill(after)] if after else [])
        fit = partial(model.fit, checkpoint.remaining(batches), epochs=2, initial_epoch=checkpoint.epoch, verbose=0)
        if after:
            with pytest.raises(Killed):
                fit(callbacks=calls)
        else:
            fit(callbacks=calls)
    assert_same(whole, model)
    assert len(checkpoint.history["loss"]) == 2 and checkpoint.seconds > 0
    other, batches = plain_model(data, units=5)
    checkpoint = training.Checkpoint(tmp_path / "kept")
    with pytest.raises(InputError, match=r"model's units: \[4\] then, \[5\] now"):
        other.fit(batches, verbose=0, callbacks=[checkpoint])


def test_two_trainings_into_one_folder_are_refused(data, tmp_path):
    with (
        unfinished(tmp_path / "run"),
        pytest.raises(InputError, match="another process is training into it"),
        unfinished(tmp_path / "run"),
    ):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("every", ["often", "5", 5, "5m", "30s", "1000 batches", "0", "", "auto"])
def test_checkpoint_intervals(tmp_path, every):
    if every in ("often", "0", ""):
        with pytest.raises(InputError, match="checkpoint=.*must be a time, e.g. 5m|must be a number and a unit"):
            training.Checkpoint(tmp_path, every)
    else:
        training.Checkpoint(tmp_path, every)


def test_checkpoints_take_at_most_2_percent_of_the_time(tmp_path, monkeypatch):
    """With a clock of one second a batch, and a disk that takes three seconds."""
    now, saved = [0.0], []
    monkeypatch.setattr("tfrecsession.training.checkpoint.time.perf_counter", lambda: now[0])

    def write(folder, state, arrays):
        now[0] += 3
        saved.append((state["epoch"], state["batch"]))

    monkeypatch.setattr("tfrecsession.training.checkpoint.snapshot.write", write)
    checkpoint = training.Checkpoint(tmp_path)
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    checkpoint.set_model(model)
    checkpoint.set_params({"steps": 1000})
    checkpoint.on_train_begin()
    for epoch in range(5):
        checkpoint.on_epoch_begin(epoch)
        for batch in range(1000 if epoch == 2 else 20):
            now[0] += 1
            checkpoint.on_train_batch_end(batch)
        checkpoint.on_epoch_end(epoch)
    assert saved == [(2, 0), (2, 300), (2, 600), (2, 900)] and 3 * len(saved) < 0.02 * now[0]


def test_an_incomplete_checkpoint_is_refused(data, broken):
    _, checkpoint = snapshot.read(broken.with_name("run.unfinished"))
    content = (checkpoint / "variables.bin").read_bytes()
    (checkpoint / "variables.bin").write_bytes(content[:-1])
    with pytest.raises(InputError, match=f"checkpoint-.*variables.bin has {len(content) - 1:,} of {len(content):,}"):
        training.train(data, "gru4rec", broken, TINY, **OPTIONS)
    (checkpoint / "state.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        training.train(data, "gru4rec", broken, TINY, **OPTIONS)
