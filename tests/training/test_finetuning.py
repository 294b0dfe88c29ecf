"""Further epochs over the newest sessions: which ones are seen, how often, and that they resume bit for bit."""

import json
import random
from dataclasses import replace

import keras
import numpy as np
import pytest

import tfrecsession as trs
from tests.logs import sessions_of
from tests.training.dying import Kill, Killed
from tests.training.test_resume import TRAININGS, assert_same, settings_of
from tfrecsession import InputError, training
from tfrecsession.training.decay import forget
from tfrecsession.training.newest import Newest

NEWEST = {"finetune_days": 1.5, "finetune_epochs": 2, "finetune_rate": 0.03}
DAY = 86_400_000_000
pytestmark = pytest.mark.filterwarnings("ignore:.*begin before an earlier one")


@pytest.fixture(scope="module")
def data():
    return trs.synthetic_sessions(items=100, sessions=500, seed=1)


class Updates(keras.callbacks.Callback):
    """Counts the updates of each epoch, and keeps its learning rates."""

    def __init__(self):
        super().__init__()
        self.rates = {}

    def on_train_batch_end(self, batch, logs=None):
        if logs:
            self.rates.setdefault(self.epoch, []).append(float(self.model.optimizer.learning_rate))

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch


@pytest.mark.parametrize(
    ("times", "days", "expected"),
    [
        ([0.1, 0.2, 1.1, 1.2, 2.1, 2.2], 0.9, [False, False, True]),
        ([0.1, 0.2, 1.1, 1.2, 2.1, 2.2], 1.2, [False, True, True]),
        ([0.1, 0.2, 1.1, 1.2, 2.1, 2.2], 0.1, [False, False, True]),
        ([0.1, 0.2, 1.1, 1.2, 2.1, 2.2], 100, [True, True, True]),
        ([0.1, 9.0, 1.1, 1.2, 2.1, 2.2], 0.9, [False, False, True]),  # one session goes on for days
        ([0, 0, 1, 1, 2, 2], 1, [False, False, True]),  # dates: the last one
        ([0, 0, 1, 1, 2, 2], 2, [False, True, True]),
    ],
)
def test_the_newest_sessions_start_in_the_last_days(times, days, expected):
    newest = Newest.of(sessions_of([[2, 3], [3, 4], [4, 5]], times=times), days)
    assert newest.sessions.tolist() == expected and newest.targets == sum(expected)


def test_only_the_newest_sessions_are_seen_in_the_further_epochs(data):
    model, settings = settings_of("packed", **NEWEST)
    times = np.asarray(data.train.column("times"))
    starts = times[data.train.offsets[:-1]]
    newest = np.flatnonzero(starts >= starts.max() - 1.5 * DAY)
    assert 0 < len(newest) < len(data.train)
    built = training.build(model, data.items, settings)
    seen = []
    for batch, targets in built.newest_batches(data.train, Newest.of(data.train, 1.5).sessions, settings, 3):
        for row, of_row in zip(targets.numpy(), batch["segment"].numpy(), strict=True):
            seen += [row[of_row == segment].tolist() for segment in range(1, of_row.max(initial=0) + 1)]
    assert sorted(seen) == sorted(data.train[int(session)][1:][-8:].tolist() for session in newest)


@pytest.mark.parametrize("name", ["packed", "lanes", "factors", "two towers"])
def test_updates_and_rates_and_the_run(name, data, tmp_path):
    model, settings = settings_of(name, **NEWEST)
    updates = Updates()
    trained = training.train(data, model, tmp_path / "run", settings, seed=3, checkpoint=None, callbacks=[updates])
    whole = int(trained.training_batches(data.train, settings, 3).cardinality())
    newest = Newest.of(data.train, 1.5)
    few = int(trained.newest_batches(data.train, newest.sessions, settings, 3).cardinality())
    assert 0 < few < whole
    assert [len(rates) for rates in updates.rates.values()] == [whole] * 3 + [few] * 2
    np.testing.assert_allclose(
        updates.rates[3] + updates.rates[4], 0.03 * (1 - np.arange(2 * few) / (2 * few)), rtol=1e-5, atol=1e-9
    )
    assert float(trained.optimizer.learning_rate) == np.float32(settings["learning_rate"])
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    assert info["finetune"] == {
        "since": info["finetune"]["since"],
        "sessions": int(newest.sessions.sum()),
        "events": newest.targets,
        "epochs": 2,
    }
    assert info["events"] == 3 * data.train.scored_events + 2 * newest.targets
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    assert len(history["loss"]) == len(history["val_recall@20"]) == 5


class Sums(keras.callbacks.Callback):
    """Keeps the largest of Adagrad's sums at the end of each epoch, and the items that have one."""

    def __init__(self):
        super().__init__()
        self.touched = []

    def on_epoch_end(self, epoch, logs=None):
        sums = next(v for v in self.model.optimizer.state["accumulator"] if v.shape[0] == self.model.size)
        self.touched.append(np.flatnonzero(sums.numpy().any(axis=1) if len(sums.shape) > 1 else sums.numpy()))


def test_the_sums_of_adagrad_start_again_with_the_newest_sessions(data):
    """Without negatives of other sessions, sums are those of the newest sessions' items alone."""
    settings = {"units": [4], "negatives": 0, "sampler": "in_batch", "epochs": 1, "optimizer": "adagrad"}
    settings = training.settings_of("gru4rec", settings | {"finetune_days": 0.5, "finetune_epochs": 1})
    built, sums = training.build("gru4rec", data.items, settings), Sums()
    training.fit(built, data, settings, callbacks=[sums])
    newest = Newest.of(data.train, 0.5).sessions
    seen = {int(item) for session in np.flatnonzero(newest) for item in data.train[int(session)]}
    whole, further = map(set, sums.touched)
    assert further <= seen < whole


def test_the_sums_of_a_grouped_optimizer_start_again_in_every_group():
    first, second = (keras.Variable([1.0], name=name) for name in ("first", "second"))
    adagrad = trs.optimizers.LazyAdagrad(0.1, initial_accumulator_value=0.5, momentum=0.9)
    optimizer = trs.optimizers.Grouped(
        {"a": adagrad, "b": trs.optimizers.LazyAdagrad(0.1)}, lambda v: "ab"[v is second]
    )
    optimizer.apply([np.float32([2.0]), np.float32([3.0])], [first, second])
    groups = optimizer.optimizers
    assert groups["a"].state["accumulator"][0].numpy() == 4.5 and groups["b"].state["accumulator"][0].numpy() == 9.0
    forget(optimizer)
    assert groups["a"].state["accumulator"][0].numpy() == 0.5 and groups["a"].state["velocity"][0].numpy() == 0.0
    assert groups["b"].state["accumulator"][0].numpy() == 0.0


def test_pairs_of_the_newest_sessions(data):
    _, settings = settings_of("factors")
    built = training.build("matrix_factorization", data.items, settings)
    is_newest = Newest.of(data.train, 1.5).sessions
    batches = built.newest_batches(data.train, is_newest, settings, 0)
    pairs = batches.interactions
    seen = {
        (int(user), int(item))
        for batch in batches
        for user, item, weight in zip(*(batch[name].numpy() for name in ("user", "item", "weight")), strict=True)
        if weight
    }
    of_session = pairs.of_session
    assert seen == {(int(of_session[s]), int(i)) for s in np.flatnonzero(is_newest) for i in data.train[int(s)]}


SLOW = [name for name in TRAININGS if name != "packed"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["packed", *(pytest.param(n, marks=pytest.mark.slow) for n in SLOW)])
def test_a_resumed_fine_tuning_ends_as_an_uninterrupted_one(name, data, tmp_path):
    model, settings = settings_of(name, **NEWEST)
    whole = training.train(data, model, tmp_path / "whole", settings, seed=3, checkpoint=None)
    first = 3 * (int(whole.training_batches(data.train, settings, 3).cardinality()) + 1)
    deaths = [Kill(random.Random(name).randrange(first // 2, first - 2)), Dies(3, 1), Dies(3, 10**6), Dies(4, 2)]
    for death in deaths:  # among all sessions; at the first batch, at the end and in the middle of the newest ones
        with pytest.raises(Killed):
            training.train(data, model, tmp_path / "broken", settings, seed=3, checkpoint=2, callbacks=[death])
    resumed = training.train(data, model, tmp_path / "broken", settings, seed=3, checkpoint=2)
    assert_same(whole, resumed)
    for file in ("history.json", "metrics.json"):
        assert (tmp_path / "broken" / file).read_text() == (tmp_path / "whole" / file).read_text()


class Dies(keras.callbacks.Callback):
    """Dies in an epoch after at most this many of its batches, else at its end."""

    def __init__(self, epoch, batches):
        super().__init__()
        self.epoch, self.batches = epoch, batches

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.epoch and batch + 1 >= self.batches:
            raise Killed

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            raise Killed


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"finetune_days": 0}, "finetune_days=0: must be a number of days above 0"),
        ({"finetune_days": "1d"}, "finetune_days='1d': must be a number of days"),
        ({"finetune_days": True}, "finetune_days=True: must be a number of days"),
        ({"finetune_days": 1, "finetune_epochs": 0}, "finetune_epochs=0: must be a whole number from 1"),
        ({"finetune_days": 1, "finetune_epochs": 1.5}, "finetune_epochs=1.5: must be a whole number"),
        ({"finetune_days": 1, "finetune_rate": -1}, "finetune_rate=-1: must be a learning rate above 0"),
        ({"finetune_rate": 0.1}, "finetune_rate=0.1: must come with finetune_days"),
        ({"finetune_epochs": 3}, "finetune_epochs=3: must come with finetune_days"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message, data, tmp_path):
    with pytest.raises(InputError, match=message):
        training.train(data, *_packed(tmp_path, settings))
    assert not list(tmp_path.iterdir())


def test_a_log_without_times_is_refused(data, tmp_path):
    untimed = replace(data, train=trs.batches.Sessions(data.train.arrays, "train", timed=False))
    with pytest.raises(InputError, match="finetune_days=1: needs the times of the events, and this log has none"):
        training.train(untimed, *_packed(tmp_path, {"finetune_days": 1}))
    with pytest.raises(InputError, match="finetune_days=1: needs all training data at once"):
        training.train(data, *_packed(tmp_path, {"finetune_days": 1}), data_memory="1GB")


def test_single_events_alone_are_refused():
    with pytest.raises(InputError, match="finetune_days=1: no session of two events starts since 1970-01-02T00:28:48Z"):
        Newest.of(sessions_of([[2, 3], [4]], times=[0.1, 0.2, 2.02]), 1)


def test_counted_models_have_no_such_setting():
    with pytest.raises(InputError, match="popularity has no setting 'finetune_days'"):
        training.settings_of("popularity", {"finetune_days": 1})


def _packed(folder, more):
    model, settings = settings_of("packed", **more)
    return model, folder / "run", settings
